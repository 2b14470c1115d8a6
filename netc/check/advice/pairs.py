"""Where the TRAIN net and a TEST net of one file or solver do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netc.check.advice.flow import trains
from netc.check.advice.settings import transforms
from netc.errors import NetcError, counted
from netc.errors.remark import Advice, listed
from netc.graph.ir import Graph, Node
from netc.layers.base import format_shape


def mismatches(train: Graph, test: Graph) -> Iterator[NetcError]:
    """R606 for every layer that cannot share its parameters with the layer of the same name in the training net."""
    theirs = {node.name: node for node in train.nodes if node.params}
    for node in test.nodes:
        other = theirs.get(node.name)
        if other is None or not node.params:
            continue
        shapes = [[ref.blob.shape for ref in one.params] for one in (node, other)]
        if shapes[0] != shapes[1]:
            mine, trained = (", ".join(map(format_shape, found)) for found in shapes)
            yield NetcError(
                "R606",
                f'layer "{node.name}" has the parameter shapes {mine} in the TEST net, but {trained} in the TRAIN net',
                node.place,
                "do both nets get images of one size, and are num_output and bias_term the same?",
                [(other.place, "the layer of the TRAIN net")] if other.place != node.place else (),
            )


def untrained(train: Graph, test: Graph) -> Iterator[Advice]:
    """Layers with weights that only the TEST net has."""
    known = {node.name for node in train.nodes}
    shared = {spec.name for node in train.nodes for spec in node.layer.param.param if spec.name}
    missing = [node for node in test.nodes if node.params and node.name not in known and not _shares(node, shared)]
    if missing and trains(train):
        have = "has" if len(missing) == 1 else "have"
        yield Advice(
            "A840",
            f"{counted(len(missing), 'layer')} of the TEST net ({listed([node.name for node in missing])}) {have} "
            "weights that the TRAIN net does not train",
            missing[0].place,
            "a layer is trained under its name: is it spelt alike in both, and does the TRAIN net include it?",
        )


def _shares(node: Node, names: set[str]) -> bool:
    return all(spec.name in names for spec in node.layer.param.param) and len(node.layer.param.param) > 0


def prepared_alike(train: Graph, test: Graph) -> Iterator[Advice]:
    """Data layers of one top that prepare their images differently."""
    before = {node.tops[0]: node for node in train.nodes if transforms(node)}
    for node in test.nodes:
        other = before.get(node.tops[0]) if transforms(node) else None
        if other is None:
            continue
        mine, theirs = node.layer.param.transform_param, other.layer.param.transform_param
        for field, what in _differences(mine, theirs):
            yield Advice(
                "A841",
                f'layer "{node.name}" prepares images differently in TEST than in TRAIN: {what}',
                node.layer.origin.place(f"transform_param.{field}"),
                f'make it as layer "{other.name}" of the TRAIN net has it ({other.place})',
            )


def _differences(test: Any, train: Any) -> Iterator[tuple[str, str]]:
    if test.scale != train.scale:
        yield "scale", f"scale {test.scale:g} instead of {train.scale:g}"
    means = [bool(one.mean_value) or one.HasField("mean_file") for one in (test, train)]
    if means[0] != means[1]:
        yield "mean_value", "only one of the two subtracts a mean"
    elif test.mean_value and train.mean_value and list(test.mean_value) != list(train.mean_value):
        values = [", ".join(f"{value:g}" for value in one.mean_value) for one in (test, train)]
        yield "mean_value", f"mean {values[0]} instead of {values[1]}"
    if (test.force_color, test.force_gray) != (train.force_color, train.force_gray):
        yield "force_color", "force_color or force_gray differ"
    if test.ignore_orientation != train.ignore_orientation:
        yield "ignore_orientation", "only one of the two turns images upright as their EXIF blocks say"


def same_source(train: Graph, test: Graph) -> Iterator[Advice]:
    """A test on the records that were trained on."""
    sources = {source: node for node in train.nodes if (source := _source(node))}
    for node in test.nodes:
        source = _source(node)
        if source in sources and trains(train):
            yield Advice(
                "A842",
                f'layer "{node.name}" tests on what is trained on: both read "{source}"',
                node.layer.origin.place(f"{node.layer.param_field}.source"),
                "a score on training data says nothing about new data: give TEST a source of its own",
            )


def _source(node: Node) -> str:
    return str(getattr(node.layer.options, "source", "")) if node.layer.feed else ""


def mirrored_test(train: Graph, test: Graph) -> Iterator[Advice]:
    """Random mirroring where a score is measured."""
    for node in test.nodes:
        if transforms(node) and node.layer.param.transform_param.mirror:
            message = f'layer "{node.name}" mirrors images at random in the TEST net, so its score is another each time'
            place = node.layer.origin.place("transform_param.mirror")
            yield Advice("A823", message, place, "take mirror away, or give the TEST net a data layer of its own")


def batch_statistics(train: Graph, test: Graph) -> Iterator[Advice]:
    """`use_global_stats: false` that holds in TEST as well."""
    found = [node for node in test.nodes if _on_batch(node)]
    if found:
        others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        yield Advice(
            "A824",
            f'layer "{found[0].name}"{others} normalises the TEST net by its own batch, not by the learned statistics',
            found[0].layer.origin.place("batch_norm_param.use_global_stats"),
            "leave use_global_stats out: then TRAIN uses the batch and TEST what was learned",
        )


def _on_batch(node: Node) -> bool:
    field, options = "use_global_stats", node.layer.options
    return hasattr(options, field) and options.HasField(field) and not options.use_global_stats


PAIR_RULES = (untrained, prepared_alike, same_source, mirrored_test, batch_statistics)
