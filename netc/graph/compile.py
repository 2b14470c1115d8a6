"""The compiler: from a net to its checked graph.

    source ─draft_net→ Draft ─filter_net→ Layers ─insert_splits→ Layers ─build→ Graph ─verify→ Graph

Each stage is a function in a file of its own, and changes nothing that it is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netc.errors.foreign import allowing
from netc.graph.build import build
from netc.graph.filter import Layers, filter_net, phase_number, state_of
from netc.graph.ir import Graph
from netc.graph.read import NetSource, draft_net, meant
from netc.graph.splits import insert_splits
from netc.graph.verify import verify
from netc.layers.base import Probe
from netc.prototxt.draft import Draft


def compile_net(
    source: NetSource,
    phase: int | str = "TRAIN",
    level: int = 0,
    stages: Iterable[str] = (),
    probe: Probe | None = None,
    allow_python_layers: Iterable[str] = (),
) -> Graph:
    """Compile a net for one phase.

    >>> graph = netc.compile_net("mini_vgg_A", "TEST")
    >>> graph.shapes["prob"]
    (1, 10)

    `source`: a path, prototxt text or NetParameter (not changed); the name of a net that comes with netc or a folder is
    its train_val.prototxt, in the TEST phase its deploy.prototxt. `probe(layer_param, phase)` gives the top shapes of
    data layers; without it they are taken from crop_size. `allow_python_layers`: the modules whose Python layers may
    run, which they do to tell their shapes. Raises NetcError; NetcErrors where there are several.
    """
    with allowing(allow_python_layers):
        draft = draft_net(of_phase(source, phase))
        return compile_draft(draft, state_of(draft, phase_number(phase), level, stages), probe)


def of_phase(source: NetSource, phase: int | str) -> NetSource:
    """The source that is meant: of what comes with netc the net of training, or that for use."""
    return meant(source, "train_val.prototxt" if phase_number(phase) == 0 else "deploy.prototxt")


def compile_draft(draft: Draft, state: Any, probe: Probe | None = None) -> Graph:
    """Compile a net for a NetState, which tells its phase, level and stages."""
    return compile_layers(filter_net(draft, state), probe)


def compile_layers(layers: Layers, probe: Probe | None = None) -> Graph:
    """Compile the layers of one state."""
    layers = insert_splits(layers)
    graph = build(layers, probe)
    return verify(graph)
