"""Python layers: pycaffe's classes as they are, their gradients, and what is said where they fail."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc import NetcError
from netc.cli import main
from netc.errors.foreign import allowing
from netc.pycaffe import Layer, doors
from netc.pycaffe.blob import Blob

HERE = Path(__file__).parent
MODULE = "python_layers"


@pytest.fixture(autouse=True)
def _in_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)


def layer(kind: str, bottoms: str = "x", tops: str = "y", text: str = "", extra: str = "") -> str:
    names = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f"""layer {{ name: "p" type: "Python" {" ".join(names)} {extra}
  python_param {{ module: "{MODULE}" layer: "{kind}" param_str: "{text}" }} }}"""


def inputs(**shapes: tuple[int, ...]) -> str:
    return "\n".join(
        f'layer {{ name: "in_{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {size}' for size in shape)} }} }} }}"
        for name, shape in shapes.items()
    )


def load(text: str, phase: str = "TRAIN") -> Any:
    return netc.load_net(text, phase, allow_python_layers=[MODULE])


def test_the_euclidean_loss_of_pycaffe_is_caffes() -> None:
    shapes = {"a": (4, 3, 2), "b": (4, 3, 2)}
    theirs = load(inputs(**shapes) + layer("EuclideanLossLayer", "a b", "loss", extra="loss_weight: 1"))
    own = netc.load_net(
        inputs(**shapes) + 'layer { name: "p" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss" }', "TRAIN"
    )
    a, b = torch.randn(4, 3, 2, requires_grad=True), torch.randn(4, 3, 2, requires_grad=True)
    results = []
    for net in (theirs, own):
        loss = net.losses(net(a=a, b=b))
        grads = torch.autograd.grad(loss, [a, b])
        results.append((loss.detach(), *grads))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)


def test_parameters_start_as_setup_left_them_and_get_gradients() -> None:
    text = inputs(x=(2, 3, 4)) + layer("Affine", text="0.5", extra="loss_weight: 2")
    net = load(text)
    (a,) = net.params["p"]
    assert a.shape == (1, 3, 1)
    assert a.detach().unique().tolist() == [3]
    x = torch.randn(2, 3, 4, requires_grad=True)
    out = net(x=x)
    torch.testing.assert_close(out["y"], 3 * x + 0.5)
    net.losses(out).backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 6))
    torch.testing.assert_close(a.grad, 2 * x.detach().sum((0, 2), keepdim=True))
    torch.testing.assert_close(load(text, "TEST")(x=x)["y"], 3 * x + 1)


def test_the_gradient_belongs_to_the_values_of_its_own_pass() -> None:
    net = load(inputs(x=(2, 3, 4)) + layer("Affine", text="0", extra="loss_weight: 1"))
    xs = [torch.randn(2, 3, 4), torch.randn(5, 3, 1)]
    outs = [net(x=x) for x in xs]
    net.losses(outs[0]).backward()
    torch.testing.assert_close(net.params["p"][0].grad, xs[0].sum((0, 2), keepdim=True))


def test_a_source_may_change_its_shape_in_every_pass() -> None:
    net = load(layer("Counter", "", "x label"))
    shapes = [tuple(net()["x"].shape) for _ in range(3)]
    assert shapes == [(1, 2), (2, 2), (3, 2)]
    assert net.blob_shapes == {"x": (1, 2), "label": (1,)}


def test_a_layer_may_write_into_its_parameters_but_not_into_others_bottoms() -> None:
    text = inputs(x=(2, 3)) + layer("Mean", extra="param { lr_mult: 0 }")
    net = load(text + 'layer { name: "q" type: "Power" bottom: "x" top: "z" }')
    x = torch.ones(2, 3)
    assert [net(x=x)["y"].item() for _ in range(3)] == [6, 12, 18]
    assert net.params["p"][0].item() == 18
    assert net(x=x)["z"].sum() == 6


def test_in_place_bottom_and_top_are_one_blob() -> None:
    net = load(inputs(x=(2, 3)) + layer("Doubled", "x", "x", extra="loss_weight: 1"))
    x = torch.randn(2, 3, requires_grad=True)
    out = net(x=x)
    torch.testing.assert_close(out["x"], 2 * x)
    net.losses(out).backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 2))


def test_compiled_it_gives_the_same() -> None:
    net = load(inputs(x=(2, 3, 4)) + layer("Affine", text="0.5"))
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(torch.compile(net, backend="eager")(x=x)["y"], net(x=x)["y"])


def test_caffe_is_there_only_while_layers_run() -> None:
    load(inputs(x=(2, 3)) + layer("Doubled"))
    assert not [name for name in sys.modules if name.split(".")[0] == "caffe"]
    assert str(HERE) not in sys.path[:1]


# -- refusals ----------------------------------------------------------------------------------------------------------


def failing(text: str, **options: Any) -> NetcError:
    with pytest.raises(NetcError) as caught:
        netc.compile_net(text, "TRAIN", **options)
    return caught.value


def test_a_module_runs_only_where_it_is_allowed() -> None:
    text = layer("Doubled", "x", "y").replace(MODULE, "some.module")
    error = failing(inputs(x=(1,)) + text, allow_python_layers=["some.mod", MODULE])
    assert (error.code, error.line, error.column) == ("L330", 2, 26)
    assert error.hint is not None
    assert "--allow-python-layers some.module" in error.hint
    error = failing(inputs(x=(1,)) + text, allow_python_layers=["some"])  # the package allows its modules
    assert error.code == "L331"


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        (layer("Doubel"), "L331", 'has no class "Doubel"; did you mean "Doubled"?'),
        (layer("Shapeless"), "L333", "has no reshape(self, bottom, top)"),
        (layer("Doubled").replace('layer: "Doubled"', ""), "L333", "names no layer"),
        (layer("Faulty", text="setup"), "L332", "Faulty.setup fails: ValueError: stumbled in setup"),
    ],
)
def test_what_cannot_be_set_up_is_told(text: str, code: str, part: str) -> None:
    error = failing(inputs(x=(2, 3)) + text, allow_python_layers=[MODULE])
    assert error.code == code
    assert part in error.message
    assert error.line > 0


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_exception_names_the_layer_its_place_and_the_users_line(where: str) -> None:
    net = load(inputs(x=(2, 3)) + layer("Faulty", text=where, extra="loss_weight: 1"))
    with pytest.raises(NetcError) as caught:
        net.losses(net(x=torch.ones(2, 3, requires_grad=True))).backward()
    error = caught.value
    assert error.code == "R650"
    assert f'layer "p" (Python, module "{MODULE}"): Faulty.{where} fails: ValueError: stumbled in {where}' in str(error)
    assert error.line == 2
    (place, label), *_ = error.related
    source = (HERE / f"{MODULE}.py").read_text().splitlines()
    assert (Path(place.path).name, label) == (f"{MODULE}.py", "raised here")
    assert source[place.line - 1].strip() == 'raise ValueError("stumbled in " + where)'


def test_a_layer_without_backward_is_told_when_it_is_asked_for_one() -> None:
    net = load(inputs(x=(2, 3)) + layer("Mean", extra="loss_weight: 1"))
    with pytest.raises(NetcError, match=r"has no backward"):
        net.losses(net(x=torch.ones(2, 3))).backward()


def test_errors_while_a_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong_syntax.py").write_text("import caffe\nclass A(:\n")
    Path("wrong_import.py").write_text("import caffe\nimport no_such_module_of_theirs\n")
    for module, line, part in (
        ("wrong_syntax", 2, "SyntaxError"),
        ("wrong_import", 2, "No module named 'no_such_module_of_theirs'"),
    ):
        error = failing(inputs(x=(1,)) + layer("A").replace(MODULE, module), allow_python_layers=[module])
        assert error.code == "L332"
        assert part in error.message
        assert (Path(error.related[0][0].path).name, error.related[0][0].line) == (f"{module}.py", line)


TRAP = "open('sprung', 'w').close()\n"


def test_consent_to_a_module_does_not_open_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for what is installed, nor for what might be, nor later, when the layer runs; nor for packages."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "hostile"
    (folder / "pack").mkdir(parents=True)
    for name in ("cv2", "pycocotools", "json", "colorsys", "pack/__init__", "wave"):
        (folder / f"{name}.py").write_text(TRAP)
    (folder / "mine_in_a_trap.py").write_text("""
import colorsys, caffe
for name in ("cv2", "pycocotools.mask", "pack"):
    try: __import__(name)
    except ImportError: pass
class Mine(caffe.Layer):
    def setup(self, bottom, top):
        import wave, colorsys, json
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data
        try: import cv2
        except ImportError: pass
""")
    path = folder / "n.prototxt"
    path.write_text(inputs(x=(2,)) + layer("Mine").replace(MODULE, "mine_in_a_trap"))
    net = netc.load_net(str(path), allow_python_layers=["mine_in_a_trap"])
    net(x=torch.ones(2))
    assert not Path("sprung").exists()
    assert Path(sys.modules["colorsys"].__file__ or "").parent != folder


def test_a_module_beside_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("needs_its_helper.py").write_text(
        "import its_helper, caffe\nclass A(caffe.Layer):\n"
        "  def setup(self, b, t): pass\n  def reshape(self, b, t): t[0].reshape(1)\n  def forward(self, b, t): pass\n"
    )
    Path("its_helper.py").write_text("")
    text = inputs(x=(1,)) + layer("A").replace(MODULE, "needs_its_helper")
    error = failing(text, allow_python_layers=["needs_its_helper"])
    assert error.code == "L332"
    assert "--allow-python-layers needs_its_helper,its_helper" in (error.hint or "")
    assert netc.compile_net(text, "TRAIN", allow_python_layers=["needs_its_helper", "its_helper"]).nodes


# -- commands ----------------------------------------------------------------------------------------------------------


def test_the_module_is_found_beside_the_prototxt_and_the_commands_take_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "beside_the_net.py").write_text((HERE / f"{MODULE}.py").read_text())
    path = tmp_path / "net" / "n.prototxt"
    path.write_text(inputs(x=(2, 3)) + layer("Doubled").replace(MODULE, "beside_the_net"))
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(path)]) == 65
    assert "--allow-python-layers beside_the_net" in capsys.readouterr().err
    assert main(["check", str(path), "--allow-python-layers", "other,beside_the_net"]) == 0
    assert main(["check", str(path), "-allow_python_layers=beside_the_net"]) == 0
    assert main(["check", str(path)]) == 65  # it is not allowed for ever


def test_checking_loads_no_torch() -> None:
    text = inputs(x=(2, 3)) + layer("Doubled")
    code = f"""import netc, sys
netc.compile_net({text!r}, allow_python_layers=["{MODULE}"])
assert "torch" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_training_with_a_python_loss_gives_what_caffes_gives(tmp_path: Path) -> None:
    losses = {}
    for name in ("EuclideanLoss", "EuclideanLossLayer"):
        loss = 'layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }'
        if name.endswith("Layer"):
            loss = layer(name, "y t", "loss", extra="loss_weight: 1")
        net = tmp_path / f"{name}.prototxt"
        fc = """layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }"""
        net.write_text(inputs(x=(4, 3), t=(4, 2)) + fc + loss)
        solver = f'net: "{net}" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 iter_size: 2 max_iter: 5 display: 0'
        run = netc.load_solver(solver, allow_python_layers=[MODULE])
        generator = torch.Generator().manual_seed(3)
        data = [
            {"x": torch.randn(4, 3, generator=generator), "t": torch.randn(4, 2, generator=generator)}
            for _ in range(10)
        ]
        losses[name] = [run.step(1, feed=data.__getitem__) for _ in range(5)]
    np.testing.assert_allclose(losses["EuclideanLossLayer"], losses["EuclideanLoss"], rtol=1e-6)
    assert losses["EuclideanLoss"][-1] < losses["EuclideanLoss"][0]


def test_a_blobs_old_fashioned_sizes() -> None:
    blob = Blob((2, 3))
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 1, 1, 6)
    blob.data[...] = 5
    blob.reshape(6)
    assert blob.data.tolist() == [5] * 6
    blob.reshape(1, 2)
    assert blob.data.tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="cannot have the shape"):
        blob.reshape(-1)


def test_a_source_of_batches_counts_as_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(layer("Counter", "", "x label"))
    assert main(["check", str(tmp_path / "n.prototxt"), "--allow-python-layers", MODULE]) == 0
    assert "Python" in capsys.readouterr().out


def test_calls_that_overlap_in_time_leave_nothing_behind(tmp_path: Path) -> None:
    """As two threads may: the one that came first goes first."""
    before = list(sys.path), list(sys.meta_path)
    with allowing([MODULE]):
        found = doors.Allowed(str(tmp_path)), doors.Allowed(str(HERE))
    first, second = map(doors.as_in_caffe, found)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert importlib.import_module("caffe").Layer is Layer, "the second still needs it"
    assert importlib.util.find_spec(MODULE) is not None
    second.__exit__(None, None, None)
    assert (sys.path, sys.meta_path) == before
    assert "caffe" not in sys.modules


def test_what_a_layer_adds_to_the_path_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with doors.as_in_caffe(doors.Allowed(str(HERE))):
        sys.path.insert(0, str(tmp_path))
    assert sys.path[0] == str(tmp_path)


def test_param_str_has_its_name_of_2015_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """py-faster-rcnn's layers read self.param_str_."""
    (tmp_path / "old2015.py").write_text(
        "import caffe\n\n\nclass Times(caffe.Layer):\n"
        "    def setup(self, bottom, top):\n        self.k = float(self.param_str_)\n\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(*bottom[0].data.shape)\n\n"
        "    def forward(self, bottom, top):\n        top[0].data[...] = bottom[0].data * self.k\n"
    )
    monkeypatch.chdir(tmp_path)
    text = inputs(x=(2, 3)) + layer("Times", text="3").replace(MODULE, "old2015")
    net = netc.load_net(text, "TEST", allow_python_layers=["old2015"])
    assert torch.equal(net(x=torch.ones(2, 3))["y"], torch.full((2, 3), 3.0))
