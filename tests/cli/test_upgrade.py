"""`netc upgrade`: text and binary, to stdout, to a file and in place."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from netc import proto, read_net, weights
from netc.cli._main import run

V1 = '# old\nlayers { name: "r" type: RELU bottom: "a" top: "b" }  # r\n'
NOW = '# old\nlayer { name: "r" type: "ReLU" bottom: "a" top: "b" }  # r\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.prototxt").write_text(V1)
    (tmp_path / "now.prototxt").write_text(NOW)
    return tmp_path


def test_text_to_stdout(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["upgrade", "old.prototxt"]) == 0
    out, err = capfdbinary.readouterr()
    assert out.decode() == NOW
    assert err.decode() == "old.prototxt: upgraded to the current format\n"
    assert (folder / "old.prototxt").read_text() == V1


def test_text_to_a_file_and_in_place(folder: Path) -> None:
    assert run(["upgrade", "old.prototxt", "-o", "new.prototxt"]) == 0
    assert (folder / "new.prototxt").read_text() == NOW
    assert run(["upgrade", "old.prototxt", "--in-place"]) == 0
    assert (folder / "old.prototxt").read_text() == NOW


def test_nothing_to_do(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = os.stat("now.prototxt").st_ino
    assert run(["upgrade", "now.prototxt", "--in-place"]) == 0
    assert capfd.readouterr().err == "now.prototxt: in the current format already\n"
    assert os.stat("now.prototxt").st_ino == before
    assert run(["upgrade", "now.prototxt", "-o", "copy.prototxt"]) == 0
    assert (folder / "copy.prototxt").read_text() == NOW


def test_what_is_dropped_is_said(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = 'input: "a" input_dim: [1, 2, 3, 4] layers { layer { type: "relu" pad: 1 } bottom: "a" top: "b" }'
    (folder / "v0.prototxt").write_text(text)
    assert run(["upgrade", "v0.prototxt"]) == 0
    assert '"pad" has no effect on a layer of type "relu"; Caffe drops it' in capfd.readouterr().err


def test_a_solver(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "solver.prototxt").write_text('net: "x"\nbase_lr: 0.1\nsolver_type: ADAM  # which\n')
    assert run(["upgrade", "solver.prototxt"]) == 0
    assert capfd.readouterr().out == 'net: "x"\nbase_lr: 0.1\ntype: "Adam"  # which\n'


def test_errors(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["upgrade", "old.prototxt", "--in-place", "-o", "x"]) == 2
    assert "error[C180]" in capfd.readouterr().err
    (folder / "mixed.prototxt").write_text(V1 + NOW)
    assert run(["upgrade", "mixed.prototxt", "--in-place"]) == 65
    assert "mixed.prototxt:2:1: error[U101]" in capfd.readouterr().err
    assert (folder / "mixed.prototxt").read_text() == V1 + NOW


# -- binary ------------------------------------------------------------------------------------------------------------


def caffemodels() -> dict[str, object]:
    """A net of each format whose two layers have blobs; in V0 a padding layer stands between them."""
    blobs = [proto.BlobProto(shape={"dim": [2, 3]}, data=np.arange(6) + k) for k in range(2)]
    nets = {name: proto.NetParameter(name=name, input=["a"], input_dim=[1, 3, 4, 5]) for name in ("v0", "v1", "now")}
    names = [("c", "a", "b"), ("d", "p", "e")]
    for name, bottom, top in names:
        old = proto.V0LayerParameter(name=name, type="conv", num_output=2, kernelsize=3, blobs=blobs, blobs_lr=[1])
        nets["v0"].layers.add(bottom=[bottom], top=[top]).layer.CopyFrom(old)
        if name == "c":
            padding = proto.V0LayerParameter(name="pad", type="padding", pad=2)
            nets["v0"].layers.add(bottom=["b"], top=["p"]).layer.CopyFrom(padding)
        v1 = nets["v1"].layers.add(name=name, type="CONVOLUTION", bottom=[bottom], top=[top], blobs=blobs, blobs_lr=[1])
        v1.include.add(phase=1)
        now = nets["now"].layer.add(name=name, type="Convolution", bottom=[bottom], top=[top], blobs=blobs)
        now.include.add(phase=1)
    return nets


@pytest.mark.parametrize("name", ["v0", "v1", "now"])
def test_a_caffemodel_keeps_its_weights(name: str, folder: Path) -> None:
    path = folder / "old.caffemodel"
    path.write_bytes(caffemodels()[name].SerializeToString())
    before = weights.read(path)
    assert run(["upgrade", "old.caffemodel", "-o", "new.caffemodel"]) == 0
    written = proto.NetParameter.FromString((folder / "new.caffemodel").read_bytes())
    assert [(layer.name, len(layer.blobs)) for layer in written.layer] == [("input", 0), ("c", 2), ("d", 2)]
    assert (len(written.layers), len(written.input), len(written.input_dim)) == (0, 0, 0)
    after = weights.read("new.caffemodel")
    for layer in ("c", "d"):
        for mine, theirs in zip(after[layer], before[layer], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for layer in written.layer:
        del layer.blobs[:]
    assert written == read_net(path)


def test_the_bytes_are_those_that_protobuf_writes(folder: Path) -> None:
    """Fields in the order of their numbers, as upgrade_net_proto_binary leaves them."""
    (folder / "old.caffemodel").write_bytes(caffemodels()["v1"].SerializeToString())
    assert run(["upgrade", "old.caffemodel", "--in-place"]) == 0
    data = (folder / "old.caffemodel").read_bytes()
    assert proto.NetParameter.FromString(data).SerializeToString() == data


def test_a_binary_solver(folder: Path) -> None:
    (folder / "solver.bin").write_bytes(
        proto.SolverParameter(net="x", base_lr=1, solver_type="ADAM").SerializeToString()
    )
    assert run(["upgrade", "solver.bin", "--in-place"]) == 0
    found = proto.SolverParameter.FromString((folder / "solver.bin").read_bytes())
    assert (found.type, found.HasField("solver_type")) == ("Adam", False)


def test_a_binary_file_needs_a_place(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "old.caffemodel").write_bytes(caffemodels()["v1"].SerializeToString())
    assert run(["upgrade", "old.caffemodel"]) == 2
    assert "error[C181]" in capfd.readouterr().err


def test_the_true_file_of_2014(shared: Path, folder: Path) -> None:
    old = shared / "zoo/caffemodel/everpeace_2014_lenet/lenet_iter_10000.caffemodel"
    assert run(["upgrade", str(old), "-o", "lenet.caffemodel"]) == 0
    before, after = weights.read(old), weights.read("lenet.caffemodel")
    assert list(before) == list(after)
    for name in before:
        for mine, theirs in zip(after[name], before[name], strict=True):
            np.testing.assert_array_equal(mine, theirs)
