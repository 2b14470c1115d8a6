"""NetParameter → ir.Graph: arity, shapes, in-place tops, shared parameters, loss weights, where gradients flow.

What Net::Init does, with every problem reported (not the first only) and its place named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from netc.errors import Findings, NetcError, counted, did_you_mean, raise_all
from netc.errors.foreign import failure
from netc.errors.origin import Origin
from netc.files.consent import is_unread
from netc.graph.backward import mark_backward
from netc.graph.filter import Layers
from netc.graph.ir import AUTOMATIC, Graph, Node, ParamRef
from netc.layers import registry
from netc.layers.base import MAX_AXES, MAX_COUNT, Layer, ParamBlob, Probe, Shape, count, format_shape
from netc.prototxt.forks import FORK_OF_TYPE

PERMISSIVE = 1


def build(layers: Layers, probe: Probe | None = None) -> Graph:
    """The graph of a phase's layers, splits inserted. Raises NetcError(s) of the codes G4xx and L3xx."""
    builder = _Builder(layers, probe)
    for param, origin in zip(layers.params, layers.origins, strict=True):
        try:
            builder.add(param, origin)
        except NetcError as error:
            builder.errors.add(error)
            builder.give_up(param)
    raise_all(builder.errors)
    graph = builder.graph()
    mark_backward(graph)
    return graph


MULTIPLIERS = ("lr_mult", "decay_mult")


class _Builder:
    def __init__(self, layers: Layers, probe: Probe | None) -> None:
        self.draft, self.state, self.probe = layers.draft, layers.state, probe
        self.unread = is_unread(layers.draft.path)
        self.errors = Findings()
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape | None] = {}
        self.producers: dict[str, tuple[Layer, int]] = {}
        self.available: dict[str, None] = {}
        self.names: Counter[str] = Counter()
        self.owners: dict[str, tuple[int, int]] = {}
        self.said: dict[tuple[int, int], set[str]] = {}
        """Which multipliers of a shared parameter a layer above has given."""

    def add(self, param: Any, origin: Origin) -> None:
        layer = self._make(param, origin)
        bottoms, tops = tuple(param.bottom[:]), tuple(param.top[:])  # slices: protobuf's own iteration is slow
        _check_arity(layer, len(bottoms), len(tops))
        shapes = [self._consume(blob) for blob in bottoms]
        tops = _with_automatic(layer, tops)
        self._check_tops(layer, bottoms, tops)
        if any(shape is None for shape in shapes):  # a layer above failed: its error is reported already
            self.give_up(param)
            return
        known = [shape for shape in shapes if shape is not None]
        result = _set_up(layer, known)
        layer.check_net(self.draft.param, known)
        self._check_shapes(layer, result, tops)
        node = Node(layer, bottoms, tops, tuple(known), tuple(result))
        node.loss_weights = self._loss_weights(layer, len(tops))
        self.nodes.append(node)
        self._add_params(node, len(self.nodes) - 1)
        self._produce(layer, tops, result)

    def give_up(self, param: Any) -> None:
        """Note the tops of a layer that could not be built, so that the layers below it are not blamed for it."""
        for blob in param.top:
            self.shapes[blob] = None
            self.available[blob] = None

    def graph(self) -> Graph:
        inputs = tuple(top for node in self.nodes if node.layer.is_input for top in node.tops)
        shapes = {name: shape for name, shape in self.shapes.items() if shape is not None}
        return Graph(
            self.draft.param.name,
            self.state,
            self.nodes,
            shapes,
            inputs,
            tuple(sorted(self.available)),
            self.draft.param,
            self.draft.path,
        )

    # -- one layer -----------------------------------------------------------------------------------------------------

    def _make(self, param: Any, origin: Origin) -> Layer:
        types = registry()
        if param.type not in types:
            raise _unknown_type(param, origin, list(types))
        phase = param.phase if param.HasField("phase") else self.state.phase
        layer = types[param.type](param, phase, origin, self.probe)
        if self.unread:
            layer.effect = False
        layer.repeat = self.names[layer.name]
        self.names[layer.name] += 1
        return layer

    def _consume(self, blob: str) -> Shape | None:
        self.available.pop(blob, None)
        return self.shapes[blob]

    def _check_tops(self, layer: Layer, bottoms: Sequence[str], tops: Sequence[str]) -> None:
        mine: set[str] = set()
        for position, blob in enumerate(tops):
            if blob == AUTOMATIC:
                continue
            in_place = position < len(bottoms) and bottoms[position] == blob
            if in_place and not layer.in_place:
                layer.fail("cannot work in place", f"top[{position}]", "give the top a name of its own", code="G404")
            if not in_place and (blob in self.producers or blob in mine):
                self._two_producers(layer, position, blob)
            mine.add(blob)

    def _two_producers(self, layer: Layer, position: int, blob: str) -> None:
        first, at = self.producers.get(blob, (layer, 0))
        name, place = first.name, first.origin.place(f"top[{at}]")
        hint = "give one of the two another name"
        mine = [i for i, b in enumerate(layer.param.bottom) if blob in (b, b.partition(f"_{name}_")[0])]
        if position in mine:
            hint = f'"{blob}" is read by another layer before this one overwrites it; name this top differently'
        elif mine:
            hint = (
                f"to work in place, the blob must be bottom {position} as it is top {position}; it is bottom {mine[0]}"
            )
        raise NetcError(
            "G403",
            f'layer "{layer.name}": the blob "{blob}" is produced twice',
            layer.origin.place(f"top[{position}]"),
            hint,
            [(place, f'layer "{name}" produces it here')],
        )

    def _check_shapes(self, layer: Layer, shapes: Sequence[Shape], tops: Sequence[str]) -> None:
        if len(shapes) != len(tops):
            layer.fail(
                f"makes {counted(len(shapes), 'top')} with these settings, found {len(tops)}", "top", code="G405"
            )
        for shape, blob in zip(shapes, tops, strict=True):
            _check_shape(layer, shape, f'top "{blob}"')
        for param in layer.blobs:
            _check_shape(layer, param.shape, param.name)

    def _loss_weights(self, layer: Layer, tops: int) -> tuple[float, ...]:
        weights = tuple(layer.param.loss_weight[:])
        if weights and len(weights) != tops:
            layer.fail(
                f"{counted(len(weights), 'loss_weight')} for {counted(tops, 'top')}",
                "loss_weight",
                "give one for each top, or none",
                code="G406",
            )
        if not weights and layer.is_loss:
            weights = (1.0,) + (0.0,) * (tops - 1)
        return weights or (0.0,) * tops

    def _produce(self, layer: Layer, tops: Sequence[str], shapes: Sequence[Shape]) -> None:
        for position, (blob, shape) in enumerate(zip(tops, shapes, strict=True)):
            if blob == AUTOMATIC:
                continue
            self.shapes[blob] = shape
            self.available[blob] = None
            self.producers[blob] = (layer, position)

    # -- parameters ----------------------------------------------------------------------------------------------------

    def _add_params(self, node: Node, index: int) -> None:
        layer, specs = node.layer, node.layer.param.param[:]
        if len(specs) > len(layer.blobs):
            layer.fail(
                f"{counted(len(specs), 'param block')} for {counted(len(layer.blobs), 'parameter')} "
                f"({', '.join(blob.name for blob in layer.blobs) or 'this type has none'})",
                f"param[{len(layer.blobs)}]",
                "take this block away",
                code="G407",
            )
        for position, blob in enumerate(layer.blobs):  # one by one: a layer may share with itself
            spec = specs[position] if position < len(specs) else None
            node.params.append(self._param(layer, blob, spec, (index, position)))

    def _param(self, layer: Layer, blob: ParamBlob, spec: Any, here: tuple[int, int]) -> ParamRef:
        ref = ParamRef(blob, here)
        if spec is not None:
            ref.lr_mult, ref.decay_mult = spec.lr_mult, spec.decay_mult
        if blob.multipliers is not None:
            ref.lr_mult, ref.decay_mult = blob.multipliers
        elif blob.frozen:  # it still decays, as in Caffe, which shows in the histories of the adaptive rules
            ref.lr_mult = 0.0
        if spec is None or not spec.name:
            return ref
        ref.owner = self.owners.setdefault(spec.name, here)
        said = self.said.setdefault(ref.owner, set())
        if ref.owner != here:
            self._share(layer, ref, spec, here[1], said)
        said.update(name for name in MULTIPLIERS if spec.HasField(name))
        return ref

    def _share(self, layer: Layer, ref: ParamRef, spec: Any, position: int, said: set[str]) -> None:
        owner_node = self.nodes[ref.owner[0]]
        owner = owner_node.params[ref.owner[1]]
        permissive = spec.share_mode == PERMISSIVE
        mine, theirs = ref.blob.shape, owner.blob.shape
        if count(mine) != count(theirs) if permissive else mine != theirs:
            raise NetcError(
                "G408",
                f'layer "{layer.name}" cannot share "{spec.name}": its own shape is {format_shape(mine)}, '
                f"the owner's {format_shape(theirs)}",
                layer.origin.place(f"param[{position}].name"),
                None if permissive or count(mine) != count(theirs) else "`share_mode: PERMISSIVE` allows another shape",
                [(owner_node.layer.origin.place(f"param[{ref.owner[1]}].name"), f'owned by layer "{owner_node.name}"')],
            )
        for name in MULTIPLIERS if ref.blob.multipliers is None else ():
            value = getattr(spec, name) if spec.HasField(name) else getattr(owner, name)
            if spec.HasField(name) and name in said and value != getattr(owner, name):
                layer.fail(
                    f'shares "{spec.name}" with layer "{owner_node.name}" but gives {name} {value:g} where that has '
                    f"{getattr(owner, name):g}",
                    f"param[{position}].{name}",
                    "give the same value, or none",
                    code="G409",
                )
            setattr(ref, name, value)
            setattr(owner, name, value)


def _set_up(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    try:
        return [tuple(shape) for shape in layer.setup(bottoms)]
    except NetcError:
        raise
    except Exception as error:
        if layer.plugin is None:
            raise
        what = f'layer "{layer.name}" ({layer.type}, of a plug-in): its setup fails'
        raise failure("L334", what, error, layer.plugin, layer.origin.place()) from error


def _unknown_type(param: Any, origin: Origin, types: list[str]) -> NetcError:
    if not param.type:
        return NetcError("G410", f'layer "{param.name}" has no type', origin.place(), 'add `type: "…"`')
    if (fork := FORK_OF_TYPE.get(param.type)) is not None:
        return NetcError(
            "G410",
            f'layer "{param.name}": "{param.type}" is a layer of {fork}, which netc does not have',
            origin.place("type"),
            "a plug-in can add it (docs/plugins.md)",
        )
    return NetcError(
        "G410",
        f'layer "{param.name}": unknown layer type "{param.type}"{did_you_mean(param.type, types)}',
        origin.place("type"),
        None if did_you_mean(param.type, types) else "known types: " + ", ".join(sorted(types)),
    )


def _with_automatic(layer: Layer, tops: tuple[str, ...]) -> tuple[str, ...]:
    """The tops; a loss without one gets Caffe's automatic top."""
    missing = layer.tops.low - len(tops)
    return tops + (AUTOMATIC,) * missing if layer.is_loss and missing > 0 else tops


def _check_arity(layer: Layer, bottoms: int, tops: int) -> None:
    for kind, arity, found in (("bottom", layer.bottoms, bottoms), ("top", layer.tops, tops)):
        automatic = kind == "top" and layer.is_loss and found < arity.low
        if not arity.accepts(found) and not automatic:
            layer.fail(
                f"takes {arity} {kind}{'' if str(arity).endswith(' 1') else 's'}, found {found}",
                f"{kind}[{max(found - 1, 0)}]",
                code="G411",
            )
    if layer.same_count and bottoms != tops:
        layer.fail(
            f"makes one top for each bottom: found {counted(bottoms, 'bottom')}, {counted(tops, 'top')}",
            "top",
            code="G411",
        )
    down = len(layer.param.propagate_down)
    if down not in (0, bottoms):
        layer.fail(
            f"{down} propagate_down for {counted(bottoms, 'bottom')}",
            "propagate_down",
            "give it for every bottom, or not at all",
            code="G412",
        )


def _check_shape(layer: Layer, shape: Shape, what: str) -> None:
    if len(shape) <= MAX_AXES and min(shape, default=1) > 0 and count(shape) <= MAX_COUNT:
        return
    field = f"{layer.param_field}.shape"
    if len(shape) > MAX_AXES:
        layer.fail(f"{what} has {len(shape)} axes; at most {MAX_AXES} are allowed", field)
    if any(size < 0 for size in shape):
        layer.fail(f"{what} would have the shape {format_shape(shape)}", field)
    if count(shape) > MAX_COUNT:
        layer.fail(
            f"{what} of {format_shape(shape)} has {count(shape):,} values; Caffe's limit is {MAX_COUNT:,}", field
        )
    layer.fail(f"{what} would be empty: its shape is {format_shape(shape)}", field)
