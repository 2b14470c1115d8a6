"""Databases with damage of every kind, each read in full in another process: records or an error, never a
signal, a hang or an internal error.

The process reads them one after another and says what came of each; where it dies, the one it had begun is named.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.runtime.data.made import GOLDENS, encoded, photo, raw, write_lmdb
from tools.fuzzing.leveldb_files import mutate_leveldb, packed, unpacked
from tools.fuzzing.lmdb_files import mutate_lmdb

READ = """
import json, signal, sys, time
from netc.errors import NetcError
from netc.runtime.data.database import open_database
from netc.runtime.data.datum import Undecodable, from_datum

def outcome(path):
    try:
        with open_database(path) as database:
            records = [database.record(index) for index in range(len(database))]
            assert list(database.values()) == [value for _, value in records]
    except NetcError as error:
        assert path in error.message and error.hint, error
        return error.code
    for key, value in records:
        try:
            from_datum(key, value, None)
        except Undecodable:
            return "a record that is no picture"
    return "ok"

signal.setitimer(signal.ITIMER_REAL, 500)
for path in json.load(sys.stdin):
    print(path, end=" ", flush=True)
    start = time.process_time()
    print(outcome(path) if time.process_time() - start < 60 else "too slow", flush=True)
print("done")
"""


LMDB_ERRORS = {"D510", "D511", "D512", "D514", "D515"}


def outcomes(paths: list[str]) -> Counter[str]:
    """What comes of reading each of these."""
    command = [sys.executable, "-c", READ]
    done = subprocess.run(command, input=json.dumps(paths), capture_output=True, text=True, timeout=520, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{done.returncode} at {lines[-1:]}: {done.stderr[-3000:]}"
    assert lines.pop() == "done"
    assert len(lines) == len(paths)
    return Counter(line.partition(" ")[2] for line in lines)


def pictures(count: int) -> dict[bytes, bytes]:
    """Datums in a leaf, in pages of their own, and compressed ones."""
    rng = random.Random(5)
    records = {}
    for index in range(count):
        picture = photo(8 + index % 30, 9 + index % 20, index)
        datum = encoded(picture, index) if index % 3 == 0 else raw(picture.transpose(2, 0, 1), index)
        records[b"%08d_%s" % (index, b"n" * rng.randrange(60))] = datum.SerializeToString()
    return records


@pytest.fixture(scope="module", params=[0, 1], ids=["format 0.9", "format 1.0"])
def whole(request, tmp_path_factory):
    """The bytes of an LMDB whose tree has three levels of LMDB's own pages."""
    options = {"lib_version": 1} if request.param else {}
    folder = write_lmdb(tmp_path_factory.mktemp("whole") / "db", pictures(330), **options)
    return Path(folder, "data.mdb").read_bytes()


def corrupted(folder: Path, whole: bytes, count: int) -> list[str]:
    rng, paths = random.Random(count), []
    for number in range(count):
        data = whole
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            data = mutate_lmdb(data, whole, rng, page_size=4096)
        (folder / str(number)).write_bytes(data)
        paths.append(str(folder / str(number)))
    return paths


@pytest.mark.parametrize("count", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_an_lmdb(tmp_path, whole, count):
    """Both formats together: 60 corruptions, and 1,000 in the slow test."""
    found = outcomes(corrupted(tmp_path, whole, count))
    assert (
        {"ok", "D511", "D514"}
        <= set(found)
        <= {"ok", "D510", "D511", "D512", "D514", "D515", "a record that is no picture"}
    )


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_a_leveldb(tmp_path, count):
    """Caffe's own, with its files changed, cut off, lost or taken for each other."""
    whole = packed({path.name: path.read_bytes() for path in (GOLDENS / "db_leveldb").iterdir()})
    rng, paths = random.Random(count), []
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in unpacked(mutate_leveldb(whole, whole, rng)).items():
            (folder / name).write_bytes(content)
        paths.append(str(folder))
    found = outcomes(paths)
    assert {"ok", "D513"} <= set(found) <= {"ok", "D510", "D512", "D513", "F104", "a record that is no picture"}


def test_what_ends_lmdb(tmp_path, whole):
    """A tail of zeros, of which LMDB itself dies by SIGABRT: these tests can fail."""
    (tmp_path / "db").write_bytes(whole[: len(whole) // 8 * 7] + bytes(len(whole) // 8))
    script = """if True:
        import lmdb, sys
        with lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False) as env, env.begin() as transaction:
            for key in list(transaction.cursor().iternext(values=False)):
                transaction.get(key)
    """
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "db"], capture_output=True).returncode < 0
    assert outcomes([str(tmp_path / "db")]) == {"D514": 1}
