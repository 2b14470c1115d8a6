"""A picture with its boxes drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

COLORS = ("#e6194b", "#1e78ff", "#2ca02c", "#ff8c00", "#9b30ff")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A box, x1 y1 x2 y2 in pixels, and the words above it."""

    box: Sequence[float]
    words: str


def drawing(pixels: Any, boxes: Sequence[Drawn], truth: Sequence[Sequence[float]] = ()) -> Image.Image:
    """(H, W, 3) red, green, blue → the picture with `boxes`, the first one on top, over those of `truth` in white."""
    image = Image.fromarray(pixels).convert("RGB")
    pen = ImageDraw.Draw(image)
    line = max(1, round(min(image.size) / 160))
    for box in truth:
        _outline(pen, box, line, "white")
    for number, one in reversed(list(enumerate(boxes))):
        color = COLORS[number % len(COLORS)]
        _outline(pen, one.box, line, color)
        _label(pen, one, number, color, image)
    return image


def _outline(pen: ImageDraw.ImageDraw, box: Sequence[float], line: int, color: str) -> None:
    """A box's edges, within it: its lower right pixel is the last before x2, y2."""
    x1, y1, x2, y2 = box
    if round(x2) > round(x1) and round(y2) > round(y1):
        pen.rectangle((round(x1), round(y1), round(x2) - 1, round(y2) - 1), outline=color, width=line)


def _label(pen: ImageDraw.ImageDraw, one: Drawn, number: int, color: str, image: Image.Image) -> None:
    """The words on a ground of the box's colour, above it where that is in the picture; each box's a line lower."""
    if not one.words:
        return
    font = ImageFont.load_default(max(9, round(min(image.size) / 28)))
    left, top, right, bottom = pen.textbbox((0, 0), one.words, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0, round(one.box[0])), max(0, image.width - int(width)))
    y = max(0, min(round(one.box[1]) - int(height), image.height - int(height))) + number * int(height)
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + 2 - left, y + 2 - top), one.words, fill="white", font=font)
