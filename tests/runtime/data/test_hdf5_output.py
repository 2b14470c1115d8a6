"""HDF5Output: Caffe's own file, more passes than one, and what is there when something goes wrong."""

from __future__ import annotations

import copy
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import netc
from netc import NetcError
from netc.runtime.data import hdf5_output
from netc.runtime.net.outputs import writing_at_end
from tests.runtime.data.made import GOLDENS

TEXT = """layer { name: "i" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "o" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "out.h5" } }"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(netc.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def read(path: str = "out.h5") -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: file[name][...] for name in file}


def rows(k: int, n: int = 2) -> dict[str, torch.Tensor]:
    return {"x": torch.arange(3.0 * n).view(n, 3) + 10 * k, "y": torch.full((n,), float(k))}


def test_the_file_is_caffes() -> None:
    net = netc.load_net(GOLDENS / "hdf5_output.prototxt")
    assert os.listdir() == []  # nothing is made before a batch has passed
    net()
    with h5py.File("hdf5_output.h5") as mine, h5py.File(GOLDENS / "hdf5_output.h5") as caffes:
        assert set(mine) == set(caffes)
        for name in caffes:
            assert (mine[name].dtype, mine[name].shape) == (caffes[name].dtype, caffes[name].shape)
            np.testing.assert_array_equal(mine[name][...], caffes[name][...])


def test_further_passes_add_their_rows_and_a_new_net_starts_afresh() -> None:
    net = netc.load_net(TEXT)
    for k in range(3):
        net(rows(k))
    assert read()["data"].shape == (6, 3, 1, 1)
    assert read()["label"].ravel().tolist() == [0, 0, 1, 1, 2, 2]
    net(rows(3, n=1))
    np.testing.assert_array_equal(read()["data"][-1].ravel(), rows(3, 1)["x"].ravel())
    netc.load_net(TEXT)(rows(7), blobs=[])
    assert read()["label"].ravel().tolist() == [7, 7]


def test_large_files_are_not_written_at_every_pass_and_the_last_rows_come_when_the_net_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hdf5_output, "SMALL", 0)
    net = netc.load_net(TEXT)
    lengths = []
    for k in range(40):
        net(rows(k))
        lengths.append(len(read()["label"]))
    assert all(2 * (k + 1) - length <= length / 8 for k, length in enumerate(lengths))
    assert len(set(lengths)) < 30
    del net
    assert read()["label"].ravel().tolist() == [k for k in range(40) for _ in "ab"]
    assert os.listdir() == ["out.h5"]


def test_rows_of_another_shape_are_refused_and_the_file_stays() -> None:
    net = netc.load_net(TEXT)
    net(rows(0))
    with pytest.raises(NetcError, match=r"rows of 4×1×1 do not fit .* which has 3×1×1") as caught:
        net(x=torch.ones(2, 4), y=torch.ones(2))
    assert caught.value.code == "D550"
    assert caught.value.line == 2
    assert read()["data"].shape == (2, 3, 1, 1)


def test_a_folder_that_is_not_there_is_named() -> None:
    net = netc.load_net(TEXT.replace("out.h5", "no/such/out.h5"))
    with pytest.raises(NetcError, match=r"no/such/out\.h5 cannot be written") as caught:
        net(rows(0))
    assert caught.value.exit_status == 73


@pytest.mark.parametrize(
    "name", ["../out.h5", "/etc/out.h5", "a/../../out.h5", "sub/../..", ".", "folder/out.h5", "link.h5"]
)
def test_a_net_writes_below_its_folder_and_through_no_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "away" / "target").write_text("mine")
    (tmp_path / "work" / "folder").symlink_to(tmp_path / "away")
    (tmp_path / "work" / "link.h5").symlink_to(tmp_path / "away" / "target")
    net = netc.load_net(TEXT.replace("out.h5", name), output_dir=tmp_path / "work")
    with pytest.raises(NetcError, match="is not written: ") as caught:
        net(rows(0))
    assert (caught.value.code, caught.value.line, caught.value.exit_status) == ("O901", 2, 73)
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["target"]
    assert (tmp_path / "away" / "target").read_text() == "mine"


@pytest.mark.parametrize("name", ["new.h5", "{root}/sub/../new.h5", "sub/new.h5"])
def test_what_lies_below_the_folder_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "work" / "sub").mkdir(parents=True)
    name = name.format(root=tmp_path / "work")
    netc.load_net(TEXT.replace("out.h5", name), output_dir="work")(rows(0))
    assert [path.name for path in (tmp_path / "work").rglob("*.h5")] == ["new.h5"]


def _foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["thesis"] = [1.0]


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("mine"), _foreign_hdf5, lambda path: path.touch(), os.mkfifo, Path.mkdir]
)
def test_no_file_is_replaced_that_it_did_not_write(make) -> None:
    make(Path("out.h5"))
    before = Path("out.h5").stat()
    with pytest.raises(NetcError) as caught:
        netc.load_net(TEXT)(rows(0))
    assert caught.value.code in ("O901", "O900")
    assert Path("out.h5").stat() == before


def test_no_file_is_replaced_that_came_meanwhile() -> None:
    net = netc.load_net(TEXT)
    net(rows(0))
    Path("out.h5").write_text("mine")
    with pytest.raises(NetcError, match="no HDF5Output layer wrote it"):
        net(rows(1))
    assert Path("out.h5").read_text() == "mine"
    Path("out.h5").unlink()
    del net
    assert read()["label"].ravel().tolist() == [0, 0, 1, 1]


def test_memory_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 passes of 4 MB: what Python and numpy hold at most, the file's writing included, is a few passes' worth."""
    net = netc.load_net(TEXT.replace("dim: 2 dim: 3 } shape { dim: 2", "dim: 4 dim: 250000 } shape { dim: 4"))
    batch = {"x": torch.ones(4, 250000), "y": torch.zeros(4)}
    with writing_at_end([net]):
        net(batch)
        tracemalloc.start()
        for _ in range(60):
            net(batch)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Path("out.h5").stat().st_size > 240e6
    assert most < 24e6


def test_within_a_run_the_file_comes_at_its_end_or_not_at_all() -> None:
    net = netc.load_net(TEXT)
    with writing_at_end([net]):
        for k in range(2):
            net(rows(k))
        assert os.listdir() == []
    assert read()["label"].ravel().tolist() == [0, 0, 1, 1]
    with pytest.raises(NetcError), writing_at_end([net]):
        [net(rows(7)), net(rows(7), blobs=["none"])]
    del net
    assert read()["label"].ravel().tolist() == [0, 0, 1, 1]


def test_two_nets_of_a_run_cannot_write_one_file() -> None:
    nets = [netc.load_net(TEXT), netc.load_net(TEXT)]
    with pytest.raises(NetcError) as caught, writing_at_end(nets):
        pass
    assert caught.value.code == "R652"


def test_a_copy_of_a_net_begins_a_file_of_its_own() -> None:
    net = netc.load_net(TEXT)
    net(rows(0))
    copy.deepcopy(net)(rows(1))
    assert read()["label"].ravel().tolist() == [1, 1]


@contextmanager
def _full_after(limit: int) -> Iterator[None]:
    """The limit on the size of a file stands for the disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("limit", [100_000, 3_000_000])
def test_a_disk_that_fills_up_leaves_the_earlier_file(limit: int) -> None:
    """The rows' own file grows too large, or the one made of them does."""
    netc.load_net(TEXT)(rows(0))
    net = netc.load_net(TEXT)
    batch = {"x": torch.ones(2, 124_990), "y": torch.ones(2)}
    with pytest.raises(NetcError) as caught, _full_after(limit), writing_at_end([net]):
        [net(batch) for _ in range(3)]
    assert (caught.value.code, caught.value.exit_status) == ("X900", 74)
    del net
    assert read()["label"].ravel().tolist() == [0, 0]
    assert os.listdir() == ["out.h5"]


def test_a_pass_that_does_not_fit_leaves_the_earlier_rows() -> None:
    net = netc.load_net(TEXT)
    net(rows(0))
    with pytest.raises(NetcError), _full_after(30):  # the data fit a part of it, the labels not at all
        net(rows(1))
    net(rows(2))
    assert read()["label"].ravel().tolist() == [0, 0, 2, 2]
    np.testing.assert_array_equal(read()["data"].reshape(4, 3)[2:], rows(2)["x"])


def test_a_killed_process_leaves_nothing() -> None:
    code = (
        "import netc, os, signal, torch\n"
        "from netc.runtime.net.outputs import writing_at_end\n"
        f"net = netc.load_net({TEXT!r})\n"
        "with writing_at_end([net]):\n"
        "    net(x=torch.ones(2, 3), y=torch.ones(2))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment())
    assert done.returncode == -signal.SIGKILL
    assert os.listdir() == []


def test_settings_are_checked() -> None:
    with pytest.raises(NetcError, match="names no file"):
        netc.compile_net(TEXT.replace('file_name: "out.h5"', ""))
    with pytest.raises(NetcError, match="differ in batch size: 2×3 and 4"):
        netc.compile_net(TEXT.replace("shape { dim: 2 } }", "shape { dim: 4 } }"))
