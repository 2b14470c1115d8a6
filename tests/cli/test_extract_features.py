"""`netc extract-features`: the databases that Caffe's extract_features wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest

from netc import proto
from netc.cli import main
from tests.runtime.pycaffe.nets import SIMPLE, written


@pytest.fixture
def folder(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("feat.caffemodel", "feat.prototxt", "mean.binaryproto"):
        shutil.copy(shared / "goldens/data" / name, tmp_path)
    shutil.copytree(shared / "goldens/data/db_resized", tmp_path / "db_resized")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as txn:
        return {bytes(key): bytes(value) for key, value in txn.cursor()}


def test_the_databases_are_caffes(shared: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["feat.caffemodel", "feat.prototxt", "fc,conv", "out_fc,out_conv", "4", "lmdb", "CPU", "DEVICE_ID=0"]
    assert main(["extract-features", *words]) == 0
    assert "Extracted features of 12 query images for feature blob fc" in capsys.readouterr().err
    for name in ("fc", "conv"):
        found, wanted = records(folder / f"out_{name}"), records(shared / f"goldens/data/feat_{name}")
        assert list(found) == list(wanted)
        for key, value in wanted.items():
            assert len(found[key]) == len(value)
            mine, theirs = map(proto.Datum.FromString, (found[key], value))
            np.testing.assert_allclose(mine.float_data, theirs.float_data, rtol=1e-5, atol=1e-4)
            for datum in (mine, theirs):
                datum.ClearField("float_data")
            assert mine == theirs


def test_what_does_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> int:
        return main(["extract-features", "feat.caffemodel", "feat.prototxt", *words])

    assert run("fc,conv", "one", "1", "lmdb") == 2
    assert run("fc,fc", "a,b", "1", "lmdb") == 2
    assert run("fc", "a", "1", "leveldb") == 2
    assert run("nothing", "a", "1", "lmdb") == 65
    assert run("fc", "feat.prototxt", "1", "lmdb") == 73
    assert run("fc", "a", "0", "lmdb") == 2
    assert not Path("a").exists()
    assert not list(folder.glob("*.building"))


def test_a_scalar_is_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from netc.pycaffe import TRAIN, Net

    net = written(tmp_path, SIMPLE)
    Net(net, TRAIN).save(tmp_path / "w.caffemodel")
    assert main(["extract-features", str(tmp_path / "w.caffemodel"), net, "loss", str(tmp_path / "out"), "1"]) == 65
    assert "D561" in capsys.readouterr().err
