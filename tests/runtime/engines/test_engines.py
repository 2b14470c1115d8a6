"""Engines: the numbers of the exact walk, at any batch and size; layers they lack; what is refused; the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError
from netc.runtime.engines import backends, cache, choice, known
from netc.runtime.engines.net import EngineNet
from tests.zoo.test_models import IMAGES, MODELS

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

INSTALLED = [engine.name for engine in known.ENGINES.values() if engine.packages and not engine.missing]

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 11 dim: 9 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param { num_output: 4 kernel_size: 3 pad: 1
  weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "c1" top: "c1" }
layer { name: "sc" type: "Scale" bottom: "c1" top: "c1" scale_param { bias_term: true } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "pa" type: "Pooling" bottom: "c1" top: "pa" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "cat" type: "Concat" bottom: "p1" bottom: "pa" top: "cat" }
layer { name: "c2" type: "Convolution" bottom: "cat" top: "c2" convolution_param { num_output: 6 kernel_size: 2 group: 2
  weight_filler { type: "xavier" } } }
"""
MVN = 'layer { name: "mvn" type: "MVN" bottom: "c2" top: "m" }\n'
HEAD = """
layer { name: "g" type: "Pooling" bottom: "%s" top: "g" pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "g" top: "fc" inner_product_param { num_output: 5
  weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def loaded(text: str = NET + HEAD % "c2", engine: str = "onnxruntime", **options: Any) -> Any:
    net = netc.load_net(text, engine=engine, **options)
    net.params["bn"][2].fill_(1)
    net.params["bn"][1].fill_(2)
    return net


def x(batch: int = 2, height: int = 11, width: int = 9) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize("engine", INSTALLED)
def test_any_batch_and_size(engine: str) -> None:
    net, exact = loaded(engine=engine), loaded(engine="torch")
    for shape in ((2, 11, 9), (1, 11, 9), (5, 11, 9), (2, 14, 16), (3, 14, 16), (1, 8, 23)):
        given = x(*shape)
        for name, value in net(given, blobs=["prob", "c2"]).items():
            torch.testing.assert_close(value, exact(given, blobs=[name])[name], rtol=1e-4, atol=1e-5)
    (plan,) = net.plans.values()
    assert [len(part.programs) for part in plan.parts] == [3]


@pytest.mark.parametrize("engine", INSTALLED)
def test_shared_nets_with_weights(engine: str, shared: Path) -> None:
    folder = shared / "zoo" / "caffemodel"
    for net, weights in (
        ("lenet_ethereon/lenet.prototxt", "lenet_ethereon/lenet_iter_10000.caffemodel"),
        ("mtcnn/det1.prototxt", "mtcnn/det1.caffemodel"),
        ("mtcnn/det2.prototxt", "mtcnn/det2.caffemodel"),
        ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel"),
    ):
        exact = netc.load_net(str(folder / net), weights=str(folder / weights))
        fast = netc.load_net(str(folder / net), weights=str(folder / weights), engine=engine)
        given = {name: torch.rand(3, *exact.graph.shapes[name][1:]) for name in exact.inputs}
        wanted = exact(given)
        for name, value in fast(given).items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-5)


def test_a_layer_that_it_lacks_stays_with_torch() -> None:
    net = loaded(NET + MVN + HEAD % "m")
    with pytest.warns(UserWarning, match="does not run 1 layer, which torch does: mvn \\(MVN\\)"):
        found = net(x())["prob"]
    torch.testing.assert_close(found, loaded(NET + MVN + HEAD % "m", "torch")(x())["prob"], rtol=1e-4, atol=1e-5)
    (plan,) = net.plans.values()
    assert [part.segment.engine for part in plan.parts] == [True, False, True]


def test_gradients_take_the_exact_walk() -> None:
    net, given = loaded(), x().requires_grad_()
    net(given)["prob"][0, 0].backward()
    assert given.grad is not None
    assert not net.plans
    training = netc.load_net(NET, engine="torch", phase="TRAIN")
    assert training(x())["c2"].requires_grad


def test_other_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = backends._MAKERS["onnxruntime"]

    def wrong(job: Any) -> Any:
        run = right(job)
        return lambda inputs: [y * 1.001 for y in run(inputs)]

    monkeypatch.setitem(backends._MAKERS, "onnxruntime", wrong)
    net = loaded()
    with pytest.raises(NetcError) as caught:
        net(x())
    assert caught.value.code == "R773"
    assert not any(part.programs for plan in net.plans.values() for part in plan.parts)


def test_an_engine_that_fails_says_at_what(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(backends._MAKERS, "onnxruntime", broken)
    with pytest.raises(NetcError, match='fails on the layers "c1" to "prob": no such kernel') as caught:
        loaded()(x())
    assert caught.value.code == "R774"


@pytest.mark.parametrize(
    "engine, options, code",
    [
        ("openvinno", {}, "C290"),
        ("onnxruntime", {"precision": "fp8"}, "R700"),
        ("onnxruntime", {"precision": "bf16"}, "R772"),
        ("torch", {"precision": "int8"}, "R772"),
        ("torch", {"precision": "fp8"}, "R700"),
        ("onnxruntime", {"phase": "TRAIN"}, "R776"),
    ],
)
def test_what_cannot_be_asked_for(engine: str, options: dict[str, Any], code: str) -> None:
    if engine in known.ENGINES and known.ENGINES[engine].missing:
        pytest.skip(f"{engine} is not installed")
    with pytest.raises(NetcError) as caught:
        netc.load_net(NET, engine=engine, **options)
    assert caught.value.code == code


def test_an_engine_that_does_not_run_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "find_spec", lambda name: True)
    with pytest.raises(NetcError) as caught:
        known.chosen("openvino", "fp32", "cuda:0")
    assert caught.value.code == "R776"
    assert [engine.name for engine in known.candidates("fp32", "cuda:0")] == ["torch", "compile", "onnxruntime"]


def test_an_engine_that_is_not_installed_says_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "find_spec", lambda name: None)
    with pytest.raises(NetcError) as caught:
        netc.load_net(NET, engine="openvino")
    assert (caught.value.code, caught.value.hint) == ("R771", "pip install 'netc[openvino]'")
    assert netc.load_net(NET, engine="auto").engine == "auto"  # torch is always there


def test_int8_needs_data_and_takes_them() -> None:
    with pytest.raises(NetcError) as caught:
        loaded(precision="int8")(x())
    assert caught.value.code == "R775"
    batches = [{"data": x(4).numpy()} for _ in range(2)]
    net = loaded(precision="int8", calibration=batches)
    found, wanted = net(x())["fc" if "fc" in net.outputs else "prob"], loaded(engine="torch")(x())["prob"]
    assert not torch.equal(found, wanted)
    assert float((found - wanted).abs().max()) < 0.1
    with net.exactly():
        assert torch.equal(net(x())["prob"], wanted)


def test_a_damaged_model_of_int8_is_made_again(own_cache: Path) -> None:
    batches = [{"data": x(4).numpy()}]
    wanted = loaded(precision="int8", calibration=batches)(x())["prob"]
    (path,) = own_cache.rglob("*.int8.onnx")
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], bytes(len(whole))):
        path.write_bytes(damage)
        assert torch.equal(loaded(precision="int8", calibration=batches)(x())["prob"], wanted)
        (path,) = own_cache.rglob("*.int8.onnx")
        assert path.stat().st_size == len(whole)


def test_precisions_are_not_taken_for_one_another() -> None:
    """OpenVINO's own cache gives the program of fp32 where fp16 is asked for."""
    pytest.importorskip("openvino")
    found = {}
    for precision in ("fp32", "bf16", "fp16"):
        with suppress(NetcError):  # R772: this processor would compute in fp32 instead
            found[precision] = loaded(engine="openvino", precision=precision)(x())["prob"]
    wanted = loaded(engine="torch")(x())["prob"]
    assert "fp32" in found
    for precision, value in found.items():
        assert float((value - wanted).abs().max() / wanted.max()) < known.TOLERANCES[precision]
    assert all(not torch.equal(found["fp32"], found[other]) for other in found if other != "fp32")


# -- auto --------------------------------------------------------------------------------------------------------------


def test_auto_takes_the_fastest_and_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"torch": 3.0, "onnxruntime": 1.0, "openvino": 2.0}
    asked = []

    def measured(net: EngineNet, plan: Any, values: Any, route: Any) -> float:
        asked.append(plan.engine.name)
        return seconds[plan.engine.name]

    monkeypatch.setattr(choice, "measured", measured)
    net = loaded(engine="auto")
    net(x())
    assert [plan.engine.name for plan in net.plans.values()] == ["onnxruntime"]
    assert asked == ["torch", *(name for name in ("openvino", "onnxruntime") if name in INSTALLED)]
    asked.clear()
    again = loaded(engine="auto")
    again(x())
    assert [plan.engine.name for plan in again.plans.values()] == ["onnxruntime"]
    assert not asked
    again(x(7))
    assert asked


def test_auto_leaves_out_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "ENGINES", {n: known.ENGINES[n] for n in ("torch", "onnxruntime")})
    monkeypatch.setitem(backends._MAKERS, "onnxruntime", lambda job: lambda inputs: [torch.zeros(2, 5)])
    net = loaded(engine="auto")
    with pytest.warns(UserWarning, match="onnxruntime is left out"):
        net(x())
    assert [plan.engine.name for plan in net.plans.values()] == ["torch"]


@pytest.mark.parametrize("text", ["", "{", '{"engine": 3}', '{"engine": "gone"}', "[" * 9999])
def test_a_damaged_choice_is_made_again(text: str, own_cache: Path) -> None:
    (own_cache / "choices").mkdir(parents=True)
    (own_cache / "choices" / "k.json").write_text(text)
    assert choice._remembered("k", ["torch"]) is None


# -- the cache ---------------------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, Path]:
    return {path.suffix: path for path in folder.rglob("*") if path.is_file() and "openvino" not in path.parts}


@pytest.mark.parametrize("suffix, damage", [(".bin", b""), (".bin", b"short"), (".onnx", b""), (".onnx", None)])
def test_a_damaged_file_is_written_again(suffix: str, damage: bytes | None, own_cache: Path) -> None:
    wanted = loaded()(x())["prob"]
    path = files(own_cache)[suffix]
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)) if damage is None else damage)
    assert torch.equal(loaded()(x())["prob"], wanted)
    assert path.read_bytes() == whole


def test_damage_that_nothing_shows_is_found_by_the_proof(own_cache: Path) -> None:
    wanted = loaded()(x())["prob"]
    path = files(own_cache)[".bin"]
    whole = path.read_bytes()
    path.write_bytes(np.full(path.stat().st_size // 4, 9, "f4").tobytes())
    assert torch.equal(loaded()(x())["prob"], wanted)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_truncated_model_of_int8_is_made_again(engine: str, own_cache: Path) -> None:
    def made() -> torch.Tensor:
        net = loaded(engine=engine, precision="int8", calibration=[{"data": x(4).numpy()}])
        return net(x())["prob"]

    wanted = made()
    (path,) = own_cache.rglob("*.int8.onnx")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert torch.equal(made(), wanted)
    assert path.read_bytes() == whole


def test_a_damaged_program_of_openvino_is_made_again(own_cache: Path) -> None:
    pytest.importorskip("openvino")
    wanted = loaded(engine="openvino")(x())["prob"]
    (path,) = own_cache.rglob("*.blob")
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], bytes(len(whole)), bytes(255 - byte for byte in whole)):
        path.write_bytes(damaged)
        assert torch.equal(loaded(engine="openvino")(x())["prob"], wanted)


def test_what_another_version_made_is_not_used(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = [{"data": x(4).numpy()}]
    loaded(precision="int8", calibration=calibration)(x())
    loaded(engine="auto")(x())
    count = len(list(own_cache.rglob("*.int8.onnx"))), len(list(own_cache.rglob("choices/*")))
    monkeypatch.setattr(known, "version", lambda package: "0.1")
    loaded(precision="int8", calibration=calibration)(x())
    loaded(engine="auto")(x())
    assert (len(list(own_cache.rglob("*.int8.onnx"))), len(list(own_cache.rglob("choices/*")))) == (2, 2) > count


@pytest.mark.parametrize("limit", ["0", "100"])
def test_a_limit_that_has_no_room(limit: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0: nothing is kept. Less than the weights: that is said."""
    monkeypatch.setenv("NETC_CACHE_LIMIT", limit)
    net, said = loaded(), []
    net.__dict__["say"] = said.append
    torch.testing.assert_close(net(x())["prob"], loaded(engine="torch")(x())["prob"], rtol=1e-4, atol=1e-5)
    assert bool(said) == (limit != "0")
    assert not list(own_cache.rglob("*.bin"))


def test_where_the_cache_cannot_be_written_it_is_said(own_cache: Path) -> None:
    own_cache.write_text("a file is in the way")
    net = loaded()
    with pytest.warns(UserWarning, match="the cache in .* is not used"):
        found = net(x())["prob"]
    torch.testing.assert_close(found, loaded(engine="torch")(x())["prob"], rtol=1e-4, atol=1e-5)


def test_where_the_disk_is_full_it_is_said(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = cache.write_whole

    def full(path: Path, chunks: Any) -> None:
        if own_cache in Path(path).parents:
            raise NetcError("X166", "the file cannot be written: No space left on device")
        real(path, chunks)

    monkeypatch.setattr(cache, "write_whole", full)
    with pytest.warns(UserWarning, match="No space left"):
        found = loaded()(x())["prob"]
    torch.testing.assert_close(found, loaded(engine="torch")(x())["prob"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_disk_that_is_really_full(
    engine: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv("NETC_CACHE", str(disk))
        given = [{"data": x(4).numpy()}] if precision == "int8" else None
        net, said = loaded(engine=engine, precision=precision, calibration=given), []
        net.__dict__["say"] = said.append
        found, wanted = net(x())["prob"], loaded(engine="torch")(x())["prob"]
        assert float((found - wanted).abs().max() / wanted.max()) < known.TOLERANCES[precision]
        assert any("No space left" in text for text in said), said
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_two_at_once_fill_it_alike(own_cache: Path) -> None:
    nets = [loaded() for _ in range(4)]
    found: list[Any] = [None] * len(nets)

    def run(place: int) -> None:
        found[place] = nets[place](x())["prob"]

    threads = [Thread(target=run, args=(place,)) for place in range(len(nets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, found[0]) for one in found)
    assert not [path for path in own_cache.rglob("*") if ".tmp" in path.name]


def test_what_was_used_longest_ago_goes(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE_LIMIT", "25K")
    for place, age in enumerate((300, 200, 100)):
        folder = own_cache / f"weights-{place}"
        folder.mkdir(parents=True)
        (folder / "weights.bin").write_bytes(bytes(10_000))
        (folder / "used").touch()
        os.utime(folder / "used", (1e9 - age, 1e9 - age))
    cache.trim(own_cache / "weights-2")
    assert sorted(path.name for path in own_cache.iterdir()) == ["weights-1", "weights-2"]
    assert [entry.path.name for entry in cache.entries()] == ["weights-2", "weights-1"]
    assert cache.clear() == 20_000
    assert cache.entries() == []


@pytest.mark.parametrize("text", ["much", "-1", "1X", "nan", "inf", "1e400G"])
def test_a_limit_that_is_no_size(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE_LIMIT", text)
    with pytest.raises(NetcError) as caught:
        cache.limit()
    assert caught.value.code == "C291"


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NETC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "netc"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "netc"


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NETC_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert cache.entries() == []
    with pytest.warns(UserWarning, match="the cache in .* is not used"):
        loaded()(x())


# -- what takes long ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("precision, tolerance", [("fp32", 1e-4), ("bf16", 5e-2)])
def test_torch_compile(precision: str, tolerance: float) -> None:
    net, exact = loaded(engine="compile", precision=precision), loaded(engine="torch")
    for shape in ((2, 11, 9), (3, 14, 16)):
        torch.testing.assert_close(net(x(*shape))["prob"], exact(x(*shape))["prob"], rtol=tolerance, atol=tolerance)


PROCESS = """
import sys, torch, netc
sys.path.insert(0, sys.argv[1])
from tests.runtime.engines.test_engines import loaded, x
for precision in ("fp32", "int8"):
    given = [{"data": x(4).numpy()}] if precision == "int8" else None
    print(loaded(engine=sys.argv[2], precision=precision, calibration=given)(x())["prob"].tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", INSTALLED)
def test_processes_fill_it_alike(engine: str, own_cache: Path) -> None:
    home = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", PROCESS, home, engine]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [process.communicate(timeout=600)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert found[0].count("[[") == 2
    assert len(set(found)) == 1
    assert not [path for path in own_cache.rglob("*") if "tmp" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("engine", [*INSTALLED, "compile"])
@pytest.mark.parametrize("name", MODELS)
def test_every_shared_net(name: str, engine: str, shared: Path) -> None:
    """Batches that change from call to call."""
    folder, image = shared / "zoo" / "caffemodel", IMAGES.get(MODELS[name], ())
    net, weights = str(folder / f"{MODELS[name]}.prototxt"), str(folder / f"{name}.caffemodel")
    first = next(layer.top[0] for layer in netc.read_net(net).layer if layer.top)
    shapes = {first: (2, *image)} if image else None
    exact, fast = (netc.load_net(net, weights=weights, engine=each, shapes=shapes) for each in ("torch", engine))
    wanted = [top for top in exact.outputs if exact.graph.shapes[top]]
    needed = exact._route(tuple(wanted)).needed
    for batch in (1, 3, 8, 1) if engine != "compile" else (2,):
        given = {top: torch.rand(batch, *exact.graph.shapes[top][1:]) * 2 - 1 for top in needed}
        both = [one(given, blobs=wanted) for one in (fast, exact)]
        for blob in wanted:
            torch.testing.assert_close(
                both[0][blob], both[1][blob], rtol=1e-3, atol=1e-4 * float(both[1][blob].abs().max())
            )


@pytest.mark.slow
@pytest.mark.parametrize("engine", INSTALLED)
def test_googlenets_answers(engine: str, shared: Path) -> None:
    """The first place is that of the exact walk."""
    folder = shared / "zoo/caffemodel/bvlc_googlenet"
    given = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 60
    nets = [
        netc.load_net(str(folder / "deploy.prototxt"), weights=str(folder / "bvlc_googlenet.caffemodel"), engine=name)
        for name in ("torch", engine)
    ]
    wanted, found = (net(given)["prob"] for net in nets)
    assert torch.equal(wanted.argmax(1), found.argmax(1))
