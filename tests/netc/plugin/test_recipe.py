"""A layer type is one file: one from scratch is read, checked, run, put to the harness, drawn, compared and emitted.

CONTRIBUTING.md and docs/plugins.md have the recipe that is followed here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc import NetcError, plugin, proto
from netc.cli._main import run as netc_run
from netc.layers import registry
from netc.runtime.net.conformance import Case, check

PLUGIN = '''
from netc.plugin import Code, Field, Layer, call, layer, message

message("squash_param", "SquashParameter", limit=Field(1, "float", default=1.0), filler=Field(2, "FillerParameter"))


def squash(x, gain, limit=1.0):
    """limit * tanh(gain * x / limit), with a gain for each channel."""
    return limit * (x * per_channel(gain, x) / limit).tanh()


def per_channel(values, x):
    return values.view(-1, *[1] * (x.dim() - 2))


@layer("Squash")
class Squash(Layer):
    """y = limit · tanh(gain · x / limit), with a learned gain for each channel. Shapes: (N, C, …) → the same."""

    param_field = "squash_param"

    def setup(self, bottoms):
        if not self.options.limit > 0:
            self.fail("the limit has to be positive", "squash_param.limit")
        self.add_param("weight", (bottoms[0][1],), "squash_param.filler")
        return [bottoms[0]]

    def forward(self, run, bottoms, params):
        return [squash(bottoms[0], params[0], self.options.limit)]

    def emit(self, site):
        x = call("squash", site.x, f"{site.module}.weight", **self.changed(limit="limit"))
        return Code(x, call("Parameter", site.shape[1]), starts={"weight": 0.0})
'''

NET = """name: "squashed"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "soft" type: "Squash" bottom: "conv" top: "soft"
  squash_param { limit: 1.5 filler { type: "uniform" min: 0.5 max: 2 } } }
"""

ALONE = """
import sys
import numpy as np
import torch
sys.modules["netc"] = None  # whoever imports it fails
from squashed import Squashed

given = np.load("given.npz")
net = Squashed().eval()
net.load_state_dict({key: torch.from_numpy(given[key]) for key in given if key != "data"}, strict=True)
np.save("found.npy", net(torch.from_numpy(given["data"])).detach().numpy())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the plug-in and a net, the schema and the types being put back behind the test."""
    monkeypatch.chdir(tmp_path)
    types, schema = dict(registry()), dict(proto._schema())
    Path("squash.py").write_text(PLUGIN)
    Path("net.prototxt").write_text(NET)
    Path("other.prototxt").write_text(NET.replace("limit: 1.5", "limit: 2.5"))
    yield tmp_path
    plugin._loaded.clear()
    plugin._forget(types)
    proto._use(schema)


def run(*words: str) -> int:
    return netc_run([*words, "--plugin", "squash.py"])


def values(net: Any, x: torch.Tensor) -> np.ndarray[Any, Any]:
    """What the net of NET gives, computed in numpy from its convolution."""
    conv = net(x, blobs=["conv"])["conv"].detach().numpy().astype("f8")
    gain = net.params["soft"][0].detach().numpy().astype("f8")[:, None, None]
    return 1.5 * np.tanh(gain * conv / 1.5)


def test_it_is_read_checked_and_run(folder: Path) -> None:
    assert run("check", "net.prototxt") == 0
    netc.load_plugin("squash.py")
    net, x = netc.load_net("net.prototxt"), torch.randn(3, 3, 6, 7)
    assert np.allclose(net(x)["soft"].detach().numpy(), values(net, x), atol=1e-6)
    with pytest.raises(NetcError, match="the limit has to be positive") as caught:
        netc.compile_net(NET.replace("limit: 1.5", "limit: 0"))
    assert caught.value.line == 6


def test_it_keeps_what_every_type_keeps(folder: Path) -> None:
    netc.load_plugin("squash.py")
    check("Squash", Case('squash_param { limit: 0.7 filler { type: "gaussian" } }', ((2, 3, 4, 5),)))
    check("Squash", Case('squash_param { filler { type: "gaussian" } }', ((2, 3),)))


def test_it_is_drawn_and_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("draw", "net.prototxt", "--format", "mermaid", "-o", "-") == 0
    assert "Squash" in capsys.readouterr().out
    assert run("diff", "net.prototxt", "net.prototxt") == 0
    capsys.readouterr()
    assert run("diff", "net.prototxt", "other.prototxt") == 1
    said = capsys.readouterr().out
    assert "limit" in said
    assert "2.5" in said


def test_its_emitted_code_gives_the_same_numbers_without_netc(folder: Path) -> None:
    assert run("emit", "net.prototxt", "-o", "squashed.py") == 0
    code = (folder / "squashed.py").read_text()
    assert "        self.soft = Parameter(6)  # net.prototxt:5\n" in code
    assert "        return squash(x, self.soft.weight, limit=1.5)  # (2, 6, 3, 2); line 5\n" in code
    assert code.count("\ndef squash(") == code.count("\ndef per_channel(") == code.count("\nclass Parameter(") == 1
    net, x = netc.load_net("net.prototxt"), torch.randn(2, 3, 5, 4)
    np.savez("given.npz", data=x.numpy(), **{key: tensor.numpy() for key, tensor in net.state_dict().items()})
    (folder / "alone.py").write_text(ALONE)
    subprocess.run([sys.executable, "alone.py"], cwd=folder, check=True, timeout=120)
    assert np.allclose(np.load("found.npy"), values(net, x), atol=1e-6)


def test_a_training_net_starts_as_the_filler_says(folder: Path) -> None:
    assert run("emit", "net.prototxt", "--phase", "train", "-o", "squashed.py") == 0
    assert "        nn.init.uniform_(self.soft.weight, 0.5, 2)\n" in (folder / "squashed.py").read_text()


def test_a_function_of_its_own_by_one_of_netcs_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("squash.py").write_text(PLUGIN.replace("per_channel", "spread"))
    assert run("emit", "net.prototxt", "-o", "-") == 65
    assert "L392" in capsys.readouterr().err
