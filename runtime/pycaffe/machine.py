"""pycaffe's functions about the machine: where it computes, its seed, its log, its clock."""

from __future__ import annotations

import io
import os
import sys
import time
import warnings
from typing import Any

import torch

from netc.errors import NetcError
from netc.layers import registry
from netc.runtime.net import rand
from netc.runtime.solver.log import Log

_settings: dict[str, Any] = {"gpu": False, "device": 0, "seed": 0, "nets": 0}


def set_mode_cpu() -> None:
    """Compute on the CPU, from the next pass on, nets that are there already included."""
    _settings["gpu"] = False


def set_mode_gpu() -> None:
    """Compute on a GPU, from the next pass on. Where torch sees none a warning says so, and the CPU computes."""
    if not torch.cuda.is_available():
        warnings.warn("set_mode_gpu(): torch sees no GPU here, so netc computes on the CPU", stacklevel=2)
        return
    _settings["gpu"] = True


def set_device(device_id: int) -> None:
    """Choose the GPU by its number. Raises NetcError C203 for one that is not there, where there are any."""
    count = torch.cuda.device_count()
    if count and not 0 <= device_id < count:
        raise NetcError("C203", f"there is no GPU {device_id}: torch sees {count}", None, "they count from 0")
    _settings["device"] = int(device_id)


def device() -> str:
    """The torch device of the mode."""
    return f"cuda:{_settings['device']}" if _settings["gpu"] else "cpu"


def use(device: str) -> None:
    """Set the mode by the name of a torch device."""
    _settings["gpu"] = device != "cpu"
    if _settings["gpu"]:
        _settings["device"] = int(device.partition(":")[2] or 0)


def set_random_seed(seed: int) -> None:
    """The seed of the nets and solvers that are made from here on. Without it the seed is 0: each run is the same."""
    _settings.update(seed=int(seed), nets=0)


def next_seed() -> int:
    """The seed of the next net: the first has the seed itself, the others seeds that follow from it."""
    _settings["nets"] += 1
    turn = _settings["nets"] - 1
    return _settings["seed"] if not turn else rand.key(_settings["seed"], "net", turn) >> 33


def set_multiprocess(value: bool) -> None:
    """One process trains: Caffe's setting for several has nothing to set."""


def set_solver_count(value: int) -> None:
    """Raises NetcError C203 for more than one solver: netc trains on one device."""
    if value != 1:
        raise NetcError("C203", f"{value} solvers: netc trains on one device at a time", None, "leave this call out")


def set_solver_rank(value: int) -> None:
    """Raises NetcError C203 for another solver than the only one."""
    if value != 0:
        raise NetcError("C203", f"solver {value}: netc trains on one device at a time", None, "leave this call out")


def solver_count() -> int:
    return 1


def solver_rank() -> int:
    return 0


def has_nccl() -> bool:
    """False: netc trains on one device at a time."""
    return False


class NCCL:
    """Caffe's training on several GPUs, which netc has not."""

    def __init__(self, *args: Any) -> None:
        raise NetcError("C203", "NCCL: netc trains on one device at a time", None, "use one solver")


def layer_type_list() -> list[str]:
    """The names of the layer types, plug-ins' included."""
    return sorted(registry())


def init_log(level: int = 0, to_file: Any = None) -> None:
    """Caffe starts glog here. netc's log goes to stderr; the arguments of forks are taken and change nothing."""


def log(message: str) -> None:
    """Write a line to the log."""
    Log(stderr()).info("pycaffe:1", message)


class _Stderr(io.TextIOBase):
    """stderr as it is when a line is written: notebooks and tests change it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def stderr() -> Any:
    """Where the log goes; None where the program has silenced glog, as many do."""
    level = os.environ.get("GLOG_minloglevel", "0")  # noqa: SIM112 (glog's own spelling)
    return None if level.isdecimal() and int(level) > 0 else _Stderr()


class Timer:
    """Measures between `start` and `stop`, what the GPU has been given to do included."""

    def __init__(self) -> None:
        self._start = self._elapsed = 0.0

    def start(self) -> None:
        _wait()
        self._start = time.perf_counter()

    def stop(self) -> None:
        _wait()
        self._elapsed = time.perf_counter() - self._start

    @property
    def ms(self) -> float:
        """Milliseconds."""
        return self._elapsed * 1000

    @property
    def us(self) -> float:
        """Microseconds."""
        return self._elapsed * 1e6

    @property
    def seconds(self) -> float:
        return self._elapsed


def _wait() -> None:
    if _settings["gpu"]:
        torch.cuda.synchronize(device())
