"""Numbers do not depend on the way in: each sets alike what torch keeps for the process, and imports set nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import netc
from netc.cli import main
from netc.runtime.net.numerics import settle
from tests.runtime.solver.conftest import write_run

IMPORT_ALL = """
import importlib, importlib.util, pkgutil, warnings
import torch, PIL.Image, PIL.ImageOps, numpy, lmdb, click, rich.progress, lark, safetensors, google.protobuf.message
for name in ("h5py", "onnx", "onnxruntime", "onnxscript", "simplejpeg"):  # these may set what they like
    if importlib.util.find_spec(name):
        importlib.import_module(name)

def state():
    b = torch.backends
    return (list(warnings.filters), torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(),
            torch.is_grad_enabled(), torch.get_float32_matmul_precision(), b.cudnn.deterministic, b.cudnn.benchmark,
            b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32, PIL.Image.MAX_IMAGE_PIXELS)

before, count = state(), 0
import netc
for module in pkgutil.walk_packages(netc.__path__, "netc."):
    if not module.name.endswith("__main__") and ".emit.helpers._" not in module.name:
        importlib.import_module(module.name)
        count += 1
assert state() == before, (before, state())
print(count)
"""


def test_importing_netc_sets_nothing() -> None:
    found = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, timeout=120, check=False)
    assert found.stderr == ""
    assert int(found.stdout) > 200


def flags() -> dict[str, Any]:
    backends: Any = torch.backends
    return {
        "deterministic": backends.cudnn.deterministic,
        "benchmark": backends.cudnn.benchmark,
        "convolution": backends.cudnn.conv.fp32_precision,
        "recurrent": backends.cudnn.rnn.fp32_precision,
        "tf32 of cuDNN": backends.cudnn.allow_tf32,
        "tf32 of products": backends.cuda.matmul.allow_tf32,
        "products": torch.get_float32_matmul_precision(),
        "filters": [entry for entry in warnings.filters if entry[3] is not None and "PIL" in str(entry[3])],
    }


EXACT = {
    "deterministic": True,
    "benchmark": False,
    "convolution": "ieee",
    "recurrent": "ieee",
    "tf32 of cuDNN": False,
    "tf32 of products": False,
    "products": "highest",
}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run with weights, in a process whose settings are all others than netc's."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = netc.load_solver("solver.prototxt")
    run.snapshot()
    run.close()
    _set_otherwise()
    yield tmp_path
    settle()


def _set_otherwise() -> None:
    settle(precision="tf32")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    warnings.resetwarnings()
    warnings.simplefilter("ignore")


WEIGHTS = "tiny_iter_0.caffemodel"
DOORS: dict[str, Callable[[], Any]] = {
    "load_net": lambda: netc.load_net("net.prototxt", weights=WEIGHTS),
    "load_solver": lambda: netc.load_solver("solver.prototxt").close(),
    "netc test": lambda: main(["test", "net.prototxt", f"--weights={WEIGHTS}", "--iterations=1"]),
    "netc train": lambda: main(["train", "solver.prototxt", "--iterations=0"]),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_way_in_sets_the_same(tiny: Path, door: str) -> None:
    assert flags()["filters"] == []
    DOORS[door]()
    found = flags()
    assert len(found.pop("filters")) == 1
    assert found == EXACT


def test_tf32_is_there_for_who_asks(tiny: Path) -> None:
    settle()
    netc.load_net("net.prototxt", precision="tf32")
    found = flags()
    assert (found["convolution"], found["recurrent"], found["products"]) == ("tf32", "tf32", "high")
    assert (found["tf32 of cuDNN"], found["tf32 of products"]) == (True, True)
    netc.load_solver("solver.prototxt").close()
    assert flags()["convolution"] == "ieee"
    main(["test", "net.prototxt", f"--weights={WEIGHTS}", "--iterations=1", "--precision=tf32"])
    assert flags()["convolution"] == "tf32"


def test_threads_are_left_alone_unless_asked_for(tiny: Path) -> None:
    before = torch.get_num_threads()
    settle()
    assert torch.get_num_threads() == before
    settle(threads=before + 1)
    assert torch.get_num_threads() == before + 1
    settle(threads=before)


def test_python_and_the_command_line_give_the_same_numbers(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = netc.load_net("net.prototxt", weights=WEIGHTS)
    outputs = [net() for _ in range(2)]
    net.feeding.close()
    assert main(["test", "net.prototxt", f"--weights={WEIGHTS}", "--iterations=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["outputs"]
    for name in ("accuracy", "loss"):
        assert found[name] == float(sum(out[name].detach().double() for out in outputs) / 2)
