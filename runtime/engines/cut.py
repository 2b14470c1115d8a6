"""Which layers of a pass an engine takes: layers in a row, with what goes into them and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netc import proto
from netc.graph.compile import compile_net
from netc.graph.ir import Graph
from netc.layers.base import Shape
from netc.layers.input import Input
from netc.runtime.net.steps import Route, Step

Steps = tuple[tuple[Step, tuple[str, ...], bool], ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """Layers in a row that run in one place: in the `engine`, or in torch. `inputs`: blobs that it reads, `outputs`:
    those that it makes and anything behind it, or the caller, needs. `copies`: what its Splits make → of what."""

    steps: Steps
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    copies: Mapping[str, str]
    engine: bool

    @property
    def names(self) -> list[str]:
        """Of its layers, Splits left out."""
        return [step.node.name for step, *_ in self.steps if not step.node.layer.copies_bottom]


def cut(route: Route, takes: Callable[[Step], bool]) -> list[Segment]:
    """The route in parts. What an engine could take without anything in it that is worth the way there stays with
    torch."""
    groups: list[tuple[bool, list[tuple[Step, tuple[str, ...], bool]]]] = []
    for one in route.steps:
        fits = takes(one[0])
        if not groups or groups[-1][0] != fits:
            groups.append((fits, []))
        groups[-1][1].append(one)
    joined: list[tuple[bool, list[tuple[Step, tuple[str, ...], bool]]]] = []
    for fits, steps in groups:
        worth = fits and any(step.node.layer.macs(step.node.bottom_shapes, step.node.top_shapes) for step, *_ in steps)
        if joined and joined[-1][0] == worth:
            joined[-1][1].extend(steps)
        else:
            joined.append((worth, list(steps)))
    return [_segment(place, joined, route.wanted) for place in range(len(joined))]


def _segment(
    place: int, groups: Sequence[tuple[bool, Sequence[tuple[Step, tuple[str, ...], bool]]]], wanted: Sequence[str]
) -> Segment:
    engine, steps = groups[place]
    needed = {blob for _, others in groups[place + 1 :] for step, *_ in others for blob in step.node.bottoms}
    needed.update(wanted)
    made: dict[str, None] = {}
    inputs: dict[str, None] = {}
    copies: dict[str, str] = {}
    for step, *_ in steps:
        bottoms = [copies.get(blob, blob) for blob in step.node.bottoms]
        inputs.update(dict.fromkeys(blob for blob in bottoms if blob not in made))
        if step.node.layer.copies_bottom:
            copies.update(dict.fromkeys(step.tops, bottoms[0]))
        else:
            made.update(dict.fromkeys(step.tops))
    needed.update(copies[blob] for blob in needed & copies.keys())
    outputs = tuple(blob for blob in made if blob in needed)
    passed = {copy: blob for copy, blob in copies.items() if copy in needed}
    return Segment(tuple(steps), tuple(inputs), outputs, passed, engine)


def graph_of(segment: Segment, shapes: Mapping[str, Shape]) -> Graph:
    """The layers of a segment as a net of their own, its inputs of these shapes. Raises NetcError."""
    net = proto.NetParameter(name="segment")
    for name in segment.inputs:
        layer = net.layer.add(name=f"input {name}", type=Input.type, top=[name])
        layer.input_param.shape.add(dim=shapes[name])
    copied: dict[str, str] = {}
    for step, *_ in segment.steps:
        bottoms = [copied.get(blob, blob) for blob in step.node.bottoms]
        if step.node.layer.copies_bottom:  # compiling inserts those that are still needed
            copied.update(dict.fromkeys(step.tops, bottoms[0]))
            continue
        layer = net.layer.add()
        layer.CopyFrom(step.node.layer.param)
        layer.bottom[:] = bottoms
        for field in ("include", "exclude", "blobs"):
            layer.ClearField(field)
    return compile_net(net, "TEST")
