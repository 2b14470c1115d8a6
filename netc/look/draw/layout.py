"""Where boxes and wires go: rows by longest path, few crossings by barycentres, columns by least squares.

    layout(sizes, wires) -> Layout

Rows run downwards. A wire over several rows passes through a slot of its own in each, so that no box lies on it; the
wires of one top share their slots (a `Slot` is a box or such a passage). Positions in a row solve
min Σ weight · (x - wish)² under the distances that the widths ask for, which is isotonic regression.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from netc.look.draw.picture import Wire

GAP, PASSAGE = 28.0, 16.0
"""Pixels between boxes of a row, and the width of a wire's passage."""
MOST_PASSAGES, MOST_STEPS = 40_000, 120_000
"""Passages, and steps of wires through them, that are drawn. Beyond this, long wires are cut: each end says where the
other is."""
LARGE = 10_000
"""Slots beyond which time counts more than looks."""
STRAIGHT = 8.0
"""Weight of the wish that passages stand under each other."""


@dataclass(slots=True)
class Slot:
    """`box`: its number, -1 for a passage; `up`, `down`: slots of the rows above and below that it is joined with."""

    row: int
    width: float
    box: int = -1
    x: float = 0.0
    up: list[int] = field(default_factory=list)
    down: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Layout:
    """`slots`: boxes first, by number, then passages. `rows`: slots from left to right. `routes`: for each wire the
    slots that it goes through, ends included; `cut`: the wires that are not drawn."""

    slots: list[Slot]
    rows: list[list[int]]
    routes: dict[Wire, list[int]]
    cut: list[Wire]


def layout(widths: Sequence[float], wires: Sequence[Wire]) -> Layout:
    """Place boxes of these widths; the wires of `wires` go from lower to higher numbers."""
    ranks = _ranks(len(widths), wires)
    made = Layout([Slot(rank, width, box) for box, (rank, width) in enumerate(zip(ranks, widths))], [], {}, [])
    _route(made, wires)
    made.rows = [[] for _ in range(max(ranks, default=-1) + 1)]
    for index in _first_order(made):
        made.rows[made.slots[index].row].append(index)
    _reduce_crossings(made)
    _columns(made)
    return made


def _ranks(count: int, wires: Sequence[Wire]) -> list[int]:
    """Rows by the longest path from above; what has nothing above it stands right above its first reader."""
    ranks = [0] * count
    fed = [False] * count
    below: list[int] = [-1] * count
    for wire in wires:  # by target, which is the order of the layers
        ranks[wire.target] = max(ranks[wire.target], ranks[wire.source] + 1)
        fed[wire.target] = True
    for wire in wires:
        row = ranks[wire.target] - 1
        below[wire.source] = row if below[wire.source] < 0 else min(below[wire.source], row)
    return [rank if has or down < 0 else down for rank, has, down in zip(ranks, fed, below)]


def _route(made: Layout, wires: Sequence[Wire]) -> None:
    passages: dict[tuple[int, int], list[int]] = {}  # of a top, in the rows below it, as far as its longest wire goes
    room, steps = MOST_PASSAGES, MOST_STEPS
    for wire in sorted(set(wires), key=lambda w: made.slots[w.target].row - made.slots[w.source].row):
        first, last = made.slots[wire.source].row, made.slots[wire.target].row
        own = passages.setdefault((wire.source, wire.port), [])
        between, fresh = last - first - 1, max(0, last - first - 1 - len(own))
        if between > 3 and (fresh > room or between > steps):
            made.cut.append(wire)
            continue
        room, steps = room - fresh, steps - between
        for row in range(last - fresh, last):
            own.append(len(made.slots))
            made.slots.append(Slot(row, PASSAGE))
        made.routes[wire] = [wire.source, *own[:between], wire.target]
    made.routes = {wire: made.routes[wire] for wire in dict.fromkeys(wires) if wire in made.routes}
    for above, below in dict.fromkeys(pair for route in made.routes.values() for pair in pairwise(route)):
        made.slots[above].down.append(below)
        made.slots[below].up.append(above)


def _first_order(made: Layout) -> Iterable[int]:
    """Depth first from the boxes without anything above: branches keep the order of the file and stay together."""
    seen = [False] * len(made.slots)
    found: list[int] = []
    for start in range(len(made.slots)):
        stack = [start] if not made.slots[start].up else []
        while stack:
            index = stack.pop()
            if not seen[index]:
                seen[index] = True
                found.append(index)
                stack += [below for below in reversed(made.slots[index].down) if not seen[below]]
    return found


# -- order within the rows ---------------------------------------------------------------------------------------------


def _reduce_crossings(made: Layout) -> None:
    sweeps = 12 if len(made.slots) < 3000 else 4 if len(made.slots) < LARGE else 1
    best, fewest = [list(row) for row in made.rows], _crossings(made)
    for sweep in range(sweeps):
        if not fewest:
            break
        _sweep(made, downwards=sweep % 2 == 0)
        crossings = _crossings(made)
        if crossings < fewest:
            best, fewest = [list(row) for row in made.rows], crossings
    made.rows = best


def _sweep(made: Layout, downwards: bool) -> None:
    order = made.rows if downwards else made.rows[::-1]
    at: dict[int, float] = {}
    for row in order:
        keys = {}
        for position, index in enumerate(row):
            slot = made.slots[index]
            others = [at[other] for other in (slot.up if downwards else slot.down) if other in at]
            keys[index] = sum(others) / len(others) if others else float(position)
        row.sort(key=keys.__getitem__)
        at.update((index, float(position)) for position, index in enumerate(row))


def _crossings(made: Layout) -> int:
    total = 0
    for row, after in pairwise(made.rows):
        at = {index: position for position, index in enumerate(after)}
        ends = [at[below] for index in row for below in sorted(made.slots[index].down, key=at.__getitem__)]
        total += _inversions(ends, len(after))
    return total


def _inversions(values: Sequence[int], size: int) -> int:
    """Pairs in the wrong order, by a Fenwick tree."""
    tree, total = [0] * (size + 1), 0
    for seen, value in enumerate(values):
        at, before = value + 1, 0
        while at:
            before += tree[at]
            at -= at & -at
        total += seen - before
        at = value + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return total


# -- columns -----------------------------------------------------------------------------------------------------------


def _columns(made: Layout) -> None:
    for row in made.rows:
        _settle(made.slots, row, [0.0] * len(row), [1.0] * len(row))
    for sweep in range(10 if len(made.slots) < LARGE else 4):
        for row in made.rows if sweep % 2 == 0 else made.rows[::-1]:
            _pull(made.slots, row, up=sweep % 2 == 0 or sweep > 5, down=sweep % 2 == 1 or sweep > 5)
    for (
        row
    ) in made.rows:  # what has one neighbour above comes to stand right under it: least squares alone slant chains
        _pull(made.slots, row, up=True, down=False)


def _pull(slots: list[Slot], row: Sequence[int], up: bool, down: bool) -> None:
    wishes, weights = [], []
    for index in row:
        slot = slots[index]
        others = (slot.up if up else []) + (slot.down if down else [])
        pulls = [(STRAIGHT if slot.box < 0 and slots[other].box < 0 else 1.0, slots[other].x) for other in others]
        weight = sum(pull for pull, _ in pulls)
        wishes.append(sum(pull * x for pull, x in pulls) / weight if weight else slot.x)
        weights.append(weight or 0.1)
    _settle(slots, row, wishes, weights)


def _settle(slots: list[Slot], row: Sequence[int], wishes: Sequence[float], weights: Sequence[float]) -> None:
    """Least squares under minimal distances: pool neighbours that would overlap (Pool Adjacent Violators)."""
    offset, offsets = 0.0, []
    for position, index in enumerate(row):
        if position:
            before = slots[row[position - 1]]
            offset += (before.width + slots[index].width) / 2 + (GAP if before.box >= 0 or slots[index].box >= 0 else 0)
        offsets.append(offset)
    blocks: list[tuple[float, float, int]] = []
    for wish, shift, weight in zip(wishes, offsets, weights):
        mean, heavy, size = wish - shift, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_size = blocks.pop()
            mean = (mean * heavy + other * other_weight) / (heavy + other_weight)
            heavy, size = heavy + other_weight, size + other_size
        blocks.append((mean, heavy, size))
    positions = [mean for mean, _, size in blocks for _ in range(size)]
    for index, mean, shift in zip(row, positions, offsets):
        slots[index].x = mean + shift
