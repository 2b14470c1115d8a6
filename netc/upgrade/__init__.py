"""Older formats → the current one, by upgrades in Caffe's order (upgrade_proto.cpp), each of which rewrites one copy.

    V0       2013         layers { layer { name: type: "conv" … } bottom: top: }, padding as a layer of its own
    V1       2013-2014    layers { name: type: CONVOLUTION bottom: top: blobs_lr: … }
    current  since 2015   layer { name: type: "Convolution" bottom: top: param { lr_mult: … } … }

After an upgrade the layers' origins still find the places
of the old file (`netc.upgrade.places`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netc.prototxt.draft import Draft
from netc.upgrade.batch_norm import freeze_batch_norm, has_trained_statistics
from netc.upgrade.inputs import inputs_to_layer
from netc.upgrade.intel_pooling import clip_intels_windows, has_intels_windows
from netc.upgrade.mixed import begin
from netc.upgrade.padding import fold_padding
from netc.upgrade.solver import SOLVER_TYPES, upgrade_solver
from netc.upgrade.transform import move_transform_fields
from netc.upgrade.v0 import v0_to_v1
from netc.upgrade.v1 import v1_to_current

__all__ = ["SOLVER_TYPES", "STAGES", "upgrade_net", "upgrade_solver"]

STAGES: tuple[Callable[[Draft], None], ...] = (
    begin,
    fold_padding,
    v0_to_v1,
    move_transform_fields,
    v1_to_current,
    inputs_to_layer,
    freeze_batch_norm,
    clip_intels_windows,
)


def upgrade_net(given: Draft) -> Draft:
    """The same net in the current format: `given` stays as it is, and its message is taken over if there is nothing to
    do.

    Raises NetcError U101 (`layer` beside `layers`), U103 (input fields that do not fit together), U111 (V0 beside V1),
    U112 (a V0 type that Caffe does not know), U113 (padding that cannot be folded), G402 (a bottom of a V0 net that
    nothing produces).
    """
    draft = replace(given, original=given.param, origins=list(given.origins), remarks=list(given.remarks))
    old = given.param.layers or given.param.input or any(map(has_trained_statistics, given.param.layer))
    if old or has_intels_windows(given.param):
        draft.param = type(given.param)()
        draft.param.CopyFrom(given.param)
        for stage in STAGES:
            stage(draft)
    return draft
