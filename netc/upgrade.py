"""Older formats → the current one: each upgrade is a function on a draft, in Caffe's order (upgrade_proto.cpp)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netc.draft import Draft
from netc.errors import NetcError, Place
from netc.layers.base import Origin

SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
"""Names of the old enum SolverType, by number."""


def upgrade_net(draft: Draft) -> Draft:
    """The same net in the current format. Raises NetcError U101 (mixed formats), U102 (V0/V1), U103 (input fields)."""
    for stage in UPGRADES:
        stage(draft)
    return draft


def _layers(draft: Draft) -> None:
    """`layers { … }` is the V1 (or V0) format of 2013-2014."""
    if not draft.param.layers:
        return
    if draft.param.layer:
        raise draft.fail(
            "U101",
            'the file has both "layer" (current) and "layers" (before 2015) blocks',
            "layers",
            "use one of the two; Caffe refuses mixed files because it would drop one kind silently",
        )
    raise draft.fail(
        "U102",
        'the file is in the old format ("layers" blocks), which this version does not read yet',
        "layers",
        "`upgrade_net_proto_text` of any Caffe rewrites it in the current format",
    )


def _inputs(draft: Draft) -> None:
    """`input:` with `input_dim:` or `input_shape {}` → one Input layer named "input", first in the net."""
    param = draft.param
    names, shapes, dims = list(param.input), list(param.input_shape), list(param.input_dim)
    if not names:
        return
    if shapes and dims:
        raise draft.fail("U103", 'give "input_shape" or "input_dim", not both', "input_dim")
    if not shapes and dims:
        if len(dims) != 4 * len(names):
            raise draft.fail(
                "U103",
                f"input_dim takes 4 values for each input: {4 * len(names)} for {len(names)}, found {len(dims)}",
                "input_dim",
                "or give the shape as `input_shape { dim: … }`, with any number of dims",
            )
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
    elif shapes:
        if len(shapes) != len(names):
            raise draft.fail("U103", f"{len(names)} inputs but {len(shapes)} input_shape blocks", "input_shape")
        shapes = [list(shape.dim) for shape in shapes]
    place = draft.place("input")
    for name in ("input", "input_shape", "input_dim"):
        param.ClearField(name)
    if shapes:  # an input without dims is dropped, as Caffe does
        _insert_input_layer(draft, names, shapes, place)


def _insert_input_layer(draft: Draft, names: list[str], shapes: list[list[int]], place: Place) -> None:
    layers = [type(layer).FromString(layer.SerializeToString()) for layer in draft.param.layer]
    del draft.param.layer[:]
    first = draft.param.layer.add(name="input", type="Input", top=names)
    for dims in shapes:
        first.input_param.shape.add(dim=dims)
    draft.param.layer.extend(layers)
    draft.origins.insert(0, Origin(place))


def _batch_norm(draft: Draft) -> None:
    """A BatchNorm with exactly three param blocks gets lr_mult 0 and decay_mult 0 in each (its blobs are sums)."""
    for layer in draft.param.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0.0


UPGRADES: tuple[Callable[[Draft], None], ...] = (_layers, _inputs, _batch_norm)


def upgrade_solver(param: Any, place: Callable[[str], Place]) -> Any:
    """SolverParameter with the old enum `solver_type` → `type`. Raises NetcError U110 where both are given."""
    if not param.HasField("solver_type"):
        return param
    if param.HasField("type"):
        raise NetcError(
            "U110", 'give "type" or the old "solver_type", not both', place("solver_type"), "remove solver_type"
        )
    param.type = SOLVER_TYPES[param.solver_type]
    param.ClearField("solver_type")
    return param
