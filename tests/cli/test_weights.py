"""`netc weights`: what is in a file, the difference of two, exit statuses, names that must not reach a terminal."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from netc import proto, weights
from netc.cli._main import run

VALUES = {
    "conv": [np.arange(12, dtype="<f4").reshape(2, 3, 1, 2) - 3, np.array([0.5, -2], "<f4")],
    "fc": [np.array([[1, 0, 0, 3]], "<f8")],
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The same values as a.caffemodel, a.safetensors and a.npz."""
    monkeypatch.chdir(tmp_path)
    net = proto.NetParameter(name="small", layer=[{"name": "data", "type": "Input"}])
    net.layer.add(name="conv", type="Convolution")
    net.layer.add(name="fc", type="InnerProduct")
    weights.write_caffemodel("a.caffemodel", net, VALUES)
    named = {f"{layer}/{i}": array for layer, arrays in VALUES.items() for i, array in enumerate(arrays)}
    np.savez("a.npz", **named)
    save_file({key.replace("/", "."): array for key, array in named.items()}, "a.safetensors", {"card": "x" * 300})
    return tmp_path


def shown(capsys, *arguments, status=0):
    assert run(["weights", *map(str, arguments)]) == status
    return capsys.readouterr().out


def told(capsys, *arguments, status=0):
    return json.loads(shown(capsys, *arguments, "--json", status=status))


def test_a_table_for_a_reader(files, capsys):
    conv, bias, fc = (digest(array)[:16] for array in (*VALUES["conv"], VALUES["fc"][0][0]))
    assert shown(capsys, "a.caffemodel").splitlines() == [
        'a.caffemodel: caffemodel, current format of the net "small", 185 B',
        "3 layers, 2 with arrays, 18 values",
        "",
        "layer  type          blob  shape    kind      mean    std  min  max   zeros  sha256",
        "data   Input",
        f"conv   Convolution   0     2×3×1×2  float32    2.5  3.452   -3    8   8.33%  {conv}",
        f"                     1     2        float32  -0.75   1.25   -2  0.5          {bias}",
        f"fc     InnerProduct  0     1×4      float64      1  1.225    0    3  50.00%  {fc}",
    ]


def digest(array):
    head = ",".join(map(str, array.shape)) + "\n"
    return hashlib.sha256(head.encode() + array.astype("<f4").tobytes()).hexdigest()


def test_json(files, capsys):
    found = told(capsys, "a.caffemodel")
    assert (found["kind"], found["version"], found["net"], found["values"]) == ("caffemodel", "current", "small", 18)
    assert (found["not_finite"], found["unknown_fields"]) == (0, {})
    assert [layer["name"] for layer in found["layers"]] == ["data", "conv", "fc"]
    assert found["layers"][1]["blobs"][0] == {
        "blob": "0",
        "shape": [2, 3, 1, 2],
        "old_style_shape": False,
        "dtype": "float32",
        "count": 12,
        "mean": 2.5,
        "std": pytest.approx(VALUES["conv"][0].std()),
        "min": -3.0,
        "max": 8.0,
        "zeros": 1,
        "nans": 0,
        "infinities": 0,
        "sha256": digest(VALUES["conv"][0]),
    }


def test_every_format_has_the_same_hashes(files, capsys):
    pytest.importorskip("h5py")
    from netc.weights.formats.hdf5 import hdf5_image

    Path("a.caffemodel.h5").write_bytes(hdf5_image(VALUES))
    hashes = []
    for name in ("a.caffemodel", "a.npz", "a.safetensors", "a.caffemodel.h5"):
        layers = told(capsys, name)["layers"]
        hashes.append({(layer["name"], b["blob"]): b["sha256"] for layer in layers for b in layer["blobs"]})
    assert hashes == [hashes[0]] * 4
    assert "card: " + "x" * 100 + "…" in shown(capsys, "a.safetensors")


def test_one_layer(files, capsys):
    assert [layer["name"] for layer in told(capsys, "a.npz", "--layer", "fc")["layers"]] == ["fc"]
    assert run(["weights", "a.npz", "--layer", "cnv"]) == 65
    assert 'there is no layer "cnv"; did you mean "conv"?' in capsys.readouterr().err


def test_solver_states_means_and_diffs(files, capsys):
    weights.write_solverstate("s.solverstate", weights.SolverState(30, "a.caffemodel", VALUES["conv"], 2))
    found = told(capsys, "s.solverstate")
    assert found["facts"] == {"iter": 30, "learned_net": "a.caffemodel", "current_step": 2}
    assert [blob["shape"] for blob in found["layers"][0]["blobs"]] == [[2, 3, 1, 2], [2]]
    assert "2 arrays, 14 values" in shown(capsys, "s.solverstate")
    weights.write_blob("m.binaryproto", VALUES["conv"][0])
    (layer,) = told(capsys, "m.binaryproto")["layers"]
    assert layer["blobs"][0]["old_style_shape"]
    net = proto.NetParameter(layer=[{"name": "conv"}])
    weights.write_caffemodel("d.caffemodel", net, VALUES, {"conv": VALUES["conv"]})
    (layer,) = told(capsys, "d.caffemodel")["layers"]
    assert [blob["blob"] for blob in layer["blobs"]] == ["0", "0 diff", "1", "1 diff"]


def test_what_is_strange_is_said(files, capsys):
    net = proto.NetParameter(layer=[{"name": "x\x1b[2J", "type": "\x07"}, {"name": "twice"}, {"name": "twice"}])
    bad = np.array([1, np.nan, np.inf], "f4")
    file = io.BytesIO()
    weights.write_caffemodel(file, net, {"x\x1b[2J": [bad]})
    Path("b.caffemodel").write_bytes(file.getvalue() + b"\xd2\x43\x02\x08\x01")
    text = shown(capsys, "b.caffemodel")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert 'warning: layer "x\\x1b[2J", blob 0 has 1 NaN and 1 infinite value among 3' in text
    assert "fields that Caffe does not have, from a fork: NetParameter 1082 (1×)" in text
    assert "layers that stand twice, of which the last counts: twice" in text
    found = told(capsys, "b.caffemodel")
    assert (found["not_finite"], found["unknown_fields"]) == (2, {"NetParameter 1082": 1})
    assert [layer["replaced"] for layer in found["layers"]] == [False, True, False]


def test_equal_files(files, capsys):
    for other in ("a.caffemodel", "a.npz", "a.safetensors"):
        assert shown(capsys, "diff", "a.caffemodel", other).splitlines()[-1] == "equal: 3 blobs: 3 equal bit for bit"
        assert told(capsys, "diff", "a.caffemodel", other)["equal"]


def test_different_files(files, capsys):
    other = {"conv": [VALUES["conv"][0] + 0.25, VALUES["conv"][1]], "new": [np.ones(2, "f4")]}
    np.savez("b.npz", **{f"{layer}/{i}": array for layer, arrays in other.items() for i, array in enumerate(arrays)})
    lines = shown(capsys, "diff", "a.caffemodel", "b.npz", status=1).splitlines()
    assert lines[3:] == [
        "layer  blob  verdict    shape in A  in B  largest |a-b|  relative  values beyond",
        "conv   0     different  2×3×1×2                    0.25         1             12",
        "fc     0     only in A  1×4",
        "new    0     only in B              2",
        "",
        "different: 4 blobs: 1 equal bit for bit, 1 different, 1 only in A, 1 only in B",
    ]
    found = told(capsys, "diff", "a.caffemodel", "b.npz", status=1)
    assert [blob["verdict"] for blob in found["blobs"]] == ["different", "equal", "only in A", "only in B"]
    assert found["blobs"][0]["largest"] == 0.25
    shown(capsys, "diff", "a.caffemodel", "b.npz", "--layer", "conv", "--tolerance", "0.25")
    shown(capsys, "diff", "a.caffemodel", "b.npz", "--layer", "conv", "--relative", "1")
    shown(capsys, "diff", "a.caffemodel", "b.npz", "--layer", "conv", "--tolerance", "0.2", status=1)


def test_solver_states_that_differ_in_their_iteration_alone(files, capsys):
    for name, iteration in (("a.solverstate", 3), ("b.solverstate", 4)):
        weights.write_solverstate(name, weights.SolverState(iteration, "a.caffemodel", VALUES["conv"]))
    text = shown(capsys, "diff", "a.solverstate", "b.solverstate", status=1)
    assert "iter: 3 in A, 4 in B" in text
    assert "different: 2 blobs: 2 equal bit for bit" in text


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (["missing.caffemodel"], 66, "F110"),
        (["text.caffemodel"], 65, "W701"),
        (["cut.caffemodel"], 65, "W702"),
        ([], 2, "Missing argument"),
        (["a.npz", "a.npz"], 2, "netc weights diff A B"),
        (["diff", "a.npz"], 2, "diff takes two files"),
        (["diff", "a.npz", "missing.npz"], 66, "F110"),
        (["diff", "a.npz", "a.npz", "--layer", "x"], 65, "W744"),
        (["diff", "a.npz", "a.npz", "--tolerance", "-1"], 2, "--tolerance"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_fails(files, capsys, arguments, status, text):
    Path("text.caffemodel").write_text("name: 'a'")
    Path("cut.caffemodel").write_bytes(Path("a.caffemodel").read_bytes()[:-9])
    assert run(["weights", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert text in captured.err


def test_a_file_called_diff(files, capsys):
    Path("a.npz").rename("diff")
    assert told(capsys, "./diff")["kind"] == "npz"


def test_every_file_of_the_zoo(shared, capsys):
    paths = [path for path in (shared / "zoo/caffemodel").rglob("*") if path.suffix in (".caffemodel", ".solverstate")]
    assert len(paths) > 15
    for path in paths:
        found = told(capsys, path)
        assert found["not_finite"] == 0, path
        assert found["values"] > 0, path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_without_torch_and_in_bounded_memory(tmp_path):
    """100 MB of weights in a process that grows by less than half of that."""
    path = tmp_path / "w.caffemodel"
    weights.write_caffemodel(path, proto.NetParameter(layer=[{"name": "fc"}]), {"fc": [np.ones(25_000_000, "f4")]})
    code = (
        "import re, sys; from netc.cli._main import run; status = run(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; "
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "weights", str(path)], capture_output=True, text=True, check=True
    )
    assert "25,000,000 values" in done.stdout
    assert int(done.stderr) < 90_000
