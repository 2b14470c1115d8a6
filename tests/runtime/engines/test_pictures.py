"""Engines behind netc.posteriors, netc.features, and the commands: the same numbers, or why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import netc
from netc.cli import _main
from netc.errors import NetcError
from netc.runtime.engines import backends, known
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.transfer import files
from netc.weights.chunks import write_chunks
from netc.weights.formats.caffemodel import caffemodel_chunks

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

INSTALLED = [engine.name for engine in known.ENGINES.values() if engine.packages and not engine.missing]

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool1" type: "Pooling" bottom: "conv" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "pool2" type: "Pooling" bottom: "pool1" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool2" top: "fc1"
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0.02 } } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""
SIZES = [(20, 27), (18, 18), (33, 21), (17, 40), (25, 24), (18, 31), (20, 27)]
MEAN = (103.0, 117.5, 124.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))


def loaded(engine: str, **options: Any) -> Any:
    net = netc.load_net(NET, seed=5, engine=engine, **options)
    net.params["bn"][1].fill_(2)
    net.params["bn"][2].fill_(1)
    return net


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("view", ["dense", "crops", "centre"])
def test_posteriors(engine: str, view: str) -> None:
    found, wanted = (
        netc.posteriors(loaded(name), pictures(), scales=(18, 23), view=view, mean=MEAN) for name in (engine, "torch")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    assert view == "dense" or not np.array_equal(found, wanted), "the engine has run"


@pytest.mark.parametrize("engine", INSTALLED)
def test_features(engine: str) -> None:
    found, wanted = (netc.features(loaded(name), pictures(), scales=18, mean=MEAN) for name in (engine, "torch"))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("engine", INSTALLED)
def test_all_sizes_but_the_first_share_a_program(engine: str) -> None:
    """Every rest of the pooling's strides, at both ends, is among them."""
    dense = Classifier(loaded(engine), mean=MEAN).dense
    exact = Classifier(loaded("torch"), mean=MEAN).dense
    random = np.random.default_rng(1)
    for size in [(16, 16), *((16 + place, 25 - place) for place in range(9))]:
        x = torch.from_numpy(random.standard_normal((2, 3, *size), dtype="f4") * 50)
        np.testing.assert_allclose(dense.map(x), exact.map(x), rtol=1e-4, atol=1e-4)
    (plan,) = dense.net.plans.values()  # type: ignore[union-attr]
    (part,) = plan.parts
    assert len(part.programs) == 10
    assert len(set(map(id, part.programs.values()))) == 2


def test_a_program_that_is_wrong_at_other_sizes_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    right = backends._MAKERS["onnxruntime"]

    def wrong(job: Any) -> Any:
        run = right(job)
        return (lambda inputs: [y * 1.01 for y in run(inputs)]) if job.free_size else run

    monkeypatch.setitem(backends._MAKERS, "onnxruntime", wrong)
    found, wanted = (netc.features(loaded(name), pictures(), scales=18, mean=MEAN) for name in ("onnxruntime", "torch"))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_int8_of_another_size_than_its_ranges() -> None:
    """The convolutional form takes images of any size; the ranges come from the classifier's."""
    net = loaded("onnxruntime", precision="int8", calibration=[{"data": planes()}])
    found, wanted = (netc.posteriors(one, pictures(), scales=18, mean=MEAN) for one in (net, loaded("torch")))
    np.testing.assert_allclose(found, wanted, atol=0.1)
    assert not np.allclose(found, wanted, rtol=1e-6)


def planes() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((8, 3, 16, 16), dtype="f4") * 60


def test_what_is_kept_tells_engines_and_precisions_apart() -> None:
    nets = [loaded("torch"), loaded("torch", precision="bf16"), *map(loaded, INSTALLED), loaded("auto")]
    for seed in (1, 2):
        data = np.full((1, 3, 16, 16), seed, "f4")
        nets.append(loaded("onnxruntime", precision="int8", calibration=[{"data": data}]))
    keys = [Classifier(net, mean=MEAN).key for net in nets]
    assert len(set(keys)) == len(keys)


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """net.prototxt, net.caffemodel, photos/<class>/<n>.png, ranges/<n>.png."""
    (tmp_path / "net.prototxt").write_text(NET)
    arrays = {name: [blob.detach().numpy() for blob in blobs] for name, blobs in loaded("torch").params.items()}
    with (tmp_path / "net.caffemodel").open("wb") as file:
        write_chunks(file, caffemodel_chunks(netc.read_net(NET), arrays))
    for number, pixels in enumerate(pictures()):
        folder = tmp_path / "photos" / "abcd"[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "ranges").mkdir()  # seven values of a channel are no range
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 256, (18, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "ranges" / f"{number}.png")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    status = _main.run([*words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def command(made: Path, name: str) -> list[str]:
    net, weights, photos = (str(made / part) for part in ("net.prototxt", "net.caffemodel", "photos"))
    mean = ["--mean", "103,117.5,124", "--scales", "16"]
    return {
        "classify": ["classify", photos, "--net", net, "--weights", weights, "--protocol", "dense", *mean],
        "features": ["features", net, photos, "--weights", weights, "-o", str(made / "out.npz"), "--force", *mean],
        "test": ["test", net, "--weights", weights, "--data", photos, *mean],
    }[name]


def values(made: Path, name: str, found: Any) -> list[float]:
    if name == "classify":
        return [each["probability"] for image in found["images"] for each in image["predictions"]]
    if name == "features":
        return [float(x) for x in files.read(str(made / "out.npz")).values.ravel()]
    return [found["top1_error"]]


@pytest.mark.parametrize("name", ["classify", "features", "test"])
def test_commands(name: str, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = run(capsys, *command(made, name))
    wanted = values(made, name, found)
    assert status == 0
    status, found = run(capsys, *command(made, name), "--engine", "onnxruntime")
    assert status == 0
    assert values(made, name, found) == pytest.approx(wanted, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", ["classify", "features", "test"])
def test_int8_takes_its_ranges_from_pictures(name: str, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = run(capsys, *command(made, name))
    wanted = values(made, name, found)
    int8 = [*command(made, name), "--engine", "onnxruntime", "--precision", "int8"]
    status, found = run(capsys, *int8)
    assert (status, found["errors"][0]["code"]) == (NetcError("R775", "").exit_status, "R775")
    status, found = run(capsys, *int8, "--calibrate", str(made / "ranges"))
    assert status == 0
    if name == "test":
        assert found["fp32"]["scores"]["top1_error"] == wanted[0]
    else:
        assert values(made, name, found) == pytest.approx(wanted, abs=0.2)
        assert values(made, name, found) != pytest.approx(wanted, rel=1e-6)


def test_the_table_of_int8_has_fp32_beside_it(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    int8 = ["--engine", "onnxruntime", "--precision", "int8", "--calibrate", str(made / "ranges")]
    assert _main.run([*command(made, "test"), *int8]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("the same in fp32:")
    assert lines[at + 1].startswith("* scores averaged")


@pytest.mark.parametrize("name", ["classify", "features", "test"])
def test_what_is_not_there_is_refused(
    name: str, made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*more: str) -> dict[str, str]:
        found: dict[str, str] = run(capsys, *command(made, name), *more)[1]["errors"][0]
        return found

    assert error("--precision", "int8")["code"] == "R772"
    assert error("--engine", "onnxruntime", "--precision", "bf16")["code"] == "R772"
    monkeypatch.setattr(known, "find_spec", lambda package: None)
    missing = error("--engine", "openvino")
    assert (missing["code"], missing["hint"]) == ("R771", "pip install 'netc[openvino]'")


def test_options_that_say_nothing_are_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["test", str(made / "net.prototxt"), "--weights", str(made / "net.caffemodel")]
    assert run(capsys, *start, "--calibrate", str(made / "photos"))[0] == 2
    assert run(capsys, *start, "--localisation", "--engine", "onnxruntime")[0] == 2
