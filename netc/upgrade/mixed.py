"""One file has one format: `layer`, or `layers`, or `layers` with a `layer` in each."""

from __future__ import annotations

from netc.errors import Findings, NetcError, raise_all
from netc.prototxt.draft import Draft, origins_of_field


def begin(draft: Draft) -> None:
    """Find the places of `layers` blocks; refuse mixtures, of which Caffe would drop one part (or aborts).

    Raises NetcError U101, U111.
    """
    if not draft.param.layers:
        return
    if draft.param.layer:
        raise draft.fail(
            "U101",
            'the file has both "layer" (current) and "layers" (before 2015) blocks',
            "layers",
            "use one of the two; Caffe refuses mixed files because it would drop one kind silently",
        )
    draft.origins = origins_of_field(draft, "layers")
    if is_v0(draft):
        _refuse_mixture(draft)


def is_v0(draft: Draft) -> bool:
    """Whether any of the `layers` is a shell around a V0 layer."""
    return any(layer.HasField("layer") for layer in draft.param.layers)


def _refuse_mixture(draft: Draft) -> None:
    errors = Findings()
    for layer, origin in zip(draft.param.layers, draft.origins, strict=True):
        if not layer.HasField("layer"):
            message = "other `layers` blocks of the file are in the format of 2013 (V0), with a `layer` in them"
            hint = "this block lacks its `layer { name: … type: … }`; Caffe would drop what it says"
            errors.add(NetcError("U111", message, origin.start, hint))
        for name in [field.name for field, _ in layer.ListFields() if field.name not in ("layer", "bottom", "top")]:
            message = f'"{name}" beside a `layer {{ … }}` of the format of 2013 (V0) has no effect; Caffe drops it'
            draft.remark("A880", message, origin.place(name), "move it into the `layer` block, or delete it")
    raise_all(errors)
