"""A net that only computes, with fewer layers: what is fixed in TEST goes into the weights before it, or behind it.

    optimised(graph, weights) -> Optimised

Splits and what hands on its bottom (Dropout in TEST) are taken out. An affine layer (BatchNorm, Scale, Bias, Power)
goes into the convolution or inner product that makes its bottom, or else into the layer that reads its top. Both are
decided by the flow of data: a value that anything else reads, or that is asked for, stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.errors import NetcError, Place
from netc.graph.edges import NOWHERE, Top, readers_of, resolve
from netc.graph.ir import Graph, Node
from netc.layers.affine import Affine
from netc.passes.deploy import without_copies

Arrays = Sequence[Any]
Names = tuple[Sequence[str], Sequence[str]]
"""The bottoms and the tops of a layer."""


@dataclass(slots=True)
class Optimised:
    """`param`: the net (the layers of one state, no Splits). `weights`: layer name → its arrays.

    `removed`: (name, type) of layers that handed on their bottom; `folded`: (name, type, the layer that took it);
    `left`: (name, type, why) of affine layers that stay. `gone`: blobs that the net has no more.
    """

    param: Any
    weights: dict[str, list[Any]]
    removed: list[tuple[str, str]] = field(default_factory=list)
    folded: list[tuple[str, str, str]] = field(default_factory=list)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def optimised(graph: Graph, weights: Mapping[str, Arrays], keep: Collection[str] = ()) -> Optimised:
    """The same net with fewer layers. `weights`: of every layer with parameters, in Caffe's order. `keep`: blobs that
    must still be there with their values. Nothing that is given is changed.

    Raises NetcError R770 for a net of the TRAIN phase, whose layers learn.
    """
    if graph.phase == 0:
        message = f'the net "{graph.name}" is that of TRAIN, whose layers learn: there is nothing fixed to fold'
        raise NetcError("R770", message, Place(graph.path), "take the TEST phase")
    return _Work(graph, weights, keep).done()


class _Work:
    """The layers by number. `names`: the bottoms and tops of those that are left, as they are called now; `reads`: what
    each reads, whatever it is called."""

    def __init__(self, graph: Graph, weights: Mapping[str, Arrays], keep: Collection[str]) -> None:
        self.graph, self.keep = graph, frozenset(keep)
        stay = _wanted_copies(graph, keep)
        nodes = [node for index, node in enumerate(graph.nodes) if index in stay or not node.layer.copies_bottom]
        self.params = without_copies([_copied(node.layer.param) for node in graph.nodes], stay)
        self.names: dict[int, Names] = {n: (param.bottom[:], param.top[:]) for n, param in enumerate(self.params)}
        self.nodes: dict[int, Node] = dict(enumerate(nodes))
        self.arrays = {index: list(weights.get(node.name, ())) for index, node in self.nodes.items() if node.params}
        self.reads: dict[int, Sequence[Top]] = dict(enumerate(resolve(self.names.values())[0]))
        self.shared = _shared(graph, nodes)
        self.result = Optimised(None, {})

    def done(self) -> Optimised:
        before = self._blobs()
        for index in list(self.nodes):
            if self.nodes[index].layer.hands_on():
                self._bypass(index)
        for index in list(self.nodes):
            self._fold(index)
        self._check()
        result = self.result
        result.param = _with_layers(self.graph, [self._named(index) for index in self.names])
        left = ((index, arrays) for index, arrays in self.arrays.items() if index in self.names)
        result.weights = {self.nodes[index].name: arrays for index, arrays in left}
        result.gone = [name for name in before if name not in self._blobs()]
        return result

    def _blobs(self) -> dict[str, None]:
        return dict.fromkeys(top for _, tops in self.names.values() for top in tops)

    def _named(self, index: int) -> Any:
        """The layer as it is now."""
        param = self.params[index]
        param.bottom[:], param.top[:] = self.names[index]
        return param

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _bypass(self, index: int) -> None:
        """Take out a layer whose top is its bottom."""
        node, below, top = self.nodes[index], self.reads[index][0], (index, 0)
        if below == NOWHERE:
            return
        (inner, *_), (outer, *_) = self.names[index]
        readers = self._readers(top)
        renames = inner != outer and (not readers or outer in self.keep)  # then the layer below takes the name
        if why := self._keeps_its_name(below, index) if renames else "":
            self.result.left.append((node.name, node.type, why))
            return
        bottoms = [] if renames else [(reader, place, inner) for reader, place in readers]
        self._remove(index, below, bottoms, (below, outer) if renames else None)
        self.result.removed.append((node.name, node.type))

    def _keeps_its_name(self, below: Top, index: int) -> str:
        """Why the maker of a top cannot give it another name, that of what `index` makes."""
        maker, place = below
        node, name = self.nodes[maker], self.names[maker][1][place]
        if node.layer.is_source:
            return f'its bottom "{name}" is an input'
        if len(self._readers(below)) > 1:
            return f'its bottom "{name}" is read elsewhere, too'
        if name in self.keep and name != self.names[index][1][0]:
            return f'its bottom "{name}" is asked for'
        return ""

    def _fold(self, index: int) -> None:
        node = self.nodes[index]
        if index not in self.names or node.layer.hands_on() or not node.bottom_shapes or len(node.tops) != 1:
            return
        affine = node.layer.affine(self.arrays.get(index, []), node.bottom_shapes)
        if isinstance(affine, str):
            why = affine
        else:
            why = self._behind(index, affine)
            before = self._before(index, affine) if why else ""
            why = f"{why}; {before}" if before else ""
        if why:
            self.result.left.append((node.name, node.type, why))

    def _behind(self, index: int, affine: Affine) -> str:
        """Into the layer that makes its bottom; why not, or ""."""
        below = self.reads[index][0]
        if below == NOWHERE or self.nodes[below[0]].layer.is_source:
            return f'its bottom "{self.names[index][0][0]}" is an input'
        maker = below[0]
        if why := self._keeps_its_name(below, index) or self._cannot_take(maker):
            return why
        arrays = self.nodes[maker].layer.with_affine_behind(
            self.arrays.get(maker, []), affine, self.nodes[maker].top_shapes[below[1]]
        )
        if isinstance(arrays, str):
            return f'"{self.nodes[maker].name}" before it: {arrays}'
        self._take(index, maker, arrays)
        self._remove(index, below, [], (below, self.names[index][1][0]))
        return ""

    def _before(self, index: int, affine: Affine) -> str:
        """Into the layer that reads its top; why not, or ""."""
        readers, name = self._readers((index, 0)), self.names[index][1][0]
        if len(readers) != 1:
            return f'"{name}" is {"read by several layers" if readers else "an output"}'
        if readers[0][1] != 0:
            return f'"{name}" is not what "{self.nodes[readers[0][0]].name}" works on'
        if name in self.keep:
            return f'"{name}" is asked for'
        reader = readers[0][0]
        if why := self._cannot_take(reader):
            return why
        arrays = self.nodes[reader].layer.with_affine_before(
            self.arrays.get(reader, []), affine, self.nodes[reader].bottom_shapes[0]
        )
        if isinstance(arrays, str):
            return f'"{self.nodes[reader].name}" behind it: {arrays}'
        below, bottom = self.reads[index][0], self.names[index][0][0]
        self._take(index, reader, arrays)
        self._remove(index, below, [(reader, 0, bottom)])
        return ""

    def _cannot_take(self, index: int) -> str:
        node = self.nodes[index]
        if index in self.shared:
            return f'the weights of "{node.name}" are shared'
        if len(node.tops) > 1 or len(node.bottoms) > 1:
            return f'"{node.name}" has several bottoms or tops'
        return ""

    def _take(self, index: int, into: int, arrays: list[Any]) -> None:
        if len(arrays) > len(self.arrays[into]):
            self.nodes[into].layer.set_bias(self.params[into])
        self.arrays[into] = arrays
        node = self.nodes[index]
        self.result.folded.append((node.name, node.type, self.nodes[into].name))

    # -- names ---------------------------------------------------------------------------------------------------------

    def _readers(self, top: Top) -> list[tuple[int, int]]:
        return [(index, place) for index in self.names for place, read in enumerate(self.reads[index]) if read == top]

    def _remove(
        self,
        index: int,
        below: Top,
        bottoms: Sequence[tuple[int, int, str]],
        top: tuple[Top, str] | None = None,
    ) -> None:
        """Take a layer out, and give bottoms of its readers, and the top below, other names."""
        for reader, place in self._readers((index, 0)):
            self.reads[reader] = _put(self.reads[reader], place, below)
        del self.names[index], self.reads[index]
        for reader, place, name in bottoms:
            self.names[reader] = (_put(self.names[reader][0], place, name), self.names[reader][1])
        if top is not None:
            (maker, place), name = top
            self.names[maker] = (self.names[maker][0], _put(self.names[maker][1], place, name))

    def _check(self) -> None:
        """The names say that each layer reads what it read, and the outputs have their names."""
        numbers = list(self.names)
        found, _ = resolve(self.names.values())
        flow = [[_numbered(read, numbers) for read in tops] for tops in found]
        used = {top for tops in flow for top in tops}
        made = ((index, place, name) for index, (_, tops) in self.names.items() for place, name in enumerate(tops))
        assert flow == [list(self.reads[number]) for number in numbers]
        assert {name for index, place, name in made if (index, place) not in used} == set(self.graph.outputs)


def _numbered(top: Top, numbers: Sequence[int]) -> Top:
    return top if top == NOWHERE else (numbers[top[0]], top[1])


def _put(items: Sequence[Any], place: int, item: Any) -> list[Any]:
    return [*items[:place], item, *items[place + 1 :]]


def _wanted_copies(graph: Graph, keep: Collection[str]) -> set[int]:
    """The Splits of which a top is an output, or asked for: it would have no name without them."""
    _, last = resolve((node.bottoms, node.tops) for node in graph.nodes)
    makers = {last[name][0] for name in (*graph.outputs, *keep) if name in last}
    return {index for index in makers if graph.nodes[index].layer.copies_bottom}


def _shared(graph: Graph, nodes: Sequence[Node]) -> set[int]:
    """The layers that have a parameter in common with another one, or with another graph by its name."""
    uses = readers_of([[ref.owner for ref in node.params] for node in graph.nodes])
    return {index for index, node in enumerate(nodes) if any(len(uses[ref.owner]) > 1 for ref in node.params)}


def _copied(param: Any) -> Any:
    copy = type(param)()
    copy.CopyFrom(param)
    copy.ClearField("blobs")
    return copy


def _with_layers(graph: Graph, params: Any) -> Any:
    """The net with these layers; they have the phase of the whole, so no layer says one."""
    net = type(graph.header)()
    net.CopyFrom(graph.header)
    del net.layer[:]
    net.layer.extend(params)
    for layer in net.layer:
        for name in ("include", "exclude"):
            layer.ClearField(name)
    return net
