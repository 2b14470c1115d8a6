"""A picture as PNG, for programs that want pixels (caffe.draw): the same places as in the SVG, drawn by Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from netc.look.draw.picture import Picture, Wire
from netc.look.draw.svg import ARROW, COLOURS, LINE, MARGIN, PAD, STUB, Drawing, short

TOP = 44.0
WIRE, TEXT = "#8a949e", "#1b1f24"
_LETTERS = str.maketrans({"×": "x", "→": "->", "…": "..", "–": "-"})
"""What Pillow's own font has not."""
MOST_PIXELS = 2e7
STEPS = 12
"""Straight bits of a curve."""


def png(picture: Picture, title: str = "") -> bytes:
    """The whole file. It is drawn twice as large as the SVG, which keeps small letters readable, and a large net as
    large as MOST_PIXELS allow."""
    drawing = Drawing(picture)
    return _encoded(_Sheet(drawing).draw(title or picture.name or "unnamed"))


def _encoded(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


class _Sheet:
    """Pixels, and how large a unit of the drawing is in them."""

    def __init__(self, drawing: Drawing) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self.drawing = drawing
        area = max(drawing.width, 1.0) * (drawing.height + TOP)
        self.scale = min(2.0, (MOST_PIXELS / area) ** 0.5)
        size = (max(200, round(self.scale * drawing.width)), round(self.scale * (drawing.height + TOP)))
        self.image = Image.new("RGB", size, "white")
        self.pen = ImageDraw.Draw(self.image)
        self.fonts = {size: ImageFont.load_default(size * self.scale) for size in (10, 12, 16)}

    def draw(self, title: str) -> Any:
        self._text(MARGIN, 22, short(title, 100), 16, "lm")
        for wire in self.drawing.plan.routes:
            self._wire(wire)
        for index in range(len(self.drawing.picture.boxes)):
            self._box(index)
        return self.image

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * self.scale, y * self.scale

    def _text(self, x: float, y: float, text: str, size: int, anchor: str = "mm") -> None:
        self.pen.text(self._at(x, y), text.translate(_LETTERS), TEXT, self.fonts[size], anchor)

    def _box(self, index: int) -> None:
        drawing = self.drawing
        width, height = drawing.sizes[index]
        x, y = drawing.x(index), drawing.top(index) + TOP
        fill, line, _ = COLOURS[drawing.picture.boxes[index].kind]
        corners = (*self._at(x - width / 2, y), *self._at(x + width / 2, y + height))
        self.pen.rounded_rectangle(corners, 6 * self.scale, fill, line, max(1, round(1.2 * self.scale)))
        for row, (kind, text) in enumerate(drawing.lines[index]):
            self._text(x, y + PAD + 5 + LINE * row, text, 12 if kind == "n" else 10)

    def _wire(self, wire: Wire) -> None:
        points = [self._at(x, y + TOP) for x, y in self._points(wire)]
        self.pen.line(points, WIRE, max(1, round(1.3 * self.scale)))
        (x, y), size = points[-1], 4 * self.scale
        self.pen.polygon([(x - size, y - 1.6 * size), (x + size, y - 1.6 * size), (x, y)], WIRE)

    def _points(self, wire: Wire) -> Iterator[tuple[float, float]]:
        """Down from the top, through the passages, into the box."""
        drawing = self.drawing
        route = drawing.plan.routes[wire]
        x = drawing.exit(wire.source, wire.port)
        yield x, drawing.top(wire.source) + drawing.sizes[wire.source][1]
        for here, below in pairwise(route):
            row, under = drawing.plan.slots[here].row, drawing.plan.slots[below].row
            y, end = drawing.tops[row] + drawing.bands[row] + STUB, drawing.tops[under] - ARROW
            to = drawing.ins[wire] if below == route[-1] else drawing.x(below)
            yield from _curve(x, y, to, end)
            x = to
        yield x, drawing.top(wire.target) - 0.5


def _curve(x: float, y: float, to_x: float, to_y: float) -> Iterator[tuple[float, float]]:
    """A smooth step from one vertical line to another."""
    for step in range(STEPS + 1):
        t = step / STEPS
        across = 3 * t**2 - 2 * t**3
        down = 1.5 * t * (1 - t) ** 2 + 1.5 * t**2 * (1 - t) + t**3
        yield x + (to_x - x) * across, y + (to_y - y) * down
