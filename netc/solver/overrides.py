"""Settings that a solver gives layers in place of those in its nets (`override_param`), so that solvers share a net.

They are laid over the net before it is compiled; the file is as it was. Each must fit the training net; the test nets
get the same as far as they have the layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from netc.errors import NetcError, Place, did_you_mean
from netc.errors.origin import Origin
from netc.graph.ir import Graph
from netc.layers import registry
from netc.prototxt.draft import Draft


@dataclass(frozen=True, slots=True)
class Override:
    """One `override_param` block and where it stands."""

    param: Any
    origin: Callable[[str], Place | None]

    def names(self, layer: str) -> bool:
        return any(_pattern(name).fullmatch(layer) for name in self.param.layer)


def overrides(param: Any, origin: Origin | None) -> list[Override]:
    """Those of a solver."""

    def finder(number: int) -> Callable[[str], Place | None]:
        start = f"override_param[{number}]"
        return lambda field: origin.place(f"{start}.{field}" if field else start) if origin is not None else None

    return [Override(block, finder(number)) for number, block in enumerate(param.override_param)]


def overridden(draft: Draft, blocks: Iterable[Override], strict: bool = True) -> Draft:
    """The draft with a solver's settings laid over it; itself where there are none.

    Raises NetcError R710 for a block that sets nothing; where `strict`, also for one that names no layer of the net, or
    sets what none of its layers has.
    """
    for block in blocks:
        draft = _laid_over(draft, block, strict)
    return draft


def check_overridden(graph: Graph, blocks: Iterable[Override]) -> None:
    """Raise NetcError R711 where an lr_mult has not reached every parameter of a layer: one without a `param` block."""
    for block in blocks:
        for node in graph.nodes if block.param.HasField("lr_mult") else ():
            short = len(node.params) - len(node.layer.param.param)
            if block.names(node.name) and short > 0 and not all(ref.blob.frozen for ref in node.params):
                message = f'layer "{node.name}" has {len(node.params)} parameters, but {len(node.layer.param.param)} '
                message += "param blocks, whose lr_mult the solver could set"
                hint = "write a block for each in the net: param { lr_mult: 1 } param { lr_mult: 1 }"
                raise NetcError("R711", message, block.origin("lr_mult"), hint)


def _laid_over(draft: Draft, block: Override, strict: bool) -> Draft:
    net = type(draft.param)()
    net.CopyFrom(draft.param)
    named = [layer for layer in net.layer if block.names(layer.name)]
    if strict and not named:
        raise _unknown(block, [layer.name for layer in net.layer])
    settings = [name for name in _SET if block.param.HasField(name)]
    if not settings:
        message = "override_param sets nothing"
        raise NetcError("R710", message, block.origin(""), f"it may set {', '.join(_SET)}")
    for name in settings:
        reached = [_SET[name](layer, getattr(block.param, name)) for layer in named]
        if strict and not any(reached):
            listed = ", ".join(dict.fromkeys(f"{layer.name} ({layer.type})" for layer in named))
            raise NetcError("R710", f"none of these layers has a {name}: {listed}", block.origin(name))
    return replace(draft, param=net)


def _unknown(block: Override, known: list[str]) -> NetcError:
    wanted = ", ".join(block.param.layer)
    if not wanted:
        return NetcError("R710", "override_param names no layer", block.origin(""), 'add layer: "NAME"')
    message = f'the net has no layer "{wanted}"{did_you_mean(wanted, known)}'
    return NetcError("R710", message, block.origin("layer"), "a * stands for any characters")


def _lr_mult(layer: Any, value: float) -> bool:
    for spec in layer.param:
        spec.lr_mult = value
    return bool(layer.param)


def _weight_filler(layer: Any, filler: Any) -> bool:
    cls = registry().get(layer.type)
    block = getattr(layer, cls.param_field) if cls and cls.param_field else layer
    if "weight_filler" not in block.DESCRIPTOR.fields_by_name:
        return False
    block.weight_filler.CopyFrom(filler)
    return True


def _rescale_param(layer: Any, value: Any) -> bool:
    cls = registry().get(layer.type)
    if cls is None or "transform_param" not in cls.also_reads:
        return False
    layer.transform_param.rescale_param.CopyFrom(value)
    return True


_SET: dict[str, Callable[[Any, Any], bool]] = {
    "lr_mult": _lr_mult,
    "weight_filler": _weight_filler,
    "rescale_param": _rescale_param,
}
"""Setting → what lays it over a layer; False where the layer has no such setting."""


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in name.split("*")))
