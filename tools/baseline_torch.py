"""mini_vgg on a folder of photos, written by hand in plain torch: what netc's curves are compared with.

    python tools/baseline_torch.py TRAIN_DIR VAL_DIR --net A --seed 0 --save A.pt
    python tools/baseline_torch.py TRAIN_DIR VAL_DIR --net E --from-weights A.pt …

The same net, data and recipe as models/mini_vgg_<NET>, by the usual idioms: an nn.Sequential, torch.optim.SGD, Pillow,
the whole image resized before the crop. Nothing of netc is imported. Folders hold one sub-folder a class. Prints a JSON
line per test: iteration, rate, loss, top-1.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {"A": (1, 1, 2, 2, 2), "B": (2, 2, 2, 2, 2), "C": (2, 2, 3, 3, 3), "D": (2, 2, 3, 3, 3), "E": (2, 2, 4, 4, 4)}
DEPTHS |= {"A_LRN": DEPTHS["A"], "B_5x5": (1, 1, 1, 1, 1)}
TRANSPLANT = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")

CROP, SCALES, TEST_SCALE = 64, (72, 96), 80
BATCH, RATE, MOMENTUM, DECAY = 64, 0.01, 0.9, 5e-4
TEST_INTERVAL, PATIENCE, DROPS = 50, 10, 3


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, val = Photos(options.train), Photos(options.val)
    train.jitter(*_statistics(train.files))
    val.mean = train.mean
    model = vgg(options.net, 4, CROP, len(train.classes))
    if options.from_weights:
        source = torch.load(options.from_weights, weights_only=True)
        taken = {key: value for key, value in source.items() if key.split(".")[0] in TRANSPLANT}
        model.load_state_dict(model.state_dict() | taken)
    _train(model, train, val, options.iterations)
    if options.save:
        torch.save(model.state_dict(), options.save)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--net", choices=("A", "B", "C", "D", "E"), default="A")
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--from-weights", type=Path, help="A's state dict: initialise as the paper does")
    parser.add_argument("--save", type=Path)
    return parser.parse_args()


def vgg(letter: str, divisor: int, crop: int, classes: int) -> nn.Sequential:
    """A configuration of the paper, its layers `divisor` times as narrow; modules have the names of Caffe's layers."""
    model, channels = nn.Sequential(), 3
    for stage, (depth, width) in enumerate(zip(DEPTHS[letter], WIDTHS, strict=True), 1):
        for k in range(1, depth + 1):
            size = 5 if letter == "B_5x5" else 1 if letter == "C" and k == 3 else 3
            model.add_module(f"conv{stage}_{k}", nn.Conv2d(channels, width // divisor, size, padding=size // 2))
            model.add_module(f"relu{stage}_{k}", nn.ReLU(inplace=True))
            channels = width // divisor
        if letter == "A_LRN" and stage == 1:
            model.add_module("norm1", nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0))
        model.add_module(f"pool{stage}", nn.MaxPool2d(2, 2))
    model.add_module("flatten", nn.Flatten())
    inputs = channels * (crop // 32) ** 2
    for number in (6, 7):
        model.add_module(f"fc{number}", nn.Linear(inputs, inputs := 4096 // divisor))
        model.add_module(f"relu{number}", nn.ReLU(inplace=True))
        model.add_module(f"drop{number}", nn.Dropout(0.5))
    model.add_module("fc8", nn.Linear(inputs, classes))
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


# -- data --------------------------------------------------------------------------------------------------------------


def _open(path: Path, short_side: int) -> Image.Image:
    with Image.open(path) as image:
        scale = short_side / min(image.size)
        width, height = (max(short_side, round(side * scale)) for side in image.size)
        return image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)


def _statistics(files: list[Path]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the RGB values of a tenth of the files: the mean, and the eigenvectors times the roots of the eigenvalues."""
    pixels = np.concatenate([np.asarray(_open(path, 64)).reshape(-1, 3) for path in files[::10]]).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(pixels.T))
    return pixels.mean(0), vectors * np.sqrt(values)


class Photos(Dataset[tuple[Tensor, int]]):
    """Crops of a folder's photos: from the centre, the mean subtracted."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*/*"))
        self.classes = sorted({path.parent.name for path in self.files})
        self.mean: NDArray[np.float64] = np.zeros(3)
        self.shift: NDArray[np.float64] | None = None

    def jitter(self, mean: NDArray[np.float64], shift: NDArray[np.float64]) -> None:
        """For training: S drawn from a range, crop at a random place, flip, colour shift."""
        self.mean, self.shift = mean, 0.1 * shift

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.files[index]
        if self.shift is None:
            image = _open(path, TEST_SCALE)
            pixels = _crop(image, (image.width - CROP) // 2, (image.height - CROP) // 2) - self.mean
        else:
            image = _open(path, _draw(SCALES[0], SCALES[1] + 1))
            pixels = _crop(image, _draw(0, image.width - CROP + 1), _draw(0, image.height - CROP + 1))
            pixels = pixels[:, :: 1 - 2 * _draw(0, 2)] - self.mean + self.shift @ torch.randn(3).numpy()
        return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)), self.classes.index(path.parent.name)


def _draw(low: int, high: int) -> int:
    return int(torch.randint(low, high, ()))


def _crop(image: Image.Image, left: int, top: int) -> NDArray[np.float64]:
    return np.asarray(image.crop((left, top, left + CROP, top + CROP)), dtype=np.float64)


# -- training ----------------------------------------------------------------------------------------------------------


def _train(model: nn.Sequential, train: Photos, val: Photos, iterations: int) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, "max", 0.1, patience=PATIENCE - 1, threshold=0)
    loss_of, loss, start = nn.CrossEntropyLoss(), torch.tensor(float("nan")), time.time()
    batches = _endless(DataLoader(train, BATCH, shuffle=True, num_workers=2, drop_last=True))
    for iteration in range(iterations + 1):
        if iteration % TEST_INTERVAL == 0:
            top1, rate = _accuracy(model, val), optimiser.param_groups[0]["lr"]
            line = {"iteration": iteration, "rate": rate, "loss": float(loss.detach()), "top1": top1}
            print(json.dumps(line | {"seconds": round(time.time() - start, 1)}), flush=True)
            plateau.step(top1)
            if optimiser.param_groups[0]["lr"] < RATE * 0.1 ** (DROPS + 0.5):
                break
        images, labels = next(batches)
        optimiser.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimiser.step()


def _endless(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, Tensor]]:
    for again in repeat(loader):
        yield from again


@torch.no_grad()
def _accuracy(model: nn.Sequential, val: Photos) -> float:
    model.eval()
    right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in DataLoader(val, 100))
    model.train()
    return right / len(val)


if __name__ == "__main__":
    main()
