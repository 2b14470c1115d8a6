"""Binary nets and solvers on the command line: checked, trained and tested like their texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc import proto, read_net, read_solver
from netc.cli._main import run
from netc.prototxt import Source, parse
from netc.prototxt.bind import bind

NET = """layers { name: "data" type: DUMMY_DATA top: "data" top: "label"
  dummy_data_param { num: 4 channels: 3 height: 5 width: 6 num: 4 channels: 1 height: 1 width: 1
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 1 blobs_lr: 2
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss" }"""


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A V1 net and a solver with the old solver_type, both as binary files, and the same as text."""
    monkeypatch.chdir(tmp_path)
    source = Source(NET)
    (tmp_path / "net.bin").write_bytes(bind(parse(source), proto.NetParameter, source).SerializeToString())
    (tmp_path / "net.prototxt").write_text(NET)
    solver = proto.SolverParameter(
        net="net.bin", base_lr=0.1, lr_policy="fixed", max_iter=3, solver_type="ADAGRAD", snapshot_prefix="bin"
    )
    (tmp_path / "solver.bin").write_bytes(solver.SerializeToString())
    text = (
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3 solver_type: ADAGRAD snapshot_prefix: "text"'
    )
    (tmp_path / "solver.prototxt").write_text(text)
    return tmp_path


def test_train_and_test(binary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for solver in ("solver.bin", "solver.prototxt"):
        assert run(["train", solver]) == 0
    assert (binary / "bin_iter_3.caffemodel").read_bytes() == (binary / "text_iter_3.caffemodel").read_bytes()
    capsys.readouterr()
    results = []
    for net in ("net.bin", "net.prototxt"):
        assert run(["test", net, "--weights", "bin_iter_3.caffemodel", "--iterations", "1", "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]


def test_check(binary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for names in (("net.bin", "solver.bin"), ("net.prototxt", "solver.prototxt")):
        assert run(["check", *names, "--json"]) == 0
        files = json.loads(capsys.readouterr().out)["files"]
        found.append([(file["kind"], [net["layers"] for net in file["nets"]]) for file in files])
    assert found[0] == found[1]


def test_check_says_where(binary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = read_net("net.bin")
    net.layer[1].inner_product_param.num_output = 0
    (binary / "bad.bin").write_bytes(net.SerializeToString())
    assert run(["check", "bad.bin", "--json"]) == 65
    error = json.loads(capsys.readouterr().out)["files"][0]["errors"][0]
    assert (error["path"], error["line"], error["part"]) == ("bad.bin", 0, 'layer "ip", inner_product_param.num_output')


def test_python_reads_them_too(binary: Path) -> None:
    assert read_net("net.bin") == read_net("net.prototxt")
    assert read_solver("solver.bin").type == read_solver("solver.prototxt").type == "AdaGrad"
