"""Why training may have diverged: what the records, labels, inputs, weights and the rate tell, the likeliest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from torch import Tensor

from netc.check.advice.signal import signal
from netc.graph.ir import Node
from netc.runtime.net.module import Net

OUTLIER = 100.0
"""So many times the median of the others is a value that stands out."""

LARGE_INPUT, LARGE_WEIGHT = 20.0, 1e4
"""A root mean square of the input above which fillers as they are usual let the signal grow; a weight that grew."""


class Cause(NamedTuple):
    weight: float
    text: str


def ranked(net: Net, k: int, batch: dict[str, Tensor], rows: Sequence[int], given: Collection[str]) -> str:
    """In words, the likeliest first. `rows`: those of the batch in which the first value that is not finite stands, if
    it does not stand in all."""
    found = [*_records(net, k, batch, rows, given), *_inputs(net, batch), _rate(net, batch)]
    found.sort(key=lambda cause: -cause.weight)
    return "likely causes, the likeliest first: " + "; ".join(
        f"({number}) {cause.text}" for number, cause in enumerate(found, 1)
    )


def named(net: Net, k: int, rows: Sequence[int], given: Collection[str]) -> str:
    """The records that rows of the batch are, by key; the first and the last of many."""
    source = next((node for node in net.feeding.sources if node.tops and node.tops[0] not in given), None)
    names = [_record(net, source, k, row) if source else f"row {row}" for row in rows]
    names = list(dict.fromkeys(names))
    if len(names) > 4:
        return f"{len(names)} records, from {names[0]} to {names[-1]}"
    return ", ".join(names)


def _record(net: Net, source: Node, k: int, row: int) -> str:
    return net.feeding.record(source.tops[0], k, row) or f"row {row}"


def _records(net: Net, k: int, batch: dict[str, Tensor], rows: Sequence[int], given: Collection[str]) -> list[Cause]:
    """Records that stand out: by what became of them, by a value of theirs, or by their label."""
    found = []
    if rows:
        found.append(Cause(4.0, f"a bad record: only {named(net, k, rows, given)} has such values"))
    losses = [node for node in net.graph.nodes if any(node.loss_weights) and len(node.bottoms) > 1]
    targets = tuple(node.bottoms[1] for node in losses)
    for top, tensor in batch.items():
        if (row := _outlier(tensor)) is None:
            continue
        value = float(tensor[row].abs().max())
        target = any(each == top or each.startswith(f"{top}_") for each in targets)
        kind = "a label" if target or tensor.dim() < 2 else "a bad record"
        found.append(Cause(4.5, f'{kind}: {named(net, k, [row], given)} has {value:g} in "{top}", the others far less'))
    return found


def _outlier(tensor: Tensor) -> int | None:
    """The row whose largest value stands out."""
    if not tensor.dim() or len(tensor) < 3 or not tensor.is_floating_point():
        return None
    largest = tensor.flatten(1).abs().amax(1) if tensor.dim() > 1 else tensor.abs()
    row = int(largest.argmax())
    usual = max(float(largest.median()), 1 / OUTLIER)
    return row if float(largest[row]) > OUTLIER * usual else None


def _inputs(net: Net, batch: dict[str, Tensor]) -> list[Cause]:
    """The scale of the data, and what `netc check` remarks on the signal that the fillers make of it."""
    found = [Cause(3.5, f"netc check warns of this net ({one.code}): {one.hint}") for one in signal(net.graph)]
    for top, tensor in batch.items():
        if tensor.dim() < 2 or not tensor.is_floating_point():
            continue
        rms = float(tensor.double().square().mean().sqrt())
        if rms > LARGE_INPUT:
            text = f'input scale: the root mean square of "{top}" is {rms:g}; set scale: {1 / rms:.3g}, or mean values'
            found.append(Cause(3.2, text))
    return found


def _rate(net: Net, batch: dict[str, Tensor]) -> Cause:
    largest = max((float(each.detach().abs().max()) for each in net.parameters() if each.numel()), default=0.0)
    grown = not largest < LARGE_WEIGHT
    said = f"weights have grown to {largest:g}: " if grown else ""
    return Cause(3.0 if grown else 1.0, f"the rate: {said}lower base_lr or set clip_gradients")
