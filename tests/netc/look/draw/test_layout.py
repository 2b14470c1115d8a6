"""Where boxes go: nothing overlaps, chains are straight, wires do not cross without need."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from netc.look.draw.layout import GAP, MOST_PASSAGES, MOST_STEPS, layout
from netc.look.draw.picture import Box, Part, Picture, Wire
from netc.look.draw.svg import svg
from tests.effort import at_most


def chain(count):
    return [Wire(i, 0, i + 1) for i in range(count - 1)]


def columns(made, box):
    return made.slots[box].x


def check(made):
    """Every row is in order and keeps its distances; every wire goes down one row at a time."""
    for row in made.rows:
        for left, right in pairwise(row):
            a, b = made.slots[left], made.slots[right]
            gap = GAP if a.box >= 0 or b.box >= 0 else 0
            assert b.x - a.x >= (a.width + b.width) / 2 + gap - 1e-6
    for wire, route in made.routes.items():
        rows = [made.slots[slot].row for slot in route]
        assert rows == list(range(rows[0], rows[-1] + 1))
        assert (route[0], route[-1]) == (wire.source, wire.target)
    assert sorted(index for row in made.rows for index in row) == list(range(len(made.slots)))


def test_a_chain_is_straight():
    made = layout([100.0, 180.0, 60.0, 120.0], chain(4))
    check(made)
    assert [made.slots[i].row for i in range(4)] == [0, 1, 2, 3]
    assert max(columns(made, i) for i in range(4)) - min(columns(made, i) for i in range(4)) < 1e-6


def test_branches_stand_side_by_side_in_the_order_of_the_file():
    """An inception block: four branches, two of one layer and two of two, between a source and a concatenation."""
    wires = [Wire(0, 0, b) for b in (1, 2, 4, 6)] + [Wire(2, 0, 3), Wire(4, 0, 5)]
    wires += [Wire(b, 0, 7) for b in (1, 3, 5, 6)]
    made = layout([90.0] * 8, sorted(wires, key=lambda wire: wire.target))
    check(made)
    assert columns(made, 1) < columns(made, 2) < columns(made, 4) < columns(made, 6)
    assert columns(made, 3) == pytest.approx(columns(made, 2), abs=GAP)
    assert columns(made, 1) < columns(made, 7) < columns(made, 6)


def test_a_long_wire_passes_beside_the_boxes():
    made = layout([100.0] * 5, [*chain(5), Wire(0, 0, 4)])
    check(made)
    passages = [slot for slot in made.slots if slot.box < 0]
    assert [slot.row for slot in passages] == [1, 2, 3]
    assert max(slot.x for slot in passages) - min(slot.x for slot in passages) < 1e-6


def test_what_has_nothing_above_stands_right_above_its_reader():
    made = layout([100.0] * 5, [Wire(0, 0, 1), Wire(1, 0, 2), Wire(2, 0, 4), Wire(3, 0, 4)])
    check(made)
    assert made.slots[3].row == 2


def test_two_wires_of_one_top_share_their_passages():
    made = layout([100.0] * 6, sorted([*chain(6), Wire(0, 1, 4), Wire(0, 1, 5)], key=lambda wire: wire.target))
    check(made)
    assert sum(slot.box < 0 for slot in made.slots) == 4


def test_a_crossing_that_can_be_undone_is():
    """Two chains that start in the wrong order."""
    wires = [Wire(0, 0, 3), Wire(1, 0, 2), Wire(3, 0, 4), Wire(2, 0, 4)]
    made = layout([80.0] * 5, sorted(wires, key=lambda wire: wire.target))
    check(made)
    assert (columns(made, 0) < columns(made, 1)) == (columns(made, 3) < columns(made, 2))


@pytest.mark.parametrize("seed", range(12))
def test_random_nets_keep_their_distances(seed):
    rng = random.Random(seed)
    count = rng.randint(2, 60)
    wires = [
        Wire(rng.randrange(max(0, target - rng.randint(1, 25)), target), rng.randint(0, 1), target)
        for target in range(1, count)
        for _ in range(rng.randint(0, 3))
    ]
    check(layout([rng.uniform(40, 200) for _ in range(count)], wires))


def test_no_boxes():
    assert layout([], []).rows == []


def test_wires_beyond_all_measure_are_cut():
    """Each of 400 layers is read again at the far end: passages are limited, the rest is named at both ends."""
    count = 400
    far = [Wire(i, 1, count - 1) for i in range(count - 1)]
    made = layout([50.0] * count, sorted(chain(count) + far, key=lambda wire: wire.target))
    assert sum(slot.box < 0 for slot in made.slots) <= MOST_PASSAGES
    assert len(made.cut) + len(made.routes) == len(set(chain(count) + far))
    assert made.cut


def test_a_top_that_every_layer_of_a_long_chain_reads():
    """15,000 wires, each a layer longer than the one before: their steps are limited, not only the passages."""
    count = 15_000
    far = [Wire(0, 0, i) for i in range(2, count)]
    with at_most(400):  # some 40 are usual, 4,000 are spent without the limit
        made = layout([50.0] * count, sorted(chain(count) + far, key=lambda wire: wire.target))
    assert sum(map(len, made.routes.values())) <= MOST_STEPS + 2 * len(made.routes) + 3 * count
    assert len(made.cut) + len(made.routes) == len(set(chain(count) + far))
    check(made)


def test_wires_that_are_left_out_are_counted():
    boxes = [Box([Part(f"l{i}", "TanH", "", 0)], "other", "", [("b", None), ("c", None)]) for i in range(400)]
    far = [Wire(i, 1, 399) for i in range(398)]
    made = Picture("n", "TEST", boxes, sorted(chain(400) + far, key=lambda wire: wire.target))
    left = re.search(r"; (\d+) long connections are named where they end, not drawn", svg(made))
    assert left is not None
    assert int(left[1]) == len(re.findall("from l[0-9]+ ↓", svg(made))) > 100
