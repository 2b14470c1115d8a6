"""LMDBs written by LMDB: whole, truncated at every page, damaged, foreign, shared, changed while they are read."""

import multiprocessing
import os
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import pytest

from netc.errors import NetcError
from netc.runtime.data.database import open_database
from netc.runtime.data.lmdb import LMDB
from netc.runtime.data.lmdb_meta import Fault, read_meta
from netc.runtime.data.lmdb_pages import Pages
from tests.runtime.data.made import write_lmdb
from tools.fuzzing.lmdb_files import BRANCH, LEAF, OVERFLOW, LMDBFile, some_records

RECORDS = {b"%05d" % i: bytes([i]) * 3000 for i in range(40)}

OPEN_AT_EVERY_LENGTH = """
import os, sys
from netc.errors import NetcError
from netc.runtime.data.database import open_database
from netc.runtime.data.lmdb import LMDB
from netc.runtime.data.lmdb_meta import Fault, read_meta
from netc.runtime.data.lmdb_pages import Pages
path, whole = sys.argv[1], os.path.getsize(sys.argv[1] + "/data.mdb")
content = open(path + "/data.mdb", "rb").read()
for size in [0, 1, 15, 100, 4095, 4096, 4097, 8191, *range(8192, whole, 4096), whole - 1]:
    with open(path + "/data.mdb", "wb") as file:
        file.write(content[:size])
    try:
        with LMDB(path) as database:
            print("opened", size, [len(database.record(i)[1]) for i in range(len(database))])
    except NetcError as error:
        print(error.code)
"""


@pytest.fixture(params=[0, 1], ids=["format 0.9", "format 1.0"])
def path(tmp_path, request):
    if request.param and lmdb.__version__ < "3":
        pytest.skip("this lmdb does not write LMDB 1.0")
    return write_lmdb(tmp_path / "db", RECORDS, **({"lib_version": 1} if request.param else {}))


def code(path):
    with pytest.raises(NetcError) as caught:
        LMDB(str(path))
    return caught.value.code


def test_records_in_key_order(path):
    with LMDB(path) as database:
        assert len(database) == 40
        assert [database.record(i) for i in (7, 0, 39)] == [(b"%05d" % i, bytes([i]) * 3000) for i in (7, 0, 39)]
        assert database.first() == database.record(0)


def test_truncated_at_any_length_is_an_error_not_a_signal(path):
    """In a process of its own, as one that maps the file dies by SIGBUS."""
    run = subprocess.run(
        [sys.executable, "-c", OPEN_AT_EVERY_LENGTH, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.split()
    assert len(lines) > 30
    assert set(lines) <= {"D510", "D511"}


def test_damaged_meta_pages(path):
    file = Path(path, "data.mdb")
    content = bytearray(file.read_bytes())
    for start, expected in ((0, "D510"), (4096, "D511")):
        damaged = content.copy()
        damaged[start : start + 64] = bytes(64)
        file.write_bytes(damaged)
        assert code(path) == expected


def test_damaged_pages(path):
    """Every page of keys wiped out: an error that names the database and the page."""
    file = Path(path, "data.mdb")
    content = bytearray(file.read_bytes())
    for start in range(2 * 4096, len(content), 4096):
        if b"00007" in content[start : start + 4096]:
            content[start : start + 32] = bytes(32)
    file.write_bytes(content)
    with LMDB(path) as database, pytest.raises(NetcError, match=r"damaged: page \d+") as caught:
        database.record(7)
    assert caught.value.code == "D514"


def test_missing_lock_file_and_single_file(path, tmp_path):
    assert not Path(path, "lock.mdb").exists()
    alone = tmp_path / "alone.mdb"
    alone.write_bytes(Path(path, "data.mdb").read_bytes())
    with LMDB(str(alone)) as database:
        assert len(database) == 40


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_read_only_folder(path):
    os.chmod(path, 0o555)
    with LMDB(path) as database:
        assert database.record(3)[0] == b"00003"
    os.chmod(path, 0o755)
    assert sorted(os.listdir(path)) == ["data.mdb"]


def test_no_database(tmp_path):
    (tmp_path / "folder").mkdir()
    assert code(tmp_path / "folder") == "D510"
    (tmp_path / "folder/data.mdb").write_bytes(b"no database" * 2000)
    assert code(tmp_path / "folder") == "D510"
    (tmp_path / "level").mkdir()
    (tmp_path / "level/CURRENT").write_text("MANIFEST-000001\n")
    assert code(tmp_path / "level") == "D510"  # LMDB's reader; open_database tells the two apart
    assert code(write_lmdb(tmp_path / "empty", {})) == "D512"


def test_two_that_are_open_do_not_disturb_each_other(path, tmp_path):
    """lmdb refuses to open a file twice."""
    link = tmp_path / "link"
    link.symlink_to(path)
    one, other = LMDB(path), LMDB(str(link))
    one.close()
    one.close()
    assert other.record(5)[0] == b"00005"
    other.close()
    with lmdb.open(path, readonly=True, lock=False) as env:  # everything was given back
        assert env.stat()["entries"] == 40


def test_a_rebuilt_database_is_another_one(path, tmp_path):
    with LMDB(path) as old:
        os.rename(path, tmp_path / "old")
        write_lmdb(path, {b"new": b"record"})
        with LMDB(path) as new:
            assert new.first() == (b"new", b"record")
        assert old.first()[0] == b"00000"


def test_dropped_without_close(path):
    database = LMDB(path)
    del database
    with lmdb.open(path, readonly=True, lock=False) as env:
        assert env.stat()["entries"] == 40


def read_in_child(path, inherited, queue):
    with LMDB(path) as database:
        queue.put((database.record(9)[0], (inherited or database).record(8)[0]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(path, method):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    with LMDB(path) as database:
        database.record(0)
        arguments = (path, database if method == "fork" else None, queue)
        process = context.Process(target=read_in_child, args=arguments)
        process.start()
        assert queue.get() == (b"00009", b"00008")
        process.join(20)
        assert process.exitcode == 0


def test_threads(path):
    with LMDB(path) as database:
        found = [[] for _ in range(4)]
        threads = [
            threading.Thread(target=lambda out=out: out.extend(database.record(i)[1][0] for i in range(40)))
            for out in found
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [list(range(40))] * 4


# -- what LMDB writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lib_version", [0, 1])
@pytest.mark.parametrize(("count", "longest"), [(1, 10), (3, 200_000), (2000, 10), (2000, 900), (900, 5000)])
def test_what_lmdb_reads(tmp_path, lib_version, count, longest):
    """One leaf to three levels, values in leaves and in pages of their own, after puts and deletions."""
    rng = random.Random(count)
    key = lambda i: f"{i:05d}_{'n' * rng.randrange(40)}".encode()  # noqa: E731
    records = {key(i): rng.randbytes(rng.randrange(longest)) for i in range(count)}
    options = {"lib_version": 1} if lib_version else {}
    path = write_lmdb(tmp_path / "db", records, **options)
    with lmdb.open(path, map_size=1 << 26, **options) as env, env.begin(write=True) as transaction:
        for gone in list(records)[1::7]:
            transaction.delete(gone)
    with lmdb.open(path, readonly=True, lock=False) as env, env.begin() as transaction:
        expected = list(transaction.cursor())
    with LMDB(path) as database:
        assert [database.record(i) for i in range(len(database))] == expected
        assert list(database.values()) == [value for _, value in expected]
        assert list(database.values(backwards=True)) == [value for _, value in expected][::-1]
        assert database.first() == expected[0]


@pytest.mark.parametrize("page_size", [256, 512, 8192, 32768])
@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize("count", [1, 9, 200])
def test_pages_of_any_size(tmp_path, page_size, version, count):
    """Files made by the words of the format: LMDB reads them, and netc reads the same."""
    records = some_records(count, 700 if count < 20 else 90)
    (tmp_path / "db").write_bytes(bytes(LMDBFile(records, page_size, version)))
    with lmdb.open(str(tmp_path / "db"), subdir=False, readonly=True, lock=False) as env, env.begin() as transaction:
        assert list(transaction.cursor()) == records
    with LMDB(str(tmp_path / "db")) as database:
        assert [database.record(i) for i in range(count)] == records


def test_free_pages_at_the_end_need_not_be_there(tmp_path):
    """LMDB reads a file that ends before its last page if that is free; so does netc, and no shorter one."""
    path = write_lmdb(tmp_path / "db", {b"a": b"1", b"big": bytes(200_000)})
    with lmdb.open(path, map_size=1 << 26) as env:
        for number in range(3):
            with env.begin(write=True) as transaction:
                transaction.delete(b"big")
                transaction.put(b"a", str(number).encode())
    file = Path(path, "data.mdb")
    with file.open("rb") as content:
        meta = read_meta(content.fileno(), file.stat().st_size)
    used = max(meta.free.root, meta.records.root) + 1
    assert used < meta.last_page
    os.truncate(file, used * meta.page_size)
    with lmdb.open(path, readonly=True, lock=False) as env, env.begin() as transaction:
        assert list(transaction.cursor()) == [(b"a", b"2")]
    with LMDB(path) as database:
        assert database.record(0) == (b"a", b"2")
    os.truncate(file, (used - 1) * meta.page_size)
    assert code(path) == "D511"


def test_lists_of_free_pages_are_bounded(tmp_path):
    """A list cannot be longer than the file has pages, so that one value under many keys does not fill the memory."""
    (tmp_path / "db").write_bytes(bytes(LMDBFile([(b"%02d" % i, bytes(80)) for i in range(9)], 4096)))
    with (tmp_path / "db").open("rb") as content:
        meta = read_meta(content.fileno(), os.fstat(content.fileno()).st_size)
        with pytest.raises(Fault, match="more free pages than there are"):
            Pages(content.fileno(), meta, meta.records).spare(0)


def test_integer_keys_stand_in_the_order_of_the_tree(tmp_path):
    """That is not the order of their bytes; Caffe goes by the cursor, which goes by the tree."""
    records = [(number.to_bytes(8, "little"), b"%d" % number) for number in (1, 255, 256, 700)]
    (tmp_path / "db").write_bytes(bytes(LMDBFile(records, a_page=2, flags=0x08)))
    with LMDB(str(tmp_path / "db")) as database:
        assert [database.record(i) for i in range(4)] == records


def changed(file, page, at, new):
    """A file with other bytes at a place of a page."""
    pages = list(file.pages)
    pages[page] = pages[page][:at] + new + pages[page][at + len(new) :]
    return b"".join(pages)


def test_what_caffe_would_not_write(tmp_path):
    with lmdb.open(str(tmp_path / "named"), max_dbs=2) as env, env.begin(write=True) as transaction:
        transaction.put(b"k", b"v", db=env.open_db(b"train", txn=transaction))
    file = LMDBFile(some_records(9, 20))
    magic = file.pages[0][16:20]
    odd = {
        "names of their own": Path(tmp_path, "named/data.mdb").read_bytes(),
        "several values for one key": bytes(LMDBFile(some_records(9, 20), flags=0x04)),
        "32-bit program": changed(file, 0, 0, file.pages[0][4:]),
        "highest byte first": changed(file, 0, 16, magic[::-1]),
        "version 999": changed(file, 0, 20, (999).to_bytes(4, "little")),
        "encrypted": changed(file, 0, 16 + 28, (0x2008).to_bytes(2, "little")),
    }
    for said, content in odd.items():
        (tmp_path / "db").write_bytes(content)
        with pytest.raises(NetcError, match=said) as caught, LMDB(str(tmp_path / "db")) as database:
            database.record(0)
        assert caught.value.code == "D515"


def test_trees_that_are_none(tmp_path):
    """Cycles, pages in two places, swapped ones, keys out of order, counts and lengths that are wrong: each is said."""
    file = LMDBFile(some_records(40, 200), 512)
    kinds = [int.from_bytes(page[10:12], "little") for page in file.pages]
    leaf, branch, overflow = (kinds.index(kind) for kind in (LEAF, BRANCH, OVERFLOW))
    root = len(kinds) - 1
    assert file.depth == 4
    node = int.from_bytes(file.pages[branch][16:18], "little")
    other = int.from_bytes(file.pages[branch][18:20], "little")
    first, last = (int.from_bytes(file.pages[leaf][at : at + 2], "little") for at in (16, 20))
    swapped = list(file.pages)
    swapped[leaf], swapped[branch] = swapped[branch], swapped[leaf]
    pointers = file.pages[leaf][18:20] + file.pages[leaf][16:18]
    wrong = {
        "in its tree twice": changed(file, branch, other, file.pages[branch][node : node + 6]),
        "in its tree twice ?": changed(file, branch, node, root.to_bytes(6, "little")),
        "not a leaf of this number": changed(file, branch, node, overflow.to_bytes(6, "little")),
        "not one of the file": changed(file, branch, node, (10**9).to_bytes(6, "little")),
        "of this number": b"".join(swapped),
        "keys are not in order": changed(file, leaf, 16, pointers),
        "is not in its place": changed(file, leaf, last + 8, b"zzzzz"),
        "its nodes are said to lie": changed(file, leaf, 12, b"\xff\xff"),
        "a key reaches beyond": changed(file, leaf, first + 6, b"\xff\xff"),
        "a value reaches beyond": changed(file, leaf, first, b"\xff\x7f\0\0\0\0"),
        "too short for its value": changed(file, overflow, 12, b"\0\0"),
        "at most 1,073,741,824": changed(file, leaf, first, b"\xff\xff\xff\xff\1\0"),
        "its head says 41": changed(file, 1, 16 + 72 + 32, b"\x29"),
    }
    for said, content in wrong.items():
        (tmp_path / "db").write_bytes(content)
        with pytest.raises(NetcError, match=said.rstrip(" ?")) as caught, LMDB(str(tmp_path / "db")) as database:
            [database.record(index) for index in range(len(database))]
        assert caught.value.code == "D514", said
    for entries, last_page in ((2**63, 60), (40, 2**62)):
        numbers = struct.pack("<Q8xQ", entries, last_page)
        (tmp_path / "db").write_bytes(changed(file, 1, 16 + 72 + 32, numbers))
        assert code(tmp_path / "db") == "D511"


# -- while it is read --------------------------------------------------------------------------------------------------


def test_cut_off_while_it_is_read(path):
    with LMDB(path) as database:
        assert database.record(3)[0] == b"00003"
        os.truncate(Path(path, "data.mdb"), 5 * 4096)
        with pytest.raises(NetcError, match="truncated") as caught:
            [database.record(i) for i in range(40)]
    assert caught.value.code == "D511"


def test_changed_while_it_is_read(path):
    """A writer uses pages again: what was opened is not mixed with what came later."""
    with LMDB(path) as database:
        database.record(0)
        os.utime(Path(path, "data.mdb"))
        assert database.record(1)[0] == b"00001"  # a new date alone changes nothing
        with lmdb.open(path, map_size=1 << 26) as env, env.begin(write=True) as transaction:
            transaction.put(b"00002", b"other")
        with pytest.raises(NetcError, match="changed") as caught:
            database.record(2)
    assert caught.value.code == "D512"


# -- what is given instead of one --------------------------------------------------------------------------------------


def made(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(4096), "an HDF5 file", "HDF5Data"),
        (b"a/b.jpg 3\nc.jpg 4\n" * 300, "a text file", "ImageData"),
        (b"\xff\xd8\xff\xe0" + bytes(4096), "a picture", "convert-imageset"),
        (b"PK\x03\x04" + bytes(4096), "an archive", "unpack"),
        (bytes(4) + b"\xff" * 5000, "is not an LMDB", "convert-imageset"),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, said, hint):
    with pytest.raises(NetcError, match=said) as caught:
        open_database(str(made(tmp_path, "source", content)))
    assert caught.value.code == "D510"
    assert hint in caught.value.hint


@pytest.mark.parametrize("size", [0, 1, 30, 200])
def test_short_files_of_another_kind(tmp_path, size):
    with pytest.raises(NetcError, match="a text file|truncated") as caught:
        open_database(str(made(tmp_path, "source", (b"a.jpg 0\n" * 30)[:size])))
    assert caught.value.code == ("D511" if not size else "D510")


def test_folders_and_special_files(tmp_path, path):
    with pytest.raises(NetcError, match="a folder that holds db") as caught:
        open_database(os.path.dirname(path))
    assert path in caught.value.hint
    with pytest.raises(NetcError, match="the lock file") as caught:
        open_database(str(made(tmp_path, "lock.mdb", bytes(8192))))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NetcError, match="an empty folder"):
        open_database(str(tmp_path / "empty"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd/data.mdb")
    for special in (tmp_path / "pipe", tmp_path / "odd", Path("/dev/zero")):
        with pytest.raises(NetcError, match="not a regular file") as caught:
            open_database(str(special))
        assert caught.value.code == "F102"
