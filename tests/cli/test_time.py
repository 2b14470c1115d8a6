"""`netc time`: every layer of a net measured, in Caffe's words, as JSON and as a profile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from netc.cli import main
from tests.runtime.pycaffe.nets import DEPLOY, SIMPLE, written


@pytest.fixture
def net(tmp_path: Path) -> str:
    return written(tmp_path, SIMPLE)


def test_its_log_is_caffes(net: str, shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same lines as Caffe's own log of its time command, but for the numbers and the layers."""
    assert main(["time", f"-model={net}", "-iterations", "3"]) == 0
    err = capfd.readouterr().err
    theirs = (shared / "goldens/solvers/cli/time.log").read_text()

    def words(text: str) -> list[str]:
        lines = re.findall(r"\] (\*\*\* Bench.*|Testing for.*|Iteration: .*|Average .*|Total .*)", text)
        return [re.sub(r"[\d.]+(e-\d+)?", "N", line) for line in lines]

    assert words(err) == words(theirs)
    assert re.search(r"\]       conv\tforward: [\d.]+ ms\.\n", err)


def test_a_row_for_each_layer(net: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["time", net, "--iterations", "2"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["data", "DummyData"],
        ["conv", "Convolution"],
        ["ip", "InnerProduct"],
        ["loss", "SoftmaxWithLoss"],
    ]
    assert lines[-1].startswith("all ")


def test_json_and_profile(net: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    assert main(["time", net, "--iterations", "2", "--json", "--profile", str(path)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["iterations"] == 2
    rows = {row["name"]: row for row in found["layers"]}
    assert rows["conv"]["forward_ms"] > 0
    assert rows["conv"]["backward_ms"] > 0
    assert sum(row["forward_ms"] for row in rows.values()) == pytest.approx(found["forward_ms"])
    events = json.loads(path.read_text())["traceEvents"]
    assert len(events) == 2 * 2 * 4
    assert {event["ph"] for event in events} == {"X"}
    for event in events:  # the Trace Event Format's complete events
        assert all(isinstance(event[key], str) for key in ("name", "cat"))
        assert all(isinstance(event[key], int) for key in ("pid", "tid"))
        assert all(isinstance(event[key], float) and event[key] >= 0 for key in ("ts", "dur"))
        assert isinstance(event["args"], dict)
    ends = [event["ts"] + event["dur"] for event in events]
    assert all(event["ts"] >= end - 0.01 for event, end in zip(events[1:], ends, strict=False))


def test_a_net_for_use_and_what_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["time", written(tmp_path, DEPLOY), "--phase", "test", "--iterations", "1"]) == 0
    assert main(["time"]) == 2
    assert main(["time", str(tmp_path / "none.prototxt")]) == 66
    assert main(["time", written(tmp_path, DEPLOY), "--iterations", "0"]) == 2


MEMORY = 'type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 4 width: 3 }'
NOT_HERE = (
    'type: "Data" transform_param { crop_size: 4 } data_param { source: "none_lmdb" backend: LMDB batch_size: 2 }'
)


@pytest.mark.parametrize("source", [MEMORY, NOT_HERE])
def test_nets_whose_data_are_not_here(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Random numbers stand for them, and it says so."""
    text = f"""layer {{ name: "data" top: "data" top: "label" {source} }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: 3 }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}"""
    assert main(["time", written(tmp_path, text), "--iterations", "3", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["stand_ins"] == ["data"]
    assert [row["name"] for row in json.loads(out)["layers"]] == ["data", "fc", "loss"]
    assert 'the data of layer "data" are not here' in err


def test_data_that_are_here_are_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none_lmdb").mkdir()
    (tmp_path / "none_lmdb" / "data.mdb").write_bytes(b"x" * 9999)
    text = f'layer {{ name: "data" top: "data" top: "label" {NOT_HERE} }}'.replace("none", str(tmp_path / "none"))
    assert main(["time", written(tmp_path, text), "--iterations", "1"]) == 65
    assert "error[D" in capfd.readouterr().err
