"""What the data themselves say, where they are here: labels, their order, and how much of them a test sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from netc.check.advice.flow import TEST, TRAIN
from netc.errors.remark import Advice
from netc.graph.ir import Graph, Node

MIN_ORDERED = 50
"""So many records must lie sorted before that is not an accident."""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the source of a data layer. `labels`: the labels seen, in order, by the number of their top;
    `complete`: those are all. `size`: records, None where not known. `unlabelled`: the lines of a list that have no
    label, which count as 0."""

    path: str
    size: int | None
    labels: Mapping[int, list[int]] = field(default_factory=dict)
    complete: bool = False
    unlabelled: Sequence[int] = ()


Known = Mapping[str, DataFacts]
"""DataFacts by the key of the data layer."""


def labels(graph: Graph, known: Known) -> Iterator[Advice]:
    """Labels that are not a class of the layer that reads them, and classes that no label names."""
    told: set[tuple[str, int]] = set()
    for index, node in enumerate(graph.nodes):
        classes = node.layer.class_count(node.bottom_shapes)
        source = graph.edges.maker(index, 1)
        found = known.get(source.layer.key) if source is not None and classes else None
        if found is None or source is None or classes is None:
            continue
        seen = set(found.labels.get(graph.edges.makers[index][1][1], ())) - {node.layer.ignore}
        if seen and (source.layer.key, classes) not in told:
            told.add((source.layer.key, classes))
            yield from _range(node, source, found, seen, classes)


def _range(node: Node, source: Node, found: DataFacts, seen: set[int], classes: int) -> Iterator[Advice]:
    low, high = min(seen), max(seen)
    field_name = f"{source.layer.param_field}.source"
    if low < 0 or high >= classes:
        hint = "classes count from 0: these labels seem to start at 1" if (low, high) == (1, classes) else None
        yield Advice(
            "A812",
            f'the labels of layer "{source.name}" reach from {low} to {high}, but layer "{node.name}" has {classes} '
            f"classes, 0 to {classes - 1}",
            source.layer.origin.place(field_name),
            hint or "correct the labels or num_output, or give the loss an ignore_label",
        )
    elif found.complete and high < classes - 1 and found.size and found.size >= MIN_ORDERED:
        yield Advice(
            "A813",
            f'layer "{node.name}" has {classes} classes, but no label of layer "{source.name}" is above {high}',
            node.layer.origin.place("bottom[0]"),
            f"is num_output: {high + 1} meant in the last layer?",
        )


def unlabelled(graph: Graph, known: Known) -> Iterator[Advice]:
    """Lists in which some lines have no label."""
    for node in graph.nodes:
        found = known.get(node.layer.key)
        count = len(found.unlabelled) if found else 0
        if found and found.size and 0 < count < found.size:
            which = f"{count} of the {found.size} lines of {found.path} have no label, line {found.unlabelled[0]} first"
            place = node.layer.origin.place(f"{node.layer.param_field}.source")
            yield Advice("A818", f"{which}: these pictures get 0, as in Caffe", place, "give them labels")


def sorted_records(graph: Graph, known: Known) -> Iterator[Advice]:
    """Training records that lie class by class and are not shuffled."""
    for node in graph.nodes if graph.phase == TRAIN else ():
        found = known.get(node.layer.key)
        seen = found.labels.get(1, []) if found else []
        if len(seen) < MIN_ORDERED or node.layer.shuffles():
            continue
        runs = 1 + sum(a != b for a, b in pairwise(seen))
        if runs == len(set(seen)) > 1 and len(seen) >= 5 * runs:
            yield Advice(
                "A814",
                f'the records of layer "{node.name}" lie class by class, and TRAIN takes them in that order',
                node.layer.origin.place(node.layer.param_field or ""),
                f"each batch would hold one class: add {node.layer.to_shuffle}",
            )


def coverage(graph: Graph, known: Known, test_iter: int | None) -> Iterator[Advice]:
    """A test that does not see its set exactly once."""
    fed = [node for node in graph.nodes if node.layer.key in known and known[node.layer.key].size]
    if graph.phase != TEST or test_iter is None or not fed:
        return
    node = fed[0]
    size, batch = known[node.layer.key].size or 0, node.top_shapes[0][0]
    seen = batch * test_iter
    if seen == size or 0 < seen - size < batch:  # the last batch wraps round a little: no test_iter avoids that
        return
    if seen < size:
        more = f"{seen:,} of the {size:,} records"
        message = f"a test covers {more} ({test_iter} batches of {batch}), other ones in the next"
    else:
        message = (
            f"a test takes {seen:,} records, {test_iter} batches of {batch}, but its set has {size:,}: some count twice"
        )
    fit = -(-size // batch)
    hint = f"test_iter: {fit} covers it; without test_iter, netc takes each record once"
    yield Advice("A815", message, node.layer.origin.place(f"{node.layer.param_field}.batch_size"), hint)
