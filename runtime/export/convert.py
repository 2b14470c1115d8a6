"""A weight file in another format, proved: what `netc convert-caffemodel` does.

Nothing appears under the name that was asked for until the proof has passed. torch is loaded only for the formats that
need it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from netc import __version__
from netc.errors import NetcError, Place, counted
from netc.files.durable import Staging, refuse_existing
from netc.files.hashing import Hashing
from netc.layers.base import Shape
from netc.runtime.export.formats import SUFFIXES as SUFFIXES
from netc.runtime.export.formats import default_out as default_out
from netc.runtime.export.formats import format_of as format_of
from netc.weights.asked import Asked, Look
from netc.weights.card import Card, Preprocessing
from netc.weights.convert import CAFFES_LIMIT, definition, seal, write_proved
from netc.weights.files import map_file
from netc.weights.model import Model, open_model
from netc.weights.preprocessing import looks_of
from netc.weights.proof import TOLERANCE, Parity, compared_all, proved, reaches_of
from netc.weights.reader import FORMATS
from netc.weights.rgb import fold_rgb, folded_mean


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert.

    Attributes:
        net: path of the net; None for the file's own. to: one of `SUFFIXES`, "" to tell by the name of `out`.
        rgb: fold channel order, scale and mean into the first convolution.
        run: run the net for the formats of weights alone, too.
        mean, scale, crop: of the preprocessing, where the net does not say or is to be overruled.
        shapes: (channels, height, width) of the images that data layers read, as they are before the crop, by top, or
            "" for all.
        force: whether a file that is there may be replaced; a command does so with --force alone.
        phase, level, stages: the state of the net, as `compile_net` takes them.
        classes: their names, in order. tolerance: of runs, relative to a blob's largest value.
    """

    net: str | None = None
    to: str = ""
    rgb: bool = False
    run: bool = False
    mean: str = ""
    scale: float | None = None
    crop: int | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    classes: Sequence[str] = ()
    tolerance: float = TOLERANCE
    force: bool = True
    phase: str = "TEST"
    level: int = 0
    stages: Sequence[str] = ()


@dataclass(slots=True)
class Conversion:
    """What was made: the file, its format, its card, the proof, and what a reader should know besides."""

    out: Path
    format: str
    card: Card
    parity: Parity
    remarks: list[str] = field(default_factory=list)
    size: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        import dataclasses

        card = dataclasses.asdict(self.card)
        return {
            "out": str(self.out),
            "format": self.format,
            "bytes": self.size,
            "source": card["source"],
            "sha256": card["sha256"],
            "net": card["net"],
            "preprocessing": card["preprocessing"],
            "remarks": self.remarks,
            "parity": self.parity.as_dict(),
        }


def convert(
    path: str, out: str | None = None, options: Options | None = None, hashing: Hashing | None = None
) -> Conversion:
    """Convert a weight file of any kind that netc reads.

    `out`: the new file; by default `path` with the format's suffix. `hashing`: of the file, if begun already.
    Raises NetcError as `open_model`, W761-W775 (see docs/weights.md), O140, O165, X166, X167 (it cannot be written).
    """
    options = options or Options()
    format = format_of(options.to, out)
    target = Path(out) if out else default_out(path, format)
    _refuse_same(path, target)
    refuse_existing(target, force=options.force)
    buffer = map_file(path)
    if hashing is None or not hashing.is_of(buffer.file.fileno()):
        hashing = Hashing(os.dup(buffer.file.fileno()), path)
    asked = Asked(options.phase, options.level, options.stages, options.shapes, _look(options.net))
    source = open_model(path, options.net, buffer, asked)
    return _Job(source, target, format, options).done(hashing)


def _look(net: str | None) -> Look | None:
    """Shapes by the data of a net of the user's own."""
    if net is None or not os.path.exists(net):
        return None

    def look(param: Any, phase: int) -> Sequence[Shape] | None:
        from netc.runtime.data import can_probe, probe

        with suppress(NetcError):  # then the settings tell, or nothing does, which is said
            return probe(param, phase, net) if can_probe(param) else None
        return None

    return look


def _refuse_same(path: str, out: Path) -> None:
    if out.exists() and Path(path).exists() and out.samefile(path):
        raise NetcError("C161", "this is the file to convert", Place(str(out)), "give another name with -o")


class _Job:
    """One conversion on its way."""

    def __init__(self, source: Model, out: Path, format: str, options: Options) -> None:
        self.original, self.out, self.format, self.options = source, out, format, options
        given = options.mean, options.scale, options.crop
        self.shown, contradictions = looks_of(source, options.net, *given)
        self.source, self.preprocessing = fold_rgb(source, self.shown) if options.rgb else (source, self.shown)
        self.remarks = [*contradictions, *source.remarks]
        self.parity = Parity(tolerance=options.tolerance)

    def done(self, hashing: Hashing) -> Conversion:
        self._remark()
        with Staging(self.out, force=self.options.force) as staging:
            card = self._card()
            if self.format in FORMATS:
                self._weights(staging, card, hashing)
            else:
                card.sha256 = hashing.hexdigest()  # before the card is written into the file
                self._computed(staging.path, card)
            self.parity.check(str(self.out))
            card.sha256 = hashing.hexdigest()
            size = sum(path.stat().st_size for path in staging.folder.iterdir())
            staging.publish()
        return Conversion(self.out, self.format, card, self.parity, self.remarks, size)

    # -- the formats ---------------------------------------------------------------------------------------------------

    def _weights(self, staging: Staging, card: Card, hashing: Hashing) -> None:
        flush = partial(staging.flush, staging.path)
        self.parity.arrays = write_proved(self.format, staging.path, self.source, card, hashing, flush)
        seal(self.format, staging.path, self.source, card, hashing)
        staging.flush(staging.path)
        size = staging.path.stat().st_size
        if self.format == "caffemodel" and size > CAFFES_LIMIT:
            self.remarks.append(f"Caffe itself reads no file above 2 GiB; this one has {size:,} bytes")
        if self.format == "hdf5" and any("/" in entry.layer for entry in self.source.entries):
            self.remarks.append("Caffe itself finds no layer in an HDF5 file whose name has a slash; netc does")
        if self.options.run:
            self._run_weights(staging.path)

    def _run_weights(self, path: Path) -> None:
        from netc.runtime.export.graphs import distinct_blobs, net_with, run
        from netc.weights import read

        graph = self.source.runnable()
        samples = self._samples()
        inputs = samples.inputs(self.preprocessing)
        self._compare(samples, run(net_with(graph, read(path)), inputs, distinct_blobs(graph)))

    def _computed(self, path: Path, card: Card) -> None:
        {"onnx": self._onnx, "pt2": self._pt2, "torchvision": self._torchvision}[self.format](path, card)

    def _onnx(self, path: Path, card: Card) -> None:
        from netc.runtime.export.onnx import require, run_onnx, write_onnx

        require()
        graph = self.source.runnable()

        def run(samples: Any) -> None:
            outputs, inner, self.parity.arrays = run_onnx(path, samples.inputs(self.preprocessing), self.source, graph)
            self._compare(samples, inner | outputs)

        self._with_free_axes(lambda axes: write_onnx(path, self.source, graph, axes, card), run)

    def _pt2(self, path: Path, card: Card) -> None:
        from netc.runtime.export.pt2 import run_pt2, write_pt2

        graph = self.source.runnable()

        def run(samples: Any) -> None:
            outputs, self.parity.arrays = run_pt2(path, samples.inputs(self.preprocessing), self.source)
            self._compare(samples, outputs)

        self._with_free_axes(lambda axes: write_pt2(path, self.source, graph, axes, card), run)

    def _with_free_axes(self, write: Callable[[Any], None], run: Callable[[Any], None]) -> None:
        """Write and run a program whose axes are free, on other sizes than it was made with; where that fails, with
        fewer of them: torch may have taken a size for a number without saying so."""
        from netc.runtime.export.shapes import Axes

        axes = Axes(self.source.runnable())
        while True:
            try:
                write(axes)
                run(self._samples(axes.other_sample()))
                if self.parity.ok or not axes.narrow():
                    break
            except NetcError as error:
                if error.code not in ("W772", "W773") or not axes.narrow():
                    raise
        self._remark_axes(axes)

    def _torchvision(self, path: Path, card: Card) -> None:
        from netc.weights.formats.torchvision import vgg_of

        graph = self.source.runnable()
        vgg = vgg_of(graph, self.source.layers())
        name = vgg.name
        from netc.runtime.export.graphs import run_module
        from netc.runtime.export.torchvision import module_of, read_state, write_state

        write_state(path, vgg, card)
        state = read_state(path)
        self.parity.arrays = proved(vgg.state.items(), {key: tensor.numpy() for key, tensor in state.items()})
        samples = self._samples()
        (pixels,) = samples.inputs(self.preprocessing).values()
        scores = run_module(module_of(vgg, state), pixels)
        before = self._original_blobs(samples, [vgg.scores])
        self.parity.runs = compared_all(before, {vgg.scores: scores.reshape(before[vgg.scores].shape)})
        arguments = f"num_classes={vgg.sizes[2]}" if vgg.sizes[2] != 1000 else ""
        self.remarks.insert(0, f"torchvision.models.{name}({arguments}) loads it, and gives scores without a softmax")

    # -- what they share -----------------------------------------------------------------------------------------------

    def _samples(self, shapes: Any = None) -> Any:
        from netc.runtime.export.shapes import Axes, Samples

        graph = self.source.runnable()
        samples = Samples(graph, shapes or Axes(graph).sample())
        self.parity.inputs = {name: tuple(pixels.shape) for name, pixels in samples.pixels.items()}
        return samples

    def _compare(self, samples: Any, converted: Mapping[str, Any]) -> None:
        """Compare blobs with the original's. All of the original's are computed, to see which cancel out."""
        graph = self.original.runnable()
        blobs = self._original_blobs(samples, list(dict.fromkeys([*graph.shapes, *graph.outputs])))
        reaches = reaches_of(blobs, [(node.bottoms, node.tops) for node in graph.nodes])
        before = {name: blobs[name] for name in dict.fromkeys([*converted, *graph.outputs])}
        self.parity.runs = compared_all(before, converted, reaches)

    def _original_blobs(self, samples: Any, blobs: Sequence[str]) -> Any:
        from netc.runtime.export.graphs import net_with, run

        return run(net_with(self.original.runnable(), self.original.layers()), samples.inputs(self.shown), blobs)

    def _card(self) -> Card:
        from google.protobuf import text_format

        prototxt = ""
        if self.source.param is not None:
            prototxt = text_format.MessageToString(definition(self.source), as_utf8=True)
        classes = list(self.options.classes) or (self.source.card.classes if self.source.card else [])
        self._check_classes(classes)
        net = self.source.param.name if self.source.param is not None else ""
        name, layers = Path(self.source.path).name, self.source.keys()
        return Card(net, prototxt, self.preprocessing, classes, name, "", __version__, layers, self.remarks)

    def _check_classes(self, classes: Sequence[str]) -> None:
        """Raises NetcError W766 where no output has as many values as there are classes."""
        graph = self.source.graph
        if not classes or graph is None:
            return
        sizes = {graph.shapes[blob][1] for blob in graph.outputs if len(graph.shapes[blob]) > 1}
        if len(classes) not in sizes:
            found = ", ".join(map(str, sorted(sizes))) or "none"
            raise NetcError("W766", f"{counted(len(classes), 'class name')} for outputs of {found} values")

    def _remark(self) -> None:
        self._remark_shapes()
        dropped = dict(self.source.deploy.dropped) if self.source.deploy is not None else {}
        if dropped and (self.source.given or self.options.run or self.format not in FORMATS):
            listed = _listed(f'"{name}" ({kind})' for name, kind in dropped.items())
            self.remarks.append(f"left out, no output needs them: {listed}")
        self._remark_other_phase(dropped)
        if unused := [name for name in self.source.unused if name not in dropped]:
            self.remarks.append(f"not in the net, and left out: {_listed(map(_quoted, unused))}")
        if self.options.rgb:
            self.remarks.append(_convention(self.preprocessing))

    def _remark_other_phase(self, dropped: Collection[str]) -> None:
        """Layers of the file that a program of the file's own net has not."""
        if self.source.graph is None or self.format in FORMATS:
            return
        names = {*dropped, *(node.name for node in self.source.graph.nodes)}
        left = dict.fromkeys(entry.layer for entry in self.source.entries if entry.layer not in names)
        if left:
            self.remarks.append(f"not in the {self.options.phase} phase, and left out: {_listed(map(_quoted, left))}")

    def _remark_shapes(self) -> None:
        """Shapes that were given for nothing."""
        fed = self.source.deploy.fed if self.source.deploy is not None else []
        unneeded = [name for name in self.options.shapes if name and name not in fed]
        if self.options.shapes and not fed:
            self.remarks.append("--shape was not needed: no data layer reads images here")
        elif unneeded:
            self.remarks.append(f"--shape was not needed for what is not an input: {_listed(map(_quoted, unneeded))}")

    def _remark_axes(self, axes: Any) -> None:
        free = [name for name, is_free in (("batch", axes.batch), ("height and width", axes.size)) if is_free]
        self.remarks.append("any " + ", ".join(free) if free else "sizes are fixed")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _listed(items: Iterable[str], most: int = 12) -> str:
    """With commas between them; of many, the first."""
    found = list(items)
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join([*found[:most], *more])


def _convention(preprocessing: Preprocessing) -> str:
    mean, std = (
        ", ".join(f"{value:.6g}" for value in values or ()) for values in (preprocessing.mean, preprocessing.std)
    )
    why = "torchvision's own" if folded_mean(preprocessing) else "the net's own mean, since its first convolution pads"
    return f"reads RGB from 0 to 1 after Normalize(mean=({mean}), std=({std})): {why}"
