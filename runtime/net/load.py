"""A net from its file, ready to run: `netc.load_net`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch import Tensor

from netc.errors import NetcError, Place, did_you_mean
from netc.errors.foreign import allowing
from netc.errors.origin import Origin
from netc.files.consent import trust
from netc.graph.compile import compile_layers, of_phase
from netc.graph.filter import Layers, filter_net, phase_number, state_of
from netc.graph.read import NetSource, draft_net
from netc.layers import registry
from netc.layers.base import Layer, Shape
from netc.layers.input import Input
from netc.layers.sources import IMAGES, RecordSource
from netc.runtime.data import can_probe
from netc.runtime.data.probing import DataProbe
from netc.runtime.net.computing import BF16, EXACT, FP32, TF32, Computing
from netc.runtime.net.device import check_device
from netc.runtime.net.module import Net
from netc.runtime.net.numerics import settle
from netc.weights.card import read_card
from netc.weights.fitting import missing

Weights = str | os.PathLike[str] | Mapping[str, Sequence[Any]]
"""A file, or the arrays of each layer."""

_EXAMPLE = 'give the whole shape of the top: shapes={"data": (1, 3, 224, 224)}'


def load_net(
    source: NetSource,
    phase: int | str = "TEST",
    weights: Weights | None = None,
    level: int = 0,
    stages: Iterable[str] = (),
    device: str | torch.device = "cpu",
    *,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    workers: int | None = None,
    precision: str = "fp32",
    allow_python_layers: Iterable[str] = (),
    output_dir: str | os.PathLike[str] | None = None,
    trust_net: bool = False,
    engine: str = "torch",
    calibration: Iterable[Mapping[str, Any]] | None = None,
    make: Callable[..., Net] | None = None,
) -> Net:
    """Compile `source` (path, text or NetParameter) and make it executable on `device`, with `weights` if given. A
    .caffemodel given as the net brings its own. Layers that the weights lack keep their fillers' values: a Python
    warning names them.

    >>> net = netc.load_net("mini_vgg_A")
    >>> net(data=torch.zeros(1, 3, 64, 64))["prob"].shape
    torch.Size([1, 10])

    A `source` that is the name of a net that comes with netc, or a folder, is its deploy.prototxt, in the TRAIN phase
    its train_val.prototxt. `phase`: "TEST" or "TRAIN". `weights`: a file of any format that netc reads, or
    {layer: [arrays]}. `level`, `stages`: what rules of the net are asked for. `device`: as torch names it.

    `net()` reads the next batch of the net's data layers. Where their data are not here the net is loaded all the same,
    as far as its settings or `shapes` tell how large the images are, and takes their tops in the call (`net(data=x)`).

    `shapes`: {top of an Input or data layer: shape}; goes before what the file and the data say. Images are meant as
    they are before a crop: with crop_size 227, (1, 3, 256, 256) makes a top of 1×3×227×227. `seed`: of fillers and
    everything random. `workers`: threads that decode images (default: one a core). `precision`:
    "fp32", "tf32" or "bf16" (docs/training.md; what this sets in torch is in netc.runtime.net.numerics).
    `allow_python_layers`: the modules whose Python layers may run. `output_dir`: below which folder HDF5Output layers
    may write (default: the working folder). `trust_net`: whether a net out of a weight file may open the data and other
    files that it names (netc.files.consent).
    `engine`: what runs TEST passes: "torch" (the exact walk), "compile", "openvino", "onnxruntime", or "auto", the
    fastest here, with "fp32", "bf16", "fp16" or "int8" as `precision`, where the engine has it; `calibration`: for
    int8, batches as {input: array} (default: of the net's own data); docs/engines.md. `make`: what makes the net, in
    their place.
    Raises NetcError; C102 for shapes of what is not the top of such a layer, C201 and C251 for a device that is not
    here, W724 for weights of no layer of the net.
    """
    check_device(device)
    make = make or engine_net(engine, precision, str(device), phase_number(phase), calibration)
    computing = exact_computing(engine, precision)
    settle(precision=computing.precision)
    draft = draft_net(of_phase(source, phase))
    if trust_net:
        trust(draft.path)
    layers = filter_net(draft, state_of(draft, phase_number(phase), level, stages))
    told = _told(shapes)
    _check_names(layers, told)
    _set_inputs(layers, told)
    with closing(DataProbe(draft.path)) as data, allowing(allow_python_layers):
        graph = compile_layers(layers, _TolerantProbe(data, told))
    given = draft.weights or None if weights is None else weights
    start = None if given is None else partial(_start, given)
    net = make(graph, seed, workers, output_dir=output_dir, start=start, computing=computing)
    net.card = read_card(os.fspath(given)) if isinstance(given, str | os.PathLike) else None
    return net.to(device)  # its data are opened when they are needed


def engine_net(
    engine: str,
    precision: str,
    device: str,
    phase: int = 1,
    calibration: Iterable[Mapping[str, Any]] | None = None,
    say: Callable[[str], None] | None = None,
) -> Callable[..., Net]:
    """What makes a net that an engine runs; `Net` for the exact walk. Raises NetcError as `engines.net.check`."""
    if engine == TORCH and precision in (FP32, TF32, BF16):
        return Net
    from netc.runtime.engines.net import EngineNet, check

    check(engine, precision, device, phase)
    return partial(EngineNet, engine=engine, precision=precision, calibration=calibration, say=say)


def exact_computing(engine: str, precision: str) -> Computing:
    """How torch computes: in the precision that is asked for, or exactly, where an engine has it."""
    return Computing(precision) if engine == TORCH else EXACT


TORCH = "torch"


def _start(weights: Any, net: Net) -> list[Tensor]:
    """Copy the weights into a net, and warn where a layer finds none."""
    plan = net.copy_from(weights)
    said = missing(plan.fresh, plan.layers, plan.path or "those given")
    for remark in [*([said] if said else []), *plan.remarks]:
        warnings.warn(remark, stacklevel=4)
    written: list[Tensor] = plan.written(net.params)
    return written


def _told(shapes: Mapping[str, Sequence[int]] | None) -> dict[str, Shape]:
    """The shapes as given; C102 for what is not {top: sizes of at least 1}."""
    if shapes is not None and not isinstance(shapes, Mapping):
        raise NetcError("C102", f"shapes is a {type(shapes).__name__}, not a dict", None, _EXAMPLE)
    told = {}
    for name, shape in (shapes or {}).items():
        whole = not isinstance(shape, str) and all(isinstance(size, int) and size > 0 for size in shape)
        if not whole:
            raise NetcError("C102", f'shapes["{name}"] is {shape!r}, not sizes of at least 1', None, _EXAMPLE)
        told[name] = tuple(shape)
    return told


def _class_of(param: Any) -> type[Layer]:
    return registry().get(param.type, Layer)


def _check_names(layers: Layers, told: Mapping[str, Shape]) -> None:
    """Every name is a top of a layer whose shapes may be told."""
    tops = {top: layer for layer in layers.params if _class_of(layer).is_source for top in layer.top}
    for name in told:
        if name not in tops:
            known = ", ".join(tops) or "none"
            message = f'shapes has "{name}", which is not the top of a source layer{did_you_mean(name, tops)}'
            raise NetcError("C102", message, Place(layers.draft.path), f"the tops of source layers: {known}")
        if _class_of(tops[name]).feed in IMAGES and name == tops[name].top[0] and len(told[name]) != 4:
            message = f'shapes["{name}"] has {len(told[name])} sizes, images have 4'
            raise NetcError("C102", message, Place(layers.draft.path), _EXAMPLE)
        if not issubclass(_class_of(tops[name]), Input | RecordSource):
            message = f'shapes has "{name}", but the layer "{tops[name].name}" ({tops[name].type}) sets its own shapes'
            raise NetcError("C102", message, Place(layers.draft.path), "change its settings, or leave it out")


def _set_inputs(layers: Layers, told: Mapping[str, Shape]) -> None:
    """Write the shapes told of Input layers into these."""
    for param, origin in zip(layers.params, layers.origins, strict=True):
        if _class_of(param) is Input and not told.keys().isdisjoint(param.top):
            before = Input(param, layers.state.phase, origin).setup([])
            del param.input_param.shape[:]
            for top, shape in zip(param.top, before, strict=True):
                param.input_param.shape.add(dim=told.get(top, shape))


class _TolerantProbe:
    """Shapes of data layers as the caller told them, else by their first record, else by their settings."""

    def __init__(self, data: DataProbe, told: Mapping[str, Shape]) -> None:
        self.data, self.told = data, told

    def __call__(self, param: Any, phase: int) -> Sequence[Shape]:
        first = self.told.get(param.top[0])
        shapes = self._by_settings(param, phase, first[1:]) if first else self._found(param, phase)
        if first:  # the other tops have as many rows
            batch = shapes[0][0]
            shapes = [(first[0], *shape[1:]) if shape[:1] == (batch,) else shape for shape in shapes]
        others = zip(param.top[1:], shapes[1:], strict=False)
        return [*shapes[:1], *[self.told.get(top, shape) for top, shape in others]]

    def _found(self, param: Any, phase: int) -> Sequence[Shape]:
        if not can_probe(param):
            return self._by_settings(param, phase)
        try:
            return self.data(param, phase)
        except NetcError as missing:
            try:
                return self._by_settings(param, phase)
            except NetcError:
                tell = f'shapes={{"{param.top[0]}": …}} tells netc without them'
                hint = f"{missing.hint}; {tell}" if missing.hint else tell
                raise NetcError(missing.code, missing.message, missing.place, hint, missing.related) from None

    def _by_settings(self, param: Any, phase: int, image: Shape | None = None) -> list[Shape]:
        source = _class_of(param)(param, phase, Origin(Place(self.data.path)))
        assert isinstance(source, RecordSource)
        source.told = image
        return [tuple(shape) for shape in source.setup([])]
