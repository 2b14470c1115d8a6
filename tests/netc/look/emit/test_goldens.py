"""Emitted code against real Caffe: every layer and net that Caffe's numbers are there for, within 1e-5."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import netc
from tests.netc.layers.goldens import FOLDER, Golden, cases
from tests.netc.layers.test_goldens import NET_DEPARTURES, departures
from tests.netc.look.emit.running import Emitted

NAN_WINS = "torch's max pooling lets NaN win, Caffe's does not (docs/emit.md)"


class EmittedGolden(Golden):
    """A case of Caffe's run by the emitted module; blobs inside the net, which it does not return, are left out."""

    def __init__(self, kind: str, name: str) -> None:
        stem = FOLDER / kind / name
        self.about: dict[str, Any] = json.loads(stem.with_suffix(".json").read_text())
        self.numbers: dict[str, np.ndarray] = dict(np.load(stem.with_suffix(".npz")))
        kwargs = self.about["net_kwargs"]
        self.graph = netc.compile_net(
            str(stem.with_suffix(".prototxt")), self.about["phase"], kwargs.get("level", 0), kwargs.get("stages", ())
        )
        self.net: Any = Emitted(self.graph)
        self._load_params()
        for key in [key for key in self.numbers if key.startswith(("out:", "topdiff:"))]:
            if key.partition(":")[2].partition("@")[0] not in self.graph.outputs:
                del self.numbers[key]


@pytest.fixture(autouse=True)
def _where_the_prototxts_were_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)


@pytest.mark.parametrize("name", cases("layers"))
def test_layer(name: str) -> None:
    golden = EmittedGolden("layers", name)
    if golden.about["stochastic"]:
        pytest.skip("random")
    if name == "pool_max_nan_input":
        assert np.isnan(golden.numbers["in:data"]).any(), NAN_WINS
        assert golden.distances()["out:top"] == np.inf
        return
    golden.numbers.update(departures(golden))
    assert golden.compare() == {}


@pytest.mark.parametrize("name", cases("nets"))
def test_net(name: str) -> None:
    golden = EmittedGolden("nets", name)
    if name in NET_DEPARTURES:
        golden.numbers.update(NET_DEPARTURES[name](golden))
    assert any(key.startswith("out:") for key in golden.numbers)
    assert golden.compare() == {}


def test_dropout_keeps_or_drops() -> None:
    golden = EmittedGolden("layers", "dropout_train_05")
    import torch

    x = golden.numbers["in:data"]
    y = golden.net(data=torch.from_numpy(x))["top"].numpy()
    kept = y != 0
    assert 0.3 < kept.mean() < 0.7
    assert np.array_equal(y[kept], 2 * x[kept])
