"""The engines: each makes a program of a segment, a function from its inputs to its outputs.

Where an engine fails, `NetcError` R774 says at what; its own message is the reason.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from netc.errors import NetcError
from netc.files.durable import write_error
from netc.files.opening import open_regular
from netc.graph.ir import Graph
from netc.layers.base import Shape, format_shape
from netc.layers.python import Python
from netc.passes.inference import optimised
from netc.runtime.engines import cache
from netc.runtime.engines.cut import Segment, graph_of
from netc.runtime.engines.known import ENGINES, Engine
from netc.runtime.engines.onnx_model import ALIGNED, has_form, has_free_batch, pieces, written
from netc.runtime.net.module import Net
from netc.runtime.net.steps import Step

Program = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Samples = Callable[[Segment], Sequence[Mapping[str, Any]]]
"""Segment → its inputs in some batches, for the ranges of whole numbers (int8)."""


@dataclass(slots=True)
class Job:
    """What a program is made of. `graph`: the segment's layers, folded; `arrays`: of each layer."""

    engine: Engine
    precision: str
    segment: Segment
    graph: Graph
    arrays: Mapping[str, Sequence[Any]]
    shapes: dict[str, Shape]
    device: torch.device
    samples: Samples
    say: cache.Say
    free_batch: bool = False
    free_size: bool = False
    folder: cache.Folder | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """`free_batch`: whether the batch may be another one. `folder`: what of the cache it was made with."""

    program: Program
    free_batch: bool
    folder: cache.Folder | None


def takes(engine: Engine, step: Step) -> bool:
    """Whether the engine can run a layer."""
    layer = step.node.layer
    if layer.effect or layer.carries_state or layer.running() or layer.is_loss or layer.is_measure:
        return False
    if layer.drops_values and not isinstance(layer.affine([], step.node.bottom_shapes), tuple):
        return False  # it draws random numbers
    if engine.packages:
        return has_form(step.node, [tensor.detach().float().cpu().numpy() for tensor in step.values()])
    return not isinstance(layer, Python) and not layer.plugin


def made(
    engine: Engine,
    precision: str,
    segment: Segment,
    shapes: dict[str, Shape],
    device: torch.device,
    samples: Samples,
    say: cache.Say,
    any_size: bool = False,
) -> Made:
    """A program for inputs of these shapes; `any_size`: and planes of any size (`takes_any_size`). What cannot be made
    with what the cache has is made without it. Raises NetcError R774."""
    whole = graph_of(segment, shapes)
    graph, weights = _folded(segment, whole)
    job = Job(engine, precision, segment, graph, weights, shapes, device, samples, say)
    job.free_batch = bool(engine.packages) and _free_batch(segment, whole, shapes)
    job.free_size = any_size
    with failing(engine, segment):
        try:
            program = _MAKERS[engine.name](job)
        except Exception as error:  # they have none in common
            if isinstance(error, NetcError) or job.folder is None or not job.folder.found:
                raise
            job.folder.remove()
            program = _MAKERS[engine.name](job)
        return Made(program, job.free_batch, job.folder)


def takes_any_size(engine: Engine, segment: Segment, shapes: Mapping[str, Shape]) -> bool:
    """Whether one program of the engine serves images of any size: for several sizes the model is the same."""
    if not engine.packages or [len(shape) for shape in shapes.values()] != [4]:
        return False
    ((name, (batch, channels, height, width)),) = shapes.items()
    found = set()
    for size in ((height, width), (2 * height + 1, width + 5), (height + 6, 2 * width + 3)):
        try:
            graph, weights = _folded(segment, graph_of(segment, {name: (batch, channels, *size)}))
        except NetcError:
            return False
        model = written(graph, weights, segment.outputs, True, "", free_size=True)
        if model is None:
            return False
        found.add((model.model, str([[ref.blob.shape for ref in node.params] for node in graph.nodes])))
    return len(found) == 1


def _folded(segment: Segment, whole: Graph) -> tuple[Graph, dict[str, list[Any]]]:
    from netc.graph.compile import compile_net

    folded = optimised(whole, _arrays(segment), keep=segment.outputs)
    return compile_net(folded.param, "TEST"), folded.weights


def _arrays(segment: Segment) -> dict[str, list[Any]]:
    return {
        step.node.name: [tensor.detach().float().cpu().numpy() for tensor in step.values()]
        for step, *_ in segment.steps
        if step.params
    }


def _free_batch(segment: Segment, graph: Graph, shapes: Mapping[str, Shape]) -> bool:
    firsts = {shape[:1] for shape in shapes.values()}
    if len(firsts) != 1 or firsts == {()}:
        return False
    try:
        larger = graph_of(segment, {name: (2 * shape[0] + 1, *shape[1:]) for name, shape in shapes.items()})
    except NetcError:
        return False
    return has_free_batch(graph, larger)


@contextmanager
def failing(engine: Engine, segment: Segment) -> Iterator[None]:
    try:
        yield
    except (NetcError, OSError, MemoryError):
        raise
    except Exception as error:  # the engines have no common exception
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0][:300] if lines else type(error).__name__
        first, last = segment.names[0], segment.names[-1]
        message = f'the engine {engine.name} fails on the layers "{first}" to "{last}": {reason}'
        raise NetcError("R774", message, None, "take another engine, or torch, and please report it") from error


# -- engines that read ONNX --------------------------------------------------------------------------------------------


def _model_file(job: Job) -> tuple[Path, cache.Folder, str]:
    """The model of a job in the cache, its folder, and its name there."""
    model = written(job.graph, job.arrays, job.segment.outputs, job.free_batch, "weights.bin", job.free_size)
    assert model is not None
    folder = job.folder = cache.Folder(f"weights-{cache.digest_of_arrays(model.arrays)}", job.say)
    size = sum(-(-array.nbytes // ALIGNED) * ALIGNED for array in model.arrays)
    if size:
        folder.file("weights.bin", size, lambda: pieces(model.arrays))
    name = cache.digest(model.model)
    path = folder.file(f"{name}.onnx", len(model.model), lambda: [model.model])
    with open_regular(path) as file:
        damaged = file.read() != model.model
    if damaged:
        path.unlink()
        path = folder.file(f"{name}.onnx", len(model.model), lambda: [model.model])
    if size and not (path.parent / "weights.bin").exists():  # the model went elsewhere
        folder.file("weights.bin", size, lambda: pieces(model.arrays))
    return path, folder, name


def _onnxruntime(job: Job) -> Program:
    import onnxruntime

    path, folder, name = _model_file(job)
    if job.precision == "int8":
        path = _quantised(job, path, folder, name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    gpu = job.device.type != "cpu"
    provider: Any = ("CUDAExecutionProvider", {"device_id": job.device.index or 0}) if gpu else "CPUExecutionProvider"
    if gpu and provider[0] not in onnxruntime.get_available_providers():
        message = "the onnxruntime installed here has no CUDAExecutionProvider"
        raise NetcError("R776", message, None, "pip install onnxruntime-gpu, or take the CPU")
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    names = [value.name for value in session.get_outputs()]

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        given = {name: _array(x) for name, x in zip(job.segment.inputs, inputs, strict=True)}
        used = {value.name for value in session.get_inputs()}
        found = session.run(names, {name: x for name, x in given.items() if name in used})
        return [torch.from_numpy(x).to(job.device) for x in found]

    return run


def _array(x: Tensor) -> Any:
    return x.detach().float().contiguous().cpu().numpy()


_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}


def _openvino(job: Job) -> Program:
    import openvino

    path, folder, name = _model_file(job)
    if job.precision == "int8":
        path = _quantised(job, path, folder, name)
    core = openvino.Core()
    model = core.read_model(str(path))
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": _HINTS[job.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    # a folder for each precision: OpenVINO takes the program of fp32 for that of fp16
    made_for = cache.digest(job.engine.version, cache.processor(), torch.get_num_threads())
    kept = {"CACHE_DIR": str(folder.path / f"openvino-{job.precision}-{made_for[:8]}")}
    try:
        compiled = core.compile_model(model, "CPU", {**settings, **kept})
    except Exception:  # no room for it; and whatever else it is comes again
        shutil.rmtree(kept["CACHE_DIR"], ignore_errors=True)
        compiled = core.compile_model(model, "CPU", settings)
    if job.precision in ("bf16", "fp16") and _HINTS[job.precision] not in _kinds(compiled):
        message = f"openvino has no {job.precision} on this processor: it would compute in fp32"
        raise NetcError("R772", message, None, "take fp32, or int8")
    request, free = compiled.create_infer_request(), Lock()
    names = {name for port in compiled.inputs for name in port.names}

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        given = {name: _array(x) for name, x in zip(job.segment.inputs, inputs, strict=True) if name in names}
        with free:  # a request runs one pass at a time
            found = request.infer(given, share_inputs=True, share_outputs=False)
        return [torch.from_numpy(found[port]) for port in compiled.outputs]

    return run


def _kinds(compiled: Any) -> set[str]:
    """The types of numbers that the layers of an OpenVINO program compute in."""
    found = [op.get_rt_info()["runtimePrecision"] for op in compiled.get_runtime_model().get_ops()]
    return {str(getattr(kind, "value", kind)) for kind in found}


def _quantised(job: Job, path: Path, folder: cache.Folder, name: str) -> Path:
    """The model with weights and values of eight bits, by onnxruntime's static quantisation, a scale for each channel.
    Raises NetcError R775 without data, R771 without onnxruntime."""
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError:
        message = "int8 needs onnxruntime's quantisation, which is not installed"
        raise NetcError("R771", message, None, "pip install 'netc[onnx]'") from None
    import logging

    batches = job.samples(job.segment)
    _check_sizes(job, batches)
    ranges = cache.digest(ENGINES["onnxruntime"].version, *(x.tobytes() for batch in batches for x in batch.values()))
    target = folder.path / f"{name}-{ranges}.int8.onnx"
    if target.exists():
        return target

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(batches)

        def get_next(self) -> Any:
            return next(self.rest, None)

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="netc-engine-") as beside:
            made = Path(beside, "int8.onnx")
            quantize_static(
                str(path),
                str(made),
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_padded(path),
                extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
            )
            content = made.read_bytes()
    except OSError as error:
        raise write_error(error, Path(tempfile.gettempdir())) from error
    finally:
        logging.disable(before)
    return folder.file(target.name, len(content), lambda: [content])


def _padded(path: Path) -> list[str]:
    """The nodes that pad, and what reads that: the lowest number around a MAX pooling would be among the ranges."""
    import onnx

    nodes = onnx.load(str(path), load_external_data=False).graph.node
    pads = {node.output[0] for node in nodes if node.op_type == "Pad"}
    return [node.name for node in nodes if node.output[0] in pads or pads & set(node.input)]


def _check_sizes(job: Job, batches: Sequence[Mapping[str, Any]]) -> None:
    """Raises NetcError R790 where the model takes images of one size only, and the ranges come from another one."""
    first = {} if job.free_size else {name: x.shape[int(job.free_batch) :] for name, x in batches[0].items()}
    for name, shape in first.items():
        here = job.shapes[name][int(job.free_batch) :]
        if shape != here:
            message = (
                f'int8 was calibrated with a "{name}" of {format_shape(shape)}, and this is one of {format_shape(here)}'
            )
            raise NetcError("R790", message, None, "calibrate with inputs of the size that the net is run on")


# -- torch.compile -----------------------------------------------------------------------------------------------------


def _compile(job: Job) -> Program:
    import torch._inductor.config as inductor

    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    kind = kinds[job.precision]
    if cache.limit() and cache.is_writable():
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache.root() / "inductor"))
    arrays = {name: list(found) for name, found in job.arrays.items()}
    start = (lambda net: net.copy_from(arrays).written(net.params)) if arrays else None
    net = Net(job.graph, start=start).eval().requires_grad_(False).to(job.device, kind)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    outputs = job.segment.outputs

    def walk(inputs: list[Tensor]) -> list[Tensor]:
        found = net(dict(zip(job.segment.inputs, inputs, strict=True)), blobs=outputs)
        return [found[name] for name in outputs]

    compiled = torch.compile(walk, dynamic=False)

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad(), inductor.patch(freezing=True), failing(job.engine, job.segment):
            return [y.float().contiguous() for y in compiled([_laid(x, kind) for x in inputs])]

    return run


def _laid(x: Tensor, kind: torch.dtype) -> Tensor:
    layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    return x.to(kind, memory_format=layout)


_MAKERS: dict[str, Callable[[Job], Program]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "compile": _compile,
}
