"""Real Caffe's numbers through caffe.Net: layers and whole nets, values, diffs of blobs and of parameters."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import netc.pycaffe as caffe
from tests.netc.layers.goldens import FOLDER, TOLERANCE, Golden, cases, distance
from tests.netc.layers.test_goldens import NET_DEPARTURES, departures

AUTOMATIC = "(automatic)"


@pytest.fixture(autouse=True)
def _where_the_prototxts_were_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)


class Case:
    """A net that Caffe ran, as a program of pycaffe's runs it."""

    def __init__(self, kind: str, name: str) -> None:
        stem = FOLDER / kind / name
        self.about: dict[str, Any] = json.loads(stem.with_suffix(".json").read_text())
        golden = Golden(kind, name)
        self.numbers = golden.numbers | departures(golden)
        self.departs = kind == "nets" and name in NET_DEPARTURES
        if self.departs:
            self.numbers |= NET_DEPARTURES[name](golden)
        given = self.about["net_kwargs"]
        phase = caffe.TRAIN if self.about["phase"] == "TRAIN" else caffe.TEST
        self.net = caffe.Net(str(stem.with_suffix(".prototxt")), phase, **given)
        for key, value in self.group("param:", ""):
            layer, _, position = key.rpartition("/")
            self.net.params[layer][int(position)].data[...] = value

    def group(self, prefix: str, suffix: str) -> list[tuple[str, np.ndarray]]:
        return [
            (key[len(prefix) : len(key) - len(suffix)], value)
            for key, value in self.numbers.items()
            if key.startswith(prefix) and key.endswith(suffix)
        ]

    def differences(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for step in range(self.about["steps"]):
            found |= self.step(f"@{step}" if self.about["steps"] > 1 else "")
        return {key: gap for key, gap in found.items() if not gap <= TOLERANCE}

    def step(self, suffix: str) -> dict[str, float]:
        net = self.net
        for name, value in self.group("in:", suffix):
            if net.blobs[name].shape != value.shape:
                net.blobs[name].reshape(*value.shape)
            net.blobs[name].data[...] = value
        net.forward()
        found = {f"out:{name}": distance(net.blobs[name].data, v) for name, v in self.group("out:", suffix)}
        for key, value in self.group("param_after:", suffix):
            found[f"param_after:{key}"] = distance(self.param(key).data, value)
        return found | (self.backward(suffix) if self.about["backward"] else {})

    def backward(self, suffix: str) -> dict[str, float]:
        net = self.net
        net.clear_param_diffs()
        for name, value in self.group("topdiff:", suffix):
            net.blobs[name].diff[...] = value
        net.backward()
        unwritten = self.about.get(f"input_diff_not_written{suffix}", self.about.get("input_diff_not_written", []))
        found = {
            f"indiff:{name}": distance(net.blobs[name].diff, v)
            for name, v in self.group("indiff:", suffix)
            if name not in unwritten
        }
        for name, value in self.group("diff:", suffix):
            if name not in unwritten and not self.departs:
                found[f"diff:{name}"] = distance(net.blobs[name].diff, value)
        for key, value in self.group("paramdiff:", suffix):
            found[f"paramdiff:{key}"] = distance(self.param(key).diff, value)
        return found

    def param(self, key: str) -> Any:
        layer, _, position = key.rpartition("/")
        return self.net.params[layer][int(position)]


@pytest.mark.parametrize("name", cases("layers"))
def test_layer(name: str) -> None:
    case = Case("layers", name)
    if not case.about["stochastic"]:
        assert case.differences() == {}


@pytest.mark.parametrize("name", cases("nets"))
def test_net(name: str) -> None:
    assert Case("nets", name).differences() == {}
