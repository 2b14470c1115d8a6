"""A net made ready to be run by others: no data, no labels, the outputs are its scores.

What the net is shows in the flow of its data. Losses, accuracies and layers that write files go. What they read as
predictions are outputs now; what only they read besides (labels, weights of samples) goes with them. Of the data
layers, the tops that the outputs need become inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netc import proto
from netc.errors.origin import Origin
from netc.graph.edges import NOWHERE, Top, readers_of, resolve
from netc.graph.filter import Layers, filter_net, state_of
from netc.layers import Layer, registry
from netc.layers.base import Shape
from netc.layers.input import Input
from netc.layers.sources import FILLERS
from netc.prototxt.draft import Draft

Shapes = Callable[[Layer], Sequence[Shape | None]]
"""A layer that brings data → the shapes of its tops, None for those that nothing tells."""


@dataclass(slots=True)
class Deployed:
    """The layers that are left. `unknown`: inputs whose shape nothing tells; with any, the layers cannot be compiled.

    `dropped`: (name, type) of the layers that are gone, data layers not among them. `unread`: tops of data layers that
    are no inputs. `fed`: the inputs whose shapes were asked for: those that a data layer made, or without a shape.
    """

    layers: Layers
    unknown: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    fed: list[str] = field(default_factory=list)


def state_layers(draft: Draft, phase: int, level: int = 0, stages: Iterable[str] = ()) -> Layers:
    """The layers of a state, and the data layers of the other phase that these read: a file that training wrote has no
    others, and an input is the same for both. Raises NetcError as `filter_net`."""
    params = draft.param.layer[:]
    layers = filter_net(draft, state_of(draft, phase, level, stages))
    made = {top for param in layers.params for top in param.top}
    missing = {blob for param in layers.params for blob in param.bottom} - made
    if not missing:
        return layers
    stays = {id(param) for param in layers.params}
    for param in filter_net(draft, state_of(draft, 1 - phase, level, stages)).params:
        if not missing.isdisjoint(param.top) and registry().get(param.type, Layer)(param, phase).brings_data():
            stays.add(id(param))
    return replace(layers, params=params, origins=draft.origins).keep([id(param) in stays for param in params])


def deployed(
    layers: Layers, learned: Collection[str], shapes: Shapes, own_phases: bool = True, judged: bool = True
) -> Deployed:
    """The layers of a state without those that only training and testing need. Nothing that is given is changed.

    A net without data layers keeps all but the layers that write files: its Input layers say what it is. With `judged`
    False its losses and accuracies go as well, and the inputs that only they read.
    `learned`: names of the layers with parameters. `own_phases`: whether a layer may have a phase of its own; the files
    that training writes say TRAIN in each.
    """
    params = [_copied(param, own_phases) for param in layers.params]
    flow = _Flow(params, layers.state.phase, learned, judged)
    fed = flow.fed()
    if fed:  # the copies that compiling needs are other ones now
        params = without_copies(params)
        origins = [origin for node, origin in zip(flow.nodes, layers.origins, strict=True) if not node.copies_bottom]
        flow = _Flow(params, layers.state.phase, learned, judged)
        fed = flow.fed()
    else:
        origins = layers.origins
    kept, tops = flow.needed(fed) if flow.has_data() else (flow.without_effects(fed), flow.tops_of(fed))
    result = Deployed(replace(layers, params=[], origins=[]))
    for index, (node, origin) in enumerate(zip(flow.nodes, origins, strict=True)):
        if index in fed:
            needed = {place for source, place in tops if source == index}
            constants = flow.constants(index)
            found = _own_shapes(node) or shapes(node) if needed else [None] * len(node.param.top)
            _add_inputs(result, node, origin, needed, found, constants)
        elif index in kept:
            _keep_bottoms(node, [top in kept[index] for top in flow.reads[index]])
            _add(result, node.param, origin)
            if node.is_input and not node.options.shape:
                _set_shapes(result, node, shapes(node))
        else:
            result.dropped.append((node.name, node.type))
    return result


def _copied(param: Any, own_phases: bool) -> Any:
    copy = type(param)()
    copy.CopyFrom(param)
    for name in ("blobs", "include", "exclude", *(() if own_phases else ("phase",))):
        copy.ClearField(name)  # the rules have been followed
    return copy


# -- what stays --------------------------------------------------------------------------------------------------------


class _Flow:
    """Who reads what among the layers of a net, and what of it is learned, computed, or only passed on."""

    def __init__(self, params: Sequence[Any], phase: int, learned: Collection[str], judged: bool) -> None:
        self.nodes = [registry().get(param.type, Layer)(param, phase) for param in params]
        self.has_params = [param.name in learned for param in params]
        self.reads, _ = resolve((param.bottom[:], param.top[:]) for param in params)
        self.readers = {top: [index for index, _ in bottoms] for top, bottoms in readers_of(self.reads).items()}
        self.judges = self._judges()
        self.gone = self._gone()
        self.unjudged = not judged and bool(self.judges)
        """Whether Input layers are taken for data layers, as of their tops those go that only judges read."""

    def fed(self) -> set[int]:
        """The layers that bring data. Fillers that draw anew in each pass do, and any where a net has nothing else."""
        sources = {index for index, node in enumerate(self.nodes) if node.brings_data() and not node.is_input}
        inputs = {index for index, node in enumerate(self.nodes) if node.is_input} if self.unjudged else set()
        return inputs | {index for index in sources if not (_is_constant(self.nodes[index]) and self._is_told(sources))}

    def _is_told(self, sources: Collection[int]) -> bool:
        """Whether anything but fillers gives the net its data."""
        inputs = any(node.is_input for node in self.nodes)
        return inputs or any(self.nodes[index].feed != FILLERS for index in sources)

    def constants(self, index: int) -> dict[int, Any]:
        """Of a layer that brings data, the tops that are the same in every pass, with their fillers."""
        sources = {other for other, node in enumerate(self.nodes) if node.brings_data() and not node.is_input}
        node = self.nodes[index]
        if node.feed != FILLERS or not self._is_told(sources):
            return {}
        fillers = list(node.options.data_filler) or [proto.FillerParameter(type="constant")]
        given = {place: fillers[place % len(fillers)] for place in range(len(node.param.top))}
        return {place: filler for place, filler in given.items() if filler.type == "constant"}

    def has_data(self) -> bool:
        """Whether the net is one for training or testing, and not one whose Input layers say what it is given."""
        fed = self.fed()
        inputs = any(node.is_input for node in self.nodes) and not self.unjudged
        return bool(fed) and not (inputs and all(self.nodes[index].feed == FILLERS for index in fed))

    def without_effects(self, fed: set[int]) -> dict[int, set[Top]]:
        """Every layer that writes no file, with what it reads."""
        nodes = ((index, node) for index, node in enumerate(self.nodes) if index not in fed)
        return {index: set(self.reads[index]) for index, node in nodes if not node.effect}

    def tops_of(self, indices: Iterable[int]) -> set[Top]:
        return {(index, place) for index in indices for place in range(len(self.nodes[index].param.top))}

    def needed(self, fed: set[int]) -> tuple[dict[int, set[Top]], set[Top]]:
        """The layers that the outputs need, with what they still read; the tops of the `fed` layers among that."""
        self._mark(fed)
        outputs = self._outputs()
        wanted = self._closure(outputs)
        raw = {top for top in self.tops() if top in self.passed and top[0] not in fed and self._is_unread(top)}
        wanted |= self._closure({top for top in raw if self.sources[top[0]] <= wanted})
        kept = {index: set(self.reads[index]) for index, _ in wanted if index not in fed}
        kept |= {index: set() for index, node in enumerate(self.nodes) if node.is_input and index not in fed}
        read = set().union(*kept.values())
        idle = {top for top in self.tops_of(kept) if self.readers.get(top)} - read - outputs
        for index in self._sinks():
            if left := set(self.reads[index]) & idle:
                kept[index] = left
        return kept, {top for top in wanted if top[0] in fed}

    def tops(self) -> Iterator[Top]:
        for index, node in enumerate(self.nodes):
            if index not in self.gone:
                yield from ((index, place) for place in range(len(node.param.top)))

    def _judges(self) -> set[int]:
        """Losses and accuracies, by type or by a loss_weight, and layers that write files."""
        return {
            index
            for index, node in enumerate(self.nodes)
            if node.is_loss or node.is_measure or node.effect or self._is_own_loss(index, node)
        }

    def _is_own_loss(self, index: int, node: Layer) -> bool:
        tops = range(len(node.param.top))
        unread = not any(self.readers.get((index, place)) for place in tops)
        return any(node.param.loss_weight) and unread and not self.has_params[index] and bool(node.param.bottom)

    def _gone(self) -> set[int]:
        """The judges, and the layers that need what they make."""
        gone = set(self.judges)
        for index, node in enumerate(self.nodes):
            if node.param.top and any(maker in gone for maker, _ in self.reads[index]):
                gone.add(index)
        return gone

    def _sinks(self) -> set[int]:
        """The layers that make nothing (Silence)."""
        return {index for index, node in enumerate(self.nodes) if not node.param.top and index not in self.gone}

    def _silent(self) -> set[int]:
        """The sinks, and the layers whose tops only these take, or others of these."""
        silent = self._sinks()
        for index in reversed(range(len(self.nodes))):
            readers = [self.readers.get((index, place)) for place in range(len(self.nodes[index].param.top))]
            if readers and all(found and silent.issuperset(found) for found in readers):
                silent.add(index)
        return silent

    def _mark(self, fed: set[int]) -> None:
        """`learned`: layers whose tops depend on parameters. `passed`: tops that are values of sources, as they are.
        `sources`: layer → the fed tops that it depends on."""
        self.learned: set[int] = set()
        self.passed: set[Top] = {NOWHERE}
        self.sources: list[set[Top]] = []
        for index, (node, reads) in enumerate(zip(self.nodes, self.reads, strict=True)):
            below = [top for top in reads if top != NOWHERE]
            self.sources.append({source for top in below for source in self._sources_of(top, fed)})
            if self.has_params[index] or any(maker in self.learned for maker, _ in below):
                self.learned.add(index)
            values = reads[node.passes]
            if node.is_source or node.brings_data() or (values and all(top in self.passed for top in values)):
                self.passed.update((index, place) for place in range(len(node.param.top)))

    def _sources_of(self, top: Top, fed: set[int]) -> set[Top]:
        return {top} if top[0] in fed else self.sources[top[0]]

    def _outputs(self) -> set[Top]:
        """The tops that a net gives once the judges are gone, and what ends in a Silence: all that was computed and
        nothing else needs. Of a net that only has what is silenced, that is what it gives."""
        silent = self._silent()
        ends = self._ends(silent)
        found = {top for top in ends if self._is_unread(top) or not silent.issuperset(self.readers[top])}
        return found or set(self._ends(self._sinks()))

    def _ends(self, silent: set[int]) -> Iterator[Top]:
        """What judges take as predictions, and what is computed, that no layer needs besides the judges and the
        `silent`."""
        predictions = {top for index in self.gone for top in self._predictions(index)}
        for top in self.tops():
            readers = set(self.readers.get(top, [])) - silent
            if readers <= self.gone and (top in predictions if readers else top not in self.passed):
                yield top

    def _predictions(self, index: int) -> Iterable[Top]:
        """Of what a judge reads, that which is judged: what is learned, or else the first that is computed."""
        learned = [top for top in self.reads[index] if top[0] in self.learned]
        return learned or [top for top in self.reads[index] if top not in self.passed][:1]

    def _is_unread(self, top: Top) -> bool:
        return top not in self.readers

    def _closure(self, roots: Iterable[Top]) -> set[Top]:
        """The tops, and all that they are made from."""
        found: set[Top] = set()
        waiting = list(roots)
        while waiting:
            top = waiting.pop()
            if top != NOWHERE and top not in found:
                found.add(top)
                waiting += self.reads[top[0]]
        return found


def _is_constant(node: Layer) -> bool:
    """Whether a source makes its tops, the same in every pass."""
    return node.feed == FILLERS and all(filler.type == "constant" for filler in node.options.data_filler)


# -- the layers anew ---------------------------------------------------------------------------------------------------


def _add(result: Deployed, param: Any, origin: Origin) -> None:
    result.layers.params.append(param)
    result.layers.origins.append(origin)


def _add_inputs(
    result: Deployed,
    node: Layer,
    origin: Origin,
    needed: set[int],
    shapes: Sequence[Shape | None],
    constants: Mapping[int, Any],
) -> None:
    """An Input layer for each top that is needed; one that makes it, for a constant."""
    for place, (top, shape) in enumerate(zip(node.param.top, shapes, strict=True)):
        if place not in needed:
            result.unread.append(top)
            continue
        if place in constants and shape is not None:
            layer = proto.LayerParameter(name=top, type=node.type, top=[top])
            layer.dummy_data_param.shape.add(dim=shape)
            layer.dummy_data_param.data_filler.add().CopyFrom(constants[place])
            _add(result, layer, origin)
            continue
        layer = proto.LayerParameter(name=top, type=Input.type, top=[top])
        result.fed.append(top)
        if shape is None:
            result.unknown.append(top)
        else:
            layer.input_param.shape.add(dim=shape)
        _add(result, layer, origin)


def _own_shapes(node: Layer) -> list[Shape]:
    """Those that an Input layer says of its tops; one may hold for all."""
    given = [tuple(shape.dim) for shape in node.options.shape] if node.is_input else []
    return given * len(node.param.top) if len(given) == 1 else given


def _set_shapes(result: Deployed, node: Layer, shapes: Sequence[Shape | None]) -> None:
    """The shapes of an Input layer that has none of its own."""
    result.fed += node.param.top
    result.unknown += [top for top, shape in zip(node.param.top, shapes, strict=True) if shape is None]
    if None not in shapes:
        for shape in shapes:
            node.param.input_param.shape.add(dim=shape)


def _keep_bottoms(node: Layer, flags: Sequence[bool]) -> None:
    """What a Silence still takes."""
    if not all(flags):
        node.param.bottom[:] = [blob for blob, stays in zip(node.param.bottom[:], flags, strict=True) if stays]


def without_copies(params: Sequence[Any]) -> list[Any]:
    """The layers without Splits, whose readers read what is copied: compiling inserts those that are still needed."""
    nodes: Mapping[str, type[Layer]] = registry()
    copies = {index for index, param in enumerate(params) if nodes.get(param.type, Layer).copies_bottom}
    edges, _ = resolve(((param.bottom[:], param.top[:]) for param in params), copies)
    for param, tops in zip(params, edges, strict=True):
        named = zip(param.bottom[:], tops, strict=True)
        param.bottom[:] = [blob if top == NOWHERE else params[top[0]].top[top[1]] for blob, top in named]
    return [param for index, param in enumerate(params) if index not in copies]
