"""A small set of photo-like pictures, drawn on the spot: one of ten objects before a cluttered background.

Sizes vary; colours, light, texture, place, size and turn are drawn alike for every class, so that only the outline
tells one from another. Each picture is a pure function of (seed, index). The same pixels come out wherever Pillow and
numpy are the same; another version of either may round otherwise, and write other JPEG bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from netc.runtime.demo.shapes import SHAPES, Outline
from netc.runtime.net import rand

CLASSES = tuple(SHAPES)
SHORTEST, LONGEST = 72, 120
QUALITY = 90
_FINE = 3
"""Outlines are drawn this many times larger and averaged, which makes their edges smooth."""

Layer = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Picture:
    """`pixels` (H, W, 3) uint8, red green blue. `box`: xmin, ymin, xmax, ymax in pixels, the last two outside."""

    pixels: NDArray[np.uint8]
    label: int
    box: tuple[int, int, int, int]


class Draws:
    """Random numbers that are a function of (seed, index) and of how many were taken before."""

    def __init__(self, seed: int, index: int) -> None:
        self._key, self._next = rand.key(seed, index, "demo"), 0

    def array(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Layer:
        count = math.prod(shape)
        numbers = rand.uniform(self._key, np.arange(self._next, self._next + count))
        self._next += count
        return (low + (high - low) * numbers).astype(np.float32).reshape(shape)

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        return float(self.array(1, low=low, high=high)[0])

    def integer(self, low: int, high: int) -> int:
        return low + int(self.number() * (high - low + 1))


def draw(seed: int, index: int) -> Picture:
    """Picture number `index`; its class is `index` modulo ten."""
    r, label = Draws(seed, index), index % len(CLASSES)
    height, width = r.integer(SHORTEST, LONGEST), r.integer(SHORTEST, LONGEST)
    outlines = _placed(r, SHAPES[CLASSES[label]], height, width)
    mask, box = _mask(outlines, height, width)
    ground, body = _colors(r)
    scene = _cluttered(r, _surface(r, ground, height, width))
    scene *= 1 - r.number(0.1, 0.5) * _shadow(mask, r.integer(1, 3))[..., None]
    scene += mask[..., None] * (_surface(r, body, height, width) - scene)
    scene = scene * _light(r, height, width) + r.array(height, width, 3, low=-1, high=1) * r.number(0.02, 0.09)
    return Picture((scene.clip(0, 1) * 255).astype(np.uint8), label, box)


def _placed(r: Draws, outlines: list[Outline], height: int, width: int) -> list[Outline]:
    """The outlines in pixels: turned, stretched, scaled, and put near the middle."""
    side, turn = min(height, width), math.radians(r.number(-25, 25))
    radius = side * r.number(0.24, 0.38)
    x0, y0 = (size / 2 + side * r.number(-0.09, 0.09) for size in (width, height))
    xs, ys = radius * r.number(0.85, 1.1), radius * r.number(0.85, 1.1)
    cos, sin = math.cos(turn), math.sin(turn)
    return [[(x0 + xs * (cos * x - sin * y), y0 + ys * (sin * x + cos * y)) for x, y in line] for line in outlines]


def _mask(outlines: list[Outline], height: int, width: int) -> tuple[Layer, tuple[int, int, int, int]]:
    """How much of each pixel the object covers (H, W), and the object's box."""
    fine = Image.new("L", (width * _FINE, height * _FINE))
    for outline, fill in zip(outlines, (255, 0)):
        ImageDraw.Draw(fine).polygon([(x * _FINE, y * _FINE) for x, y in outline], fill=fill)
    small = fine.reduce(_FINE)
    return _cover(small), small.getbbox() or (0, 0, width, height)


def _cover(gray: Image.Image) -> Layer:
    """A gray picture as shares of one."""
    cover: Layer = np.asarray(gray, np.float32) * np.float32(1 / 255)
    return cover


def _colors(r: Draws) -> tuple[Layer, Layer]:
    """Colours of background and object: any hue, the object the lighter of the two, as if it were lit."""
    ground = r.array(3, low=0.05, high=0.5)
    while True:
        body = r.array(3, low=0.35, high=1.0)
        if float((body - ground).sum()) > 0.75:
            return ground, body


def _surface(r: Draws, color: Layer, height: int, width: int) -> Layer:
    """A coloured surface (H, W, 3) with coarse and fine unevenness, sometimes with stripes."""
    coarse = _noise(r, r.integer(2, 4), height, width, 3) * r.number(0.1, 0.3)
    fine = _noise(r, r.integer(9, 24), height, width, 1) * r.number(0.05, 0.25)
    surface: Layer = color + coarse + fine + _stripes(r, height, width)
    return surface


def _noise(r: Draws, cells: int, height: int, width: int, channels: int) -> Layer:
    """Smooth noise in [-0.5, 0.5], about `cells` cells a side, the same in all channels if `channels` is 1."""
    grid = r.array(channels, cells, cells, low=-0.5, high=0.5)
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in grid]
    noise: Layer = np.stack([np.asarray(plane) for plane in planes], axis=2)
    return noise


def _stripes(r: Draws, height: int, width: int) -> Layer:
    strength = max(0.0, r.number(-0.25, 0.12))
    angle, wave, phase = r.number(0, math.pi), r.number(5, 16), r.number(0, 2 * math.pi)
    y, x = np.ogrid[:height, :width]
    across = (x * math.cos(angle) + y * math.sin(angle)).astype(np.float32)
    stripes: Layer = (strength * np.sin(across * np.float32(2 * math.pi / wave) + phase)).astype(np.float32)
    return stripes[..., None]


def _cluttered(r: Draws, scene: Layer) -> Layer:
    """A few strokes and blots over the background, so that not every edge is the object's."""
    height, width = scene.shape[:2]
    for _ in range(r.integer(2, 5)):
        fine = Image.new("L", (width, height))
        x0, x1 = (r.number(-0.1, 1.1) * width for _ in range(2))
        y0, y1 = (r.number(-0.1, 1.1) * height for _ in range(2))
        if r.number() < 0.6:
            ImageDraw.Draw(fine).line((x0, y0, x1, y1), fill=255, width=r.integer(1, 4))
        else:
            size = r.number(0.03, 0.1) * width
            ImageDraw.Draw(fine).ellipse((x0 - size, y0 - size, x0 + size, y0 + size), fill=255)
        scene = scene + r.number(0.3, 0.8) * _cover(fine)[..., None] * (r.array(3) - scene)
    return scene


def _shadow(mask: Layer, reach: int) -> Layer:
    """The object's mask, softened and shifted down to the right."""
    soft = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(reach))
    return np.roll(_cover(soft), (reach, reach), axis=(0, 1))


def _light(r: Draws, height: int, width: int) -> Layer:
    """Light that falls off to one side (H, W, 1)."""
    angle, fall = r.number(0, 2 * math.pi), r.number(0.1, 0.5)
    y, x = np.ogrid[:height, :width]
    along = (x / width - 0.5) * math.cos(angle) + (y / height - 0.5) * math.sin(angle)
    return (r.number(0.75, 1.15) * (1 - fall * along)).astype(np.float32)[..., None]


def write_set(
    folder: Path, seed: int, first: int, count: int, report: Callable[[int, int], None] | None = None
) -> None:
    """Draw pictures `first` … `first + count - 1` as `folder`/CLASS/INDEX.jpg, and write their boxes as COCO has them,
    `folder`/boxes.json: images (file_name "CLASS/INDEX.jpg"), annotations (bbox: x, y, width, height), categories."""
    images, annotations = [], []
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for done, index in enumerate(range(first, first + count), 1):
        picture = draw(seed, index)
        name = f"{CLASSES[picture.label]}/{index:05d}.jpg"
        Image.fromarray(picture.pixels).save(folder / name, quality=QUALITY)
        height, width = picture.pixels.shape[:2]
        images.append({"id": index, "file_name": name, "width": width, "height": height})
        x1, y1, x2, y2 = picture.box
        box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
        annotations.append({"id": index, "image_id": index, "category_id": picture.label, **box})
        if report:
            report(done, count)
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    boxes = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(boxes) + "\n")
