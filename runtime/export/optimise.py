"""A net and its weights with what is fixed in TEST folded in, proved and written: `netc optimise`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.errors import NetcError, Place
from netc.files.durable import Staging, refuse_existing
from netc.graph.compile import compile_net
from netc.graph.ir import Graph
from netc.passes.inference import Optimised, optimised
from netc.prototxt.format import canonical
from netc.runtime.export.graphs import net_with, run
from netc.runtime.export.shapes import Axes, Samples
from netc.weights.card import Preprocessing
from netc.weights.chunks import write_chunks
from netc.weights.formats.caffemodel import caffemodel_chunks
from netc.weights.model import Model
from netc.weights.proof import Parity, compared_all, reaches_of

TOLERANCE = 1e-5
"""Largest difference, relative to a blob's largest value: sums in another order over a hundred layers."""

SUFFIXES = (".prototxt", ".caffemodel")


@dataclass(slots=True)
class Made:
    """The two files, what was done, and its proof. `before`, `after`: how many layers the net had and has."""

    net: Path
    weights: Path
    result: Optimised
    parity: Parity
    before: int
    after: int

    def as_dict(self) -> dict[str, Any]:
        result = self.result
        return {
            "net": str(self.net),
            "weights": str(self.weights),
            "layers": {"before": self.before, "after": self.after},
            "removed": [{"name": name, "type": kind} for name, kind in result.removed],
            "folded": [{"name": name, "type": kind, "into": into} for name, kind, into in result.folded],
            "left": [{"name": name, "type": kind, "why": why} for name, kind, why in result.left],
            "gone": result.gone,
            "parity": self.parity.as_dict(),
        }


def targets(out: str) -> tuple[Path, Path]:
    """The names of the net and of its weights: OUT with both suffixes, whichever it has. Raises NetcError O165."""
    path = Path(out)
    if path.is_dir() or out.endswith("/"):
        message = "OUT is a folder; two files are to be written, a net and its weights"
        raise NetcError("O165", message, Place(out), f"give a name in it, such as {path / 'small'}")
    stem = path.with_suffix("") if path.suffix in SUFFIXES else path
    return stem.with_name(f"{stem.name}.prototxt"), stem.with_name(f"{stem.name}.caffemodel")


def optimise(source: Model, out: str, keep: Sequence[str] = (), force: bool = False) -> Made:
    """Fold, prove on fixed random inputs, and write both files. `keep`: blobs that must still be there.

    Raises NetcError W763 (there is no net), R602 (no such blob in `keep`), W771 (another result), O140, O165, X166.
    """
    net, weights = targets(out)
    refuse_existing(net, weights, force=force)
    graph = source.runnable()
    for name in keep:
        if name not in graph.shapes:
            raise NetcError("R602", f'the net has no blob "{name}" to keep', Place(graph.path))
    result = optimised(graph, source.layers(), keep)
    parity = _proved(graph, source, result)
    parity.check(str(net))
    text = _text(result.param)
    with Staging(net, force=force) as staging:
        staging.write(net, [text.encode()])
        with (staging.folder / weights.name).open("wb") as file:
            write_chunks(file, caffemodel_chunks(result.param, result.weights))
        staging.publish()
    count = sum(not node.layer.copies_bottom for node in graph.nodes)
    return Made(net, weights, result, parity, count, len(result.param.layer))


def _proved(graph: Graph, source: Model, result: Optimised) -> Parity:
    """Every blob that both have, of the same random inputs."""
    samples = Samples(graph, Axes(graph).sample())
    inputs = samples.inputs(Preprocessing())
    text = compile_net(_text(result.param), "TEST")
    common = [name for name in graph.shapes if name in text.shapes]
    before = run(net_with(graph, source.layers()), inputs, list(graph.shapes))
    after = run(net_with(text, result.weights), inputs, common)
    reaches = reaches_of(before, [(node.bottoms, node.tops) for node in graph.nodes])
    parity = Parity(tolerance=TOLERANCE)
    parity.inputs = {name: tuple(x.shape) for name, x in inputs.items()}
    parity.runs = compared_all({name: before[name] for name in common}, after, reaches)
    return parity


def _text(net: Any) -> str:
    copy = type(net)()
    copy.CopyFrom(net)
    copy.ClearField("state")
    for layer in copy.layer:
        layer.ClearField("blobs")
    return canonical(copy)
