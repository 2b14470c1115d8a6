"""Every trained net of the zoo in every format, and real photos through the converted GoogLeNet.

ONNX and torch.export take seconds a net; all but two of those conversions are slow tests.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

import netc
from netc import weights
from netc.runtime.export.convert import SUFFIXES, Options, convert
from tests.torchvision_here import models

NETS = {
    "bvlc_googlenet/bvlc_googlenet": None,
    "cifar10_quick/cifar10_quick_iter_4000": "cifar10_quick.prototxt",
    "cifar10_quick/cifar10_quick_iter_5000": "cifar10_quick.prototxt",
    "cifar10_resnet20/ResNet_20": None,
    "danielhers_lenet_rmsprop/lenet_rmsprop_iter_10000": "../lenet_ethereon/lenet.prototxt",
    "everpeace_2014_lenet/lenet_iter_10000": "lenet.prototxt",
    "lenet_ethereon/lenet_iter_10000": "lenet.prototxt",
    "mtcnn/det1": "det1.prototxt",
    "mtcnn/det2": "det2.prototxt",
    "mtcnn/det3": "det3.prototxt",
    "mtcnn/det4": "det4.prototxt",
    "parking_lenet/LeNet32x40_1": None,
    "parking_lenet/lenet32x32_1_iter_5000": None,
    "parking_lenet/lenet32x32_1_iter_10000": None,
    "parking_lenet/lenet_iter_10000": None,
    "waifu2x_upconv7/1acb14b_scale2.0x_model.json": None,
    "waifu2x_upconv7/eb98838_scale2.0x_model.json": None,
}
"""Weights → their net, None where the file's own is used."""

ALONE = ("safetensors", "npz", "hdf5", "caffemodel")
SIZE_UNKNOWN = {"parking_lenet/lenet32x32_1_iter_5000", "parking_lenet/lenet32x32_1_iter_10000"}
SIZE_UNKNOWN |= {"parking_lenet/lenet_iter_10000"}
"""Trained on databases without a crop_size, and without a net for use beside them."""


@pytest.fixture(scope="module")
def zoo(shared):
    return shared / "zoo/caffemodel"


def test_every_file_is_here(zoo):
    assert sorted(NETS) == sorted(
        str(path.relative_to(zoo)).removesuffix(".caffemodel") for path in zoo.rglob("*.caffemodel")
    )


def converted(zoo, tmp_path, name, format, **options):
    net = NETS[name] and str(zoo / Path(name).parent / NETS[name])
    out = str(tmp_path / f"out{SUFFIXES[format]}")
    return convert(str(zoo / f"{name}.caffemodel"), out, Options(net=net, to=format, **options))


@pytest.mark.parametrize("format", ALONE)
@pytest.mark.parametrize("name", NETS)
def test_weights_alone(zoo, tmp_path, name, format):
    if format == "hdf5":
        pytest.importorskip("h5py")
    made = converted(zoo, tmp_path, name, format)
    assert made.parity.ok
    source, found = weights.read(zoo / f"{name}.caffemodel"), weights.read(made.out)
    for layer, arrays in found.items():
        assert [a.tobytes() for a in arrays] == [a.tobytes() for a in source.get(layer, [])], layer


@pytest.mark.parametrize("name", [name for name in NETS if NETS[name] and "2014" not in name])
def test_safetensors_load_into_the_net_bit_for_bit(zoo, tmp_path, name):
    made = converted(zoo, tmp_path, name, "safetensors")
    proto = zoo / Path(name).parent / NETS[name]
    one, two = (netc.load_net(proto, weights=file) for file in (zoo / f"{name}.caffemodel", made.out))
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[key]), key
    import safetensors.torch

    assert netc.load_net(proto).load_state_dict(safetensors.torch.load_file(made.out), strict=True)


FAST = [("mtcnn/det1", "onnx"), ("everpeace_2014_lenet/lenet_iter_10000", "pt2")]


@pytest.mark.parametrize("name, format", FAST)
def test_programs(zoo, tmp_path, name, format):
    check_program(zoo, tmp_path, name, format)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "pt2"])
@pytest.mark.parametrize("name", [name for name in NETS if name not in SIZE_UNKNOWN])
def test_every_program(zoo, tmp_path, name, format):
    if (name, format) not in FAST:
        check_program(zoo, tmp_path, name, format)


def check_program(zoo, tmp_path, name, format):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    made = converted(zoo, tmp_path, name, format)
    assert made.parity.ok
    assert made.parity.runs
    assert made.parity.worst.relative < 1e-5


# -- photos ------------------------------------------------------------------------------------------------------------


def photos(folder):
    """BGR minus 104, 117, 123: the photo at 256×256, its middle 224×224."""
    from PIL import Image

    mean = np.array([104, 117, 123], "f4").reshape(3, 1, 1)
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR), "f4")
        yield pixels[16:240, 16:240, ::-1].transpose(2, 0, 1) - mean


def top5(scores):
    return np.argsort(-scores.reshape(len(scores), -1), 1, kind="stable")[:, :5]


@pytest.mark.slow
def test_photos_are_classified_the_same_by_every_form_of_googlenet(zoo, shared, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    name = "bvlc_googlenet/bvlc_googlenet"
    deploy = zoo / "bvlc_googlenet/deploy.prototxt"
    original = netc.load_net(deploy, weights=zoo / f"{name}.caffemodel")
    safe = netc.load_net(deploy, weights=converted(zoo, tmp_path, name, "safetensors").out)
    session = runtime.InferenceSession(converted(zoo, tmp_path, name, "onnx").out, providers=["CPUExecutionProvider"])
    images = np.stack(list(photos(shared / "zoo/images/ilsvrc_val")))
    assert len(images) == 250
    for start in range(0, len(images), 25):
        batch = np.ascontiguousarray(images[start : start + 25])
        with torch.no_grad():
            wanted, same = (net(torch.from_numpy(batch))["prob"].numpy() for net in (original, safe))
        (onnx,) = session.run(["prob"], {"data": batch})
        assert np.array_equal(same, wanted)
        assert np.array_equal(top5(onnx), top5(wanted))


# -- full-size VGG -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[16, 19])
def vgg(request, tmp_path_factory):
    """(depth, a .caffemodel in the published layout)"""
    tool = importlib.import_module("tools.make_vgg")
    path = tmp_path_factory.mktemp("vgg") / f"vgg{request.param}.caffemodel"
    with path.open("wb") as file:
        for chunk in tool.chunks(request.param):
            file.write(chunk)
    yield request.param, path
    path.unlink()


NAMES = {16: "vgg_D", 19: "vgg_E"}


def deploy_of(depth):
    from netc.files.shipped import locate

    return locate(NAMES[depth], "deploy.prototxt")


@pytest.mark.slow
@pytest.mark.parametrize("rgb", [False, True])
def test_torchvisions_vgg_gives_the_same_scores(vgg, tmp_path, rgb):
    depth, path = vgg
    options = Options(net=deploy_of(depth), rgb=rgb, mean="103.939,116.779,123.68")
    made = convert(str(path), str(tmp_path / "vgg.pth"), options)
    module = getattr(models(), f"vgg{depth}")(weights=None, init_weights=False).eval()
    module.load_state_dict(torch.load(made.out, weights_only=True))
    net = netc.load_net(deploy_of(depth), weights=path)
    pixels = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (1, 3, 224, 224)).astype("f4"))
    own = torch.tensor([103.939, 116.779, 123.68]).reshape(3, 1, 1)
    x = pixels.flip(1) - own
    y = (pixels / 255 - own.flip(0) / 255) / torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1) if rgb else x
    with torch.no_grad():
        wanted, found = net(x, blobs=["fc8"])["fc8"], module(y)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.slow
def test_a_full_vgg_as_onnx(vgg, tmp_path):
    pytest.importorskip("onnxruntime")
    depth, path = vgg
    made = convert(str(path), str(tmp_path / "vgg.onnx"), Options(net=deploy_of(depth)))
    assert made.parity.worst.relative < 1e-5
    assert len(made.parity.arrays) == 2 * depth


def test_a_small_vgg_as_onnx(tmp_path):
    """mini_vgg_E has all nineteen layers, narrow ones."""
    pytest.importorskip("onnxruntime")
    from netc.files.shipped import locate
    from tests.runtime.export.made import write

    text = Path(locate("mini_vgg_E", "deploy.prototxt")).read_text()
    made = convert(str(write(tmp_path / "x.caffemodel", text)), str(tmp_path / "x.onnx"))
    assert made.parity.worst.relative < 1e-5
