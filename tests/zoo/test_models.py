"""Every .caffemodel of the zoo in its net, value by value; the LeNets on MNIST's test set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

import netc
from netc.cli import main
from netc.runtime.net.module import Net
from tests.zoo.googlenet import weights_of

MODELS = {
    "bvlc_googlenet/bvlc_googlenet": "bvlc_googlenet/deploy",
    "cifar10_quick/cifar10_quick_iter_4000": "cifar10_quick/cifar10_quick",
    "cifar10_quick/cifar10_quick_iter_5000": "cifar10_quick/cifar10_quick",
    "cifar10_resnet20/ResNet_20": "cifar10_resnet20/res20_cifar_train_test",
    "danielhers_lenet_rmsprop/lenet_rmsprop_iter_10000": "lenet_ethereon/lenet",
    "everpeace_2014_lenet/lenet_iter_10000": "everpeace_2014_lenet/lenet",
    "lenet_ethereon/lenet_iter_10000": "lenet_ethereon/lenet",
    "mtcnn/det1": "mtcnn/det1",
    "mtcnn/det2": "mtcnn/det2",
    "mtcnn/det3": "mtcnn/det3",
    "mtcnn/det4": "mtcnn/det4",
    "parking_lenet/LeNet32x40_1": "parking_lenet/LeNet32x40_1",
    "parking_lenet/lenet32x32_1_iter_10000": "parking_lenet/LeNet32x40_1",
    "parking_lenet/lenet32x32_1_iter_5000": "parking_lenet/LeNet32x40_1",
    "parking_lenet/lenet_iter_10000": "parking_lenet/lenet_train_test",
    "waifu2x_upconv7/1acb14b_scale2.0x_model.json": "waifu2x_upconv7/184c049_scale2.0x_model",
    "waifu2x_upconv7/eb98838_scale2.0x_model.json": "waifu2x_upconv7/184c049_scale2.0x_model",
}
"""Weights → the net beside them that has their shapes."""

IMAGES = {
    "cifar10_resnet20/res20_cifar_train_test": (3, 32, 32),
    "parking_lenet/LeNet32x40_1": (1, 40, 32),
    "parking_lenet/lenet_train_test": (1, 28, 28),
}
"""Nets whose Data layer reads somebody's database: what its pictures were."""

UNUSED = {"mtcnn/det2": {"conv5-3"}}
"""Layers of a file that its net does not have (landmarks, in training only)."""

LENETS = {
    "everpeace_2014_lenet/lenet_iter_10000": ("everpeace_2014_lenet/lenet", 0.9905),  # V1, both
    "lenet_ethereon/lenet_iter_10000": ("lenet_ethereon/lenet", 0.9914),
    "danielhers_lenet_rmsprop/lenet_rmsprop_iter_10000": ("lenet_ethereon/lenet", 0.9698),
}
"""Weights → the net, and the share of MNIST that the pass by hand gets right (RMSProp ended below 99 %)."""


@pytest.fixture(scope="module")
def folder(zoo: Path) -> Path:
    return zoo / "caffemodel"


def test_every_file_has_its_net(folder: Path) -> None:
    assert {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.caffemodel")} == MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_loads_into_its_net(folder: Path, name: str) -> None:
    image = IMAGES.get(MODELS[name], ())
    path = folder / f"{MODELS[name]}.prototxt"
    net = Net(netc.compile_net(path, "TEST", probe=lambda layer, phase: [(2, *image), (2,)] if image else []))
    plan = net.copy_from(folder / f"{name}.caffemodel")
    assert not plan.fresh
    assert set(plan.unused) == UNUSED.get(name, set())
    expected = weights_of(folder / f"{name}.caffemodel")
    for layer in plan.copied:
        for found, blob in zip(net.params[layer], expected[layer], strict=True):
            assert torch.equal(found.detach().flatten(), blob.flatten()), layer


# -- MNIST -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist(zoo: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures (10000, 28, 28) and labels."""
    folder = zoo / "images/mnist"
    images, labels = (
        gzip.decompress((folder / f"t10k-{n}-ubyte.gz").read_bytes()) for n in ("images-idx3", "labels-idx1")
    )
    return np.frombuffer(images, "u1", offset=16).reshape(-1, 28, 28), np.frombuffer(labels, "u1", offset=8)


def by_hand(x: torch.Tensor, path: Path) -> torch.Tensor:
    """LeNet in plain torch: the logits."""
    weights = weights_of(path)
    conv1, conv2, ip1, ip2 = (
        [blob.reshape(shape) for blob, shape in zip(weights[name], shapes, strict=True)]
        for name, shapes in {
            "conv1": ((20, 1, 5, 5), (20,)),
            "conv2": ((50, 20, 5, 5), (50,)),
            "ip1": ((500, 800), (500,)),
            "ip2": ((10, 500), (10,)),
        }.items()
    )
    x = F.max_pool2d(F.conv2d(x, *conv1), 2)
    x = F.max_pool2d(F.conv2d(x, *conv2), 2)
    return F.linear(F.relu(F.linear(x.flatten(1), *ip1)), *ip2)


def check_lenet(folder: Path, mnist, name: str, count: int) -> None:
    """Each answer is that of the pass by hand (float32, 1e-5 of a probability)."""
    path, share = LENETS[name]
    net = netc.load_net(folder / f"{path}.prototxt", weights=folder / f"{name}.caffemodel")
    x = torch.tensor(mnist[0][:count])[:, None] * 0.00390625
    with torch.no_grad():
        prob = torch.cat([net(data=part)["prob"] for part in x.split(500)])
        hand = torch.cat([by_hand(part, folder / f"{name}.caffemodel").softmax(1) for part in x.split(2500)])
    assert torch.allclose(prob, hand, rtol=0, atol=1e-5)
    right = (prob.argmax(1) == torch.tensor(mnist[1][:count])).float().mean().item()
    assert right == pytest.approx(share, abs=2e-4 if count == 10000 else 0.03)


@pytest.mark.parametrize("name", LENETS)
def test_lenets(folder: Path, mnist, name: str) -> None:
    check_lenet(folder, mnist, name, 400)


@pytest.mark.slow
@pytest.mark.parametrize("name", LENETS)
def test_lenets_on_all_of_mnist(folder: Path, mnist, name: str) -> None:
    check_lenet(folder, mnist, name, 10000)


@pytest.mark.slow
def test_a_lenet_of_2014_through_the_commands(
    folder: Path, mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """MNIST as pictures, convert-imageset, and test with the V1 net and weights as they were published."""
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    Path("examples/mnist").mkdir(parents=True)
    for index, picture in enumerate(mnist[0]):
        Image.fromarray(picture).save(f"digits/{index}.png")
    Path("list.txt").write_text("".join(f"{index}.png {label}\n" for index, label in enumerate(mnist[1])))
    assert main(["convert-imageset", "--gray", "digits", "list.txt", "examples/mnist/mnist_test_lmdb"]) == 0
    capsys.readouterr()
    home = folder / "everpeace_2014_lenet"
    weights = f"--weights={home}/lenet_iter_10000.caffemodel"
    assert main(["test", f"--model={home}/lenet_train_test.prototxt", weights, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["samples"] == 10000
    assert result["outputs"]["accuracy"] >= 0.99
