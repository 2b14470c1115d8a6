"""Which engines there are, what each needs, and how far its numbers may be from the exact walk's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from netc.errors import NetcError, did_you_mean

TORCH, COMPILE, AUTO = "torch", "compile", "auto"

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
"""tf32 is torch's alone, on a GPU; torch's own bf16 is that of training (netc.runtime.net.computing)."""

TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2, "int8": 3e-1}
"""Largest difference from the exact walk, relative to a blob's largest value: sums in another order and Winograd's
transforms come to 1e-5, bfloat16 to 1e-2 over 19 layers. int8 is checked for being the same net; how well it does on
the data is what counts there."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`packages`: what it needs; `extra`: netc's extra that installs it. `precisions`: on a CPU; `on_gpu`: on a GPU."""

    name: str
    packages: tuple[str, ...] = ()
    extra: str = ""
    precisions: tuple[str, ...] = ("fp32",)
    on_gpu: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        return [package for package in self.packages if find_spec(package) is None]

    @property
    def version(self) -> str:
        """Of what it needs: a cache of another one is not used."""
        return " ".join(f"{package} {_version(package)}" for package in self.packages or ("torch",))


def _version(package: str) -> str:
    for name in (package, f"{package}-gpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "?"


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(TORCH, (), "", ("fp32", "tf32", "bf16"), ("fp32", "tf32", "bf16")),
        Engine(COMPILE, (), "", ("fp32", "bf16"), ("fp32", "bf16", "fp16")),
        Engine("openvino", ("openvino", "onnx"), "openvino", ("fp32", "bf16", "fp16", "int8")),
        Engine("onnxruntime", ("onnxruntime", "onnx"), "onnx", ("fp32", "int8"), ("fp32",)),
    )
}

NAMES = (*ENGINES, AUTO)


def chosen(name: str, precision: str, device: str) -> Engine:
    """An engine that is installed and has the precision on the device ("cpu", "cuda:0").

    Raises NetcError C290 (no such engine), R700 (no such precision), R771 (not installed), R772 (it lacks the
    precision), R776 (it does not run on such a device)."""
    if name not in ENGINES:
        message = f'there is no engine "{name}"{did_you_mean(name, NAMES)}'
        raise NetcError("C290", message, None, f"the engines: {', '.join(NAMES)}")
    check_precision(precision)
    engine, gpu = ENGINES[name], not device.startswith("cpu")
    if engine.missing:
        listed = " and ".join(engine.missing)
        raise NetcError("R771", f"the engine {name} needs {listed}, not installed here", None, pip_line(engine))
    has = engine.on_gpu if gpu else engine.precisions
    if not has:
        raise NetcError("R776", f"the engine {name} does not run on {device}", None, "take the CPU, or another engine")
    if precision not in has:
        where = "a GPU" if gpu else "a CPU"
        others = [one.name for one in ENGINES.values() if precision in (one.on_gpu if gpu else one.precisions)]
        hint = f"{precision} here: {', '.join(others)}" if others else f"it has {', '.join(has)}"
        raise NetcError("R772", f"the engine {name} has no {precision} on {where}", None, hint)
    return engine


def check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        message = f'there is no precision "{precision}"{did_you_mean(precision, PRECISIONS)}'
        raise NetcError("R700", message, None, f"take one of {', '.join(PRECISIONS)}")


def pip_line(engine: Engine) -> str:
    return f"pip install 'netc[{engine.extra}]'"


def candidates(precision: str, device: str) -> list[Engine]:
    """The engines that `auto` tries, torch's exact walk first. On a CPU torch.compile takes up to a minute for each
    shape, and is never faster than the others there, so it counts where there are no others."""
    gpu = not device.startswith("cpu")
    found = [
        engine
        for engine in ENGINES.values()
        if precision in (engine.on_gpu if gpu else engine.precisions)
        and not engine.missing
        and (engine.name != TORCH or precision == "fp32")
    ]
    others = [engine for engine in found if engine.packages]
    return [engine for engine in found if gpu or not others or engine.name != COMPILE]
