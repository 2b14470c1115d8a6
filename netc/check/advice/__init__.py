"""What is valid, but probably unintended: the remarks an experienced colleague would make on a net or a solver.

    advise(graph, initialised=False) -> list[Advice]     on one net
    compare(train, test) -> list[Advice]                 on a TRAIN net and a TEST net that belong together
    look(graph, facts, test_iter) -> list[Advice]        on a net and what is known of its data
    solver_remarks(param, origin) -> list[Advice]        on a solver

Remarks carry the codes of section A. None of them changes an exit status. `RULES` lists what is
said of one net; each rule takes a graph and yields remarks with their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from netc.check.advice import beside, geometry, losses, pairs, settings
from netc.check.advice.data import DataFacts, Known, coverage, labels, sorted_records, unlabelled
from netc.check.advice.flow import TRAIN, trains
from netc.check.advice.signal import signal
from netc.check.advice.solver import solver_remarks
from netc.check.advice.stuck import stuck
from netc.errors.remark import Advice
from netc.graph.ir import Graph

__all__ = ["TRAIN", "Advice", "DataFacts", "advise", "compare", "look", "solver_remarks", "trains"]

RULES: tuple[Callable[[Graph], Iterator[Advice]], ...] = (
    losses.nothing,
    losses.no_loss,
    losses.unused,
    losses.unreached,
    losses.frozen,
    losses.twice,
    losses.cut_scores,
    losses.classes,
    settings.moved,
    settings.unread,
    settings.unused,
    settings.names,
    settings.raw_pixels,
    beside.unshuffled,
    settings.overwritten,
    geometry.ceil_pooling,
    geometry.skipping,
    signal,
    stuck,
)
OF_FILLERS = (signal, stuck)
"""Rules that do not matter where weights come from elsewhere."""


def advise(graph: Graph, initialised: bool = False) -> list[Advice]:
    """Every remark on a graph, in the order of the rules. `initialised`: weights will come from elsewhere, so the
    fillers do not matter."""
    rules = [rule for rule in RULES if not (initialised and rule in OF_FILLERS)]
    return [remark for rule in rules for remark in rule(graph)]


def compare(train: Graph, test: Graph) -> list[Advice]:
    """Every remark on a pair of nets."""
    return [remark for rule in pairs.PAIR_RULES for remark in rule(train, test)]


def look(graph: Graph, known: Known, test_iter: int | None = None) -> list[Advice]:
    """Every remark that the data give reason for. `test_iter` None: a test takes the whole set, or nobody said."""
    rules = (labels, unlabelled, sorted_records, beside.parted_orders, beside.parted_draws)
    return [*(remark for rule in rules for remark in rule(graph, known)), *coverage(graph, known, test_iter)]
