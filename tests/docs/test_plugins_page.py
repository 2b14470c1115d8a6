"""docs/plugins.md: its files are written, its commands run, and the example is a layer like any other."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

BEHAVIOUR = """
import json, sys
import netc
from netc import NetcError, proto

old = netc.read_net("python_net.prototxt")
messages = proto.NetParameter
module = netc.load_plugin("gate.py")
assert proto.NetParameter is not messages
schema = proto.pool()
assert netc.load_plugin("./gate.py") is module and proto.pool() is schema

found = {}
param = netc.read_net("gated.prototxt")
found["binary"] = proto.NetParameter.FromString(param.SerializeToString()) == param
found["number"] = b"\\x8a\\xe2\\x09" in param.layer[1].SerializeToString()  # (20001 << 3 | 2) as a varint
found["text"] = str(param.layer[1].channel_gate_param)
found["comment"] = proto.comment("ChannelGateParameter.temperature")
found["old"] = len(netc.compile_net(old, "TEST", allow_python_layers=["euclidean"]).nodes)
text = open("gated.prototxt").read()
faults = {
    "field": text.replace("temperature", "temprature"),
    "value": text.replace("filler { value: 0.2 }", "curve: SOFT"),
    "rule": text.replace("temperature: 0.5", "temperature: -1"),
}
for name, fault in faults.items():
    try:
        netc.compile_net(fault)
    except NetcError as error:
        found[name] = [error.code, error.message, error.line]
assert "torch" not in sys.modules
net = netc.load_net("gated.prototxt", "TRAIN", weights={"gate": [[0.1, 0.2, 0.3, 0.4]]})
found["weights"] = [round(x, 3) for x in net.params["gate"][0].tolist()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything the page does has been done here."""
    place = tmp_path_factory.mktemp("plugins")
    for language, text in BLOCK.findall(PAGE):
        if (name := re.match(r"# file: (\S+)\n", text)) is not None:
            (place / name[1]).write_text(text)
        elif language == "console":
            for line in text.splitlines():
                netc, *words = shlex.split(line.removeprefix("$ "))
                assert netc == "netc"
                run("-m", "netc", *words, folder=place)
    return place


def run(*words: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=120, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


MEMORY = """layer { name: "m" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 4 channels: 3 height: 8 width: 8 } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }"""


def test_the_example_of_data_from_a_program(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "prototxt.md").read_text()
    (example,) = (text for _, text in BLOCK.findall(page) if "set_input_arrays" in text)
    (tmp_path / "memory.prototxt").write_text(MEMORY)
    solver = 'net: "memory.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 30'
    (tmp_path / "memory_solver.prototxt").write_text(solver)
    (tmp_path / "example.py").write_text(example)
    assert run("example.py", folder=tmp_path).count("loss") == 4


def test_training_has_moved_the_gates(folder: Path) -> None:
    text = run("use_gate.py", folder=folder)
    values = [float(number) for number in re.findall(r"-?\d\.\d+", text)]
    assert len(values) == 4
    assert max(values) < 0.2  # they started there, and the target is 0


def test_the_example_keeps_what_every_type_keeps(folder: Path) -> None:
    run("test_gate.py", folder=folder)


def test_its_emitted_code_runs_without_netc(folder: Path) -> None:
    code = "import sys; sys.modules['netc'] = None; from gated import Gated; print(list(Gated()()))"
    assert run("-c", code, folder=folder) == "['loss']\n"


def test_its_message_is_read_checked_and_printed_like_caffes(folder: Path) -> None:
    (folder / "behaviour.py").write_text(BEHAVIOUR)
    found = json.loads(run("behaviour.py", folder=folder))
    assert found["binary"]
    assert found["number"]
    assert found["text"] == "temperature: 0.5\nfiller {\n  value: 0.2\n}\n"
    assert found["comment"].startswith("Divides the gates")
    assert found["old"] == 3
    code, message, line = found["field"]
    assert (code, line) == ("S201", 12)
    assert message == 'ChannelGateParameter has no field "temprature"; did you mean "temperature"?'
    assert found["value"][0] == "S204"
    assert found["rule"] == ["L301", 'layer "gate" (ChannelGate): the temperature has to be positive', 12]
    assert found["weights"] == [0.1, 0.2, 0.3, 0.4]
