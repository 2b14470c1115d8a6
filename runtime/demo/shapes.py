"""Outlines of the ten classes, around the origin and about one unit in radius; y points down."""

from __future__ import annotations

import math

Point = tuple[float, float]
Outline = list[Point]


def _turn(count: int, radius: float = 1.0, start: float = -0.25, turns: float = 1.0) -> Outline:
    """`count` points on a circle, from `start` (in turns; -0.25 is the top) clockwise."""
    angles = [2 * math.pi * (start + turns * i / count) for i in range(count)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _star(points: int, inner: float) -> Outline:
    tips, notches = _turn(points), _turn(points, inner, -0.25 + 0.5 / points)
    return [point for pair in zip(tips, notches) for point in pair]


def _heart() -> Outline:
    steps = [2 * math.pi * i / 48 for i in range(48)]
    return [
        (
            math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16,
        )
        for t in steps
    ]


def _crescent() -> Outline:
    """The part of a disc that another disc, shifted to the right, leaves."""
    outer = _turn(36, 1.0, 0.12, 0.76)
    inner = [(0.45 + x * 0.8, y * 0.8) for x, y in _turn(36, 1.0, 0.12 + 0.76, -0.76)]
    return outer + [p for p in inner if math.hypot(*p) < 1]


def _cross(arm: float = 0.34) -> Outline:
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    points: Outline = []
    for _ in range(4):
        points += quarter
        quarter = [(-y, x) for x, y in quarter]
    return points


SHAPES: dict[str, list[Outline]] = {
    "arrow": [[(0, -1), (0.8, -0.05), (0.3, -0.05), (0.3, 1), (-0.3, 1), (-0.3, -0.05), (-0.8, -0.05)]],
    "ball": [_turn(40, 0.95)],
    "box": [[(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]],
    "crescent": [_crescent()],
    "cross": [_cross()],
    "heart": [_heart()],
    "hourglass": [[(-0.8, -0.95), (0.8, -0.95), (0.12, 0), (0.8, 0.95), (-0.8, 0.95), (-0.12, 0)]],
    "ring": [_turn(40, 1.0), _turn(40, 0.55)],
    "star": [_star(5, 0.42)],
    "triangle": [_turn(3, 1.1)],
}
"""Class → its outline, and the outline of a hole in it where it has one. In alphabetical order, as labels are."""
