"""Opening LMDBs: whole, truncated at every page, damaged, foreign, shared."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import pytest

from netc.errors import NetcError
from netc.runtime.data.lmdb import LMDB
from tests.runtime.data.made import write_lmdb

RECORDS = {b"%05d" % i: bytes([i]) * 3000 for i in range(40)}

OPEN_AT_EVERY_LENGTH = """
import os, sys
from netc.errors import NetcError
from netc.runtime.data.lmdb import LMDB
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
    """In a process of its own, as LMDB would die by SIGBUS."""
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
    """Every page of keys wiped out: LMDB's complaint, as an error that names the database."""
    file = Path(path, "data.mdb")
    content = bytearray(file.read_bytes())
    for start in range(2 * 4096, len(content), 4096):
        if b"00007" in content[start : start + 4096]:
            content[start : start + 32] = bytes(32)
    file.write_bytes(content)
    with LMDB(path) as database, pytest.raises(NetcError, match="damaged") as caught:
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


def test_one_handle_a_file(path, tmp_path):
    """lmdb refuses to open a file twice; a link is the same file."""
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
