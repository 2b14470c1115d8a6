"""`input:` with `input_shape {}` or `input_dim:` → one layer of type Input named "input", first in the net."""

from __future__ import annotations

import re
from collections.abc import Callable

from netc import proto
from netc.errors import Place
from netc.errors.origin import Origin
from netc.prototxt.draft import Draft

_SHAPE = re.compile(r"input_param\.shape\[(\d+)\](?:\.dim(?:\[(\d+)\])?)?")


def inputs_to_layer(draft: Draft) -> None:
    """Inputs without a shape are dropped, as in Caffe; of `input_shape` and `input_dim` the first counts.

    Raises NetcError U103 where an input has no shape though others have one: Caffe reads past the end of its list.
    """
    param = draft.param
    if not param.input:
        return
    names, shapes = list(param.input), _shapes(draft)
    origin = Origin(draft.place("input"), _locate(draft, by_dims=not param.input_shape))
    for name in ("input", "input_shape", "input_dim"):
        param.ClearField(name)
    if shapes:
        _insert(draft, names, shapes, origin)


def _shapes(draft: Draft) -> list[list[int]]:
    param, count = draft.param, len(draft.param.input)
    if param.input_shape:
        found = [list(shape.dim) for shape in param.input_shape]
        if len(found) < count:
            raise draft.fail("U103", f"{count} inputs but {len(found)} input_shape blocks", "input_shape")
        if param.input_dim:
            hint = "keep one of the two"
            draft.remark("A880", '"input_dim" has no effect beside "input_shape"', draft.place("input_dim"), hint)
    else:
        dims = list(param.input_dim)
        if dims and len(dims) < 4 * count:
            raise draft.fail(
                "U103",
                f"input_dim takes 4 values for each input: {4 * count} for {count}, found {len(dims)}",
                "input_dim",
                "or give the shape as `input_shape { dim: … }`, with any number of dims",
            )
        found = [dims[i : i + 4] for i in range(0, len(dims), 4)]
    if len(found) > count:
        what = f"input_shape[{count}]" if param.input_shape else f"input_dim[{4 * count}]"
        message = f"{len(found)} input shapes for {count} inputs: those without an input have no effect"
        draft.remark("A880", message, draft.place(what), "name the input they belong to, or delete them")
    return found[:count]


def _insert(draft: Draft, names: list[str], shapes: list[list[int]], origin: Origin) -> None:
    first = proto.LayerParameter(name="input", type="Input", top=names)
    for dims in shapes:
        first.input_param.shape.add(dim=dims)
    draft.param.layer.insert(0, first)
    draft.origins.insert(0, origin)


def _locate(draft: Draft, by_dims: bool) -> Callable[[str], Place | None]:
    """Finds the fields of the Input layer among the net's own."""
    find = draft.find

    def locate(path: str) -> Place | None:
        if path.startswith("top"):
            return find(path.replace("top", "input", 1))
        if (shape := _SHAPE.fullmatch(path)) is None:
            return None
        if by_dims:
            return find(f"input_dim[{4 * int(shape[1]) + int(shape[2] or 0)}]")
        return find(path.replace("input_param.shape", "input_shape", 1))

    return locate
