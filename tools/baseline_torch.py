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
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

STAGES = {"A": (1, 1, 2, 2, 2), "B": (2, 2, 2, 2, 2), "C": (2, 2, 3, 3, 3), "D": (2, 2, 3, 3, 3), "E": (2, 2, 4, 4, 4)}
TRANSPLANT = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, classes = _list(options.train)
    val, _ = _list(options.val)
    mean, values, vectors = _statistics(train)
    model = _model(options, classes)
    if options.from_weights:
        _transplant(model, torch.load(options.from_weights, weights_only=True))
    _train(options, model, _Train(train, mean, values, vectors, options), _val_batch(val, mean, options))
    if options.save:
        torch.save(model.state_dict(), options.save)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--net", choices=STAGES, default="A")
    parser.add_argument("--widths", type=int, nargs=5, default=(16, 32, 64, 128, 128))
    parser.add_argument("--fc", type=int, default=1024)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--scales", type=int, nargs=2, default=(72, 96), help="S is drawn from this range")
    parser.add_argument("--test-scale", type=int, default=80, help="Q")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--test-interval", type=int, default=50)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--drops", type=int, default=3)
    parser.add_argument("--color-std", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--from-weights", type=Path, help="A's state dict: initialise as the paper does")
    parser.add_argument("--save", type=Path)
    return parser.parse_args()


# -- data --------------------------------------------------------------------------------------------------------------


def _list(folder: Path) -> tuple[list[tuple[Path, int]], int]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    return [(file, k) for k, path in enumerate(classes) for file in sorted(path.iterdir())], len(classes)


def _open(path: Path, short_side: int) -> Image.Image:
    with Image.open(path) as image:
        scale = short_side / min(image.size)
        width, height = (max(short_side, round(side * scale)) for side in image.size)
        return image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)


def _statistics(files: list[tuple[Path, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, eigenvalues and eigenvectors of the RGB values of a tenth of the files."""
    pixels = np.concatenate([np.asarray(_open(path, 64)).reshape(-1, 3) for path, _ in files[::10]]).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(pixels.T))
    return pixels.mean(0), values, vectors


class _Train:
    """Endless shuffled batches: S drawn from a range, random crop, flip, PCA colour shift, mean subtracted."""

    def __init__(
        self,
        files: list[tuple[Path, int]],
        mean: np.ndarray,
        values: np.ndarray,
        vectors: np.ndarray,
        options: argparse.Namespace,
    ) -> None:
        self.files, self.mean, self.values, self.vectors, self.options = files, mean, values, vectors, options
        self.random = random.Random(options.seed)
        self.order: list[int] = []
        self.pool = ThreadPoolExecutor(2)

    def batch(self) -> tuple[Tensor, Tensor]:
        while len(self.order) < self.options.batch:
            epoch = list(range(len(self.files)))
            self.random.shuffle(epoch)
            self.order += epoch
        picked, self.order = self.order[: self.options.batch], self.order[self.options.batch :]
        seeds = [self.random.random() for _ in picked]
        images = list(self.pool.map(self._one, picked, seeds))
        return torch.from_numpy(np.stack(images)), torch.tensor([self.files[i][1] for i in picked])

    def _one(self, index: int, seed: float) -> np.ndarray:
        draw, crop = random.Random(seed), self.options.crop
        image = _open(self.files[index][0], draw.randint(*self.options.scales))
        left, top = draw.randint(0, image.width - crop), draw.randint(0, image.height - crop)
        pixels = np.asarray(image.crop((left, top, left + crop, top + crop)), dtype=np.float32)
        if draw.random() < 0.5:
            pixels = pixels[:, ::-1]
        alpha = np.array([draw.gauss(0, self.options.color_std) for _ in range(3)])
        shift = self.vectors @ (alpha * np.sqrt(self.values))
        return np.ascontiguousarray((pixels - self.mean + shift).transpose(2, 0, 1), dtype=np.float32)


def _val_batch(files: list[tuple[Path, int]], mean: np.ndarray, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    crops = []
    for path, _ in files:
        image = _open(path, options.test_scale)
        left, top = (image.width - options.crop) // 2, (image.height - options.crop) // 2
        pixels = np.asarray(image.crop((left, top, left + options.crop, top + options.crop)), dtype=np.float32)
        crops.append((pixels - mean).transpose(2, 0, 1).astype(np.float32))
    return torch.from_numpy(np.stack(crops)), torch.tensor([k for _, k in files])


# -- net and training --------------------------------------------------------------------------------------------------


def _model(options: argparse.Namespace, classes: int) -> nn.Sequential:
    model, channels = nn.Sequential(), 3
    for stage, (depth, width) in enumerate(zip(STAGES[options.net], options.widths, strict=True), 1):
        for k in range(1, depth + 1):
            size = 1 if options.net == "C" and k == 3 else 3
            model.add_module(f"conv{stage}_{k}", nn.Conv2d(channels, width, size, padding=size // 2))
            model.add_module(f"relu{stage}_{k}", nn.ReLU(inplace=True))
            channels = width
        model.add_module(f"pool{stage}", nn.MaxPool2d(2, 2))
    model.add_module("flatten", nn.Flatten())
    inputs = channels * (options.crop // 32) ** 2
    for name, outputs in (("fc6", options.fc), ("fc7", options.fc), ("fc8", classes)):
        model.add_module(name, nn.Linear(inputs, outputs))
        if name != "fc8":
            model.add_module(f"relu{name[2]}", nn.ReLU(inplace=True))
            model.add_module(f"drop{name[2]}", nn.Dropout(0.5))
        inputs = outputs
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


def _transplant(model: nn.Sequential, source: dict[str, Tensor]) -> None:
    mine = model.state_dict()
    mine.update({key: value for key, value in source.items() if key.split(".")[0] in TRANSPLANT})
    model.load_state_dict(mine)


def _train(options: argparse.Namespace, model: nn.Sequential, train: _Train, val: tuple[Tensor, Tensor]) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=options.weight_decay)
    loss_of, best, waited, drops, start = nn.CrossEntropyLoss(), -1.0, 0, 0, time.time()
    loss = torch.tensor(float("nan"))
    for iteration in range(options.iterations + 1):
        if iteration % options.test_interval == 0:
            top1 = _accuracy(model, *val)
            rate = optimiser.param_groups[0]["lr"]
            print(
                json.dumps(
                    {
                        "iteration": iteration,
                        "rate": rate,
                        "loss": float(loss.detach()),
                        "top1": top1,
                        "seconds": round(time.time() - start, 1),
                    }
                ),
                flush=True,
            )
            best, waited = (top1, 0) if top1 > best else (best, waited + 1)
            if waited >= options.patience:
                if drops == options.drops:
                    break
                drops, waited = drops + 1, 0
                for group in optimiser.param_groups:
                    group["lr"] *= 0.1
        images, labels = train.batch()
        optimiser.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimiser.step()


@torch.no_grad()
def _accuracy(model: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    model.eval()
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(100), labels.split(100), strict=True))
    model.train()
    return right / len(labels)


if __name__ == "__main__":
    main()
