"""Converting a large .caffemodel, beside `cp` of the same file: ratios of wall time and peak memory, whole processes.

    python tools/make_vgg.py 19 /tmp/vgg19.caffemodel
    python tools/bench_weights.py /tmp/vgg19.caffemodel --pairs 7

Each pair runs `cp` and one of the others, in turn first; figures are medians. Every process starts with the file in the
page cache and an output that is not there. netc flushes what it writes to the disk before it gives it its name, cp does
not: the ratio is given to cp, and to cp and a flush of the copy. Peak memory is the kernel's ru_maxrss of the process
alone; processor time (user and system) is what to read where other work shares the machine.

    convert   netc convert-caffemodel, its proof included
    read      all values once, nothing written
    copy      into the tensors of a net of the same shapes (VGG-19: vgg_E), torch's import included
    naive     protobuf's ParseFromString, numpy arrays of its lists, safetensors.save_file
    weights   netc weights: statistics and hashes of everything
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_weights.py`
from tools.timing import ENVIRONMENT, NETC, in_turn, medians, spread

Command = Callable[[Path], list[str]]
"""The words of a command that writes into the folder."""


class Run(NamedTuple):
    seconds: float
    cpu: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("output", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="WHAT")
    parser.add_argument("--step", choices=tuple(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        STEPS[options.step](options.file, options.output)
        return
    size = options.file.stat().st_size / 1e6
    print(json.dumps({"file": str(options.file), "megabytes": round(size, 1), "pairs": options.pairs}))
    for name, command in _commands(options.file).items():
        if not options.only or name in options.only:
            print(json.dumps({"what": name, **_compare(options.file, command, options.pairs)}), flush=True)


def _commands(file: Path) -> dict[str, Command]:
    commands: dict[str, Command] = {
        "convert": lambda out: [*NETC, "convert-caffemodel", str(file), "-o", str(out / "x.safetensors")]
    }
    for name in STEPS:
        commands[name] = partial(_step, name, file)
    commands["weights"] = lambda out: [*NETC, "weights", str(file), "--json"]
    return commands


def _step(name: str, file: Path, out: Path) -> list[str]:
    return [sys.executable, __file__, str(file), str(out / "x"), "--step", name]


def _compare(file: Path, command: Command, pairs: int) -> dict[str, float | list[float]]:
    flushes: list[Run] = []

    def ours() -> Run:
        with tempfile.TemporaryDirectory(dir=file.parent) as out:
            return _run(command(Path(out)))

    def copy() -> Run:
        with tempfile.TemporaryDirectory(dir=file.parent) as out:
            run = _run(["cp", str(file), f"{out}/copy"])
            flushes.append(_flush(Path(out, "copy")))
            return run

    _warm(file)
    ours(), copy()  # netc's modules are compiled once, as an installation does
    flushes.clear()
    mine, copies = zip(*in_turn(ours, copy, pairs), strict=True)
    seconds, cp_seconds, times_cp = medians([(a.seconds, b.seconds) for a, b in zip(mine, copies, strict=True)])
    flushed = [(a.seconds, b.seconds + flush.seconds) for a, b, flush in zip(mine, copies, flushes, strict=True)]
    cpus = [(a.cpu, b.cpu + flush.cpu) for a, b, flush in zip(mine, copies, flushes, strict=True)]
    cpu, cp_cpu, times_cpu = medians(cpus)
    megabytes = statistics.median(run.megabytes for run in mine)
    return {
        "seconds": round(seconds, 3),
        "cp_seconds": round(cp_seconds, 3),
        "times_cp": round(times_cp, 2),
        "flushed_cp_seconds": round(medians(flushed)[1], 3),
        "times_flushed_cp": round(medians(flushed)[2], 2),
        "times_flushed_cp_from_to": spread(flushed),
        "cpu_seconds": round(cpu, 3),
        "flushed_cp_cpu_seconds": round(cp_cpu, 3),
        "times_flushed_cp_cpu": round(times_cpu, 2),
        "peak_megabytes": round(megabytes, 1),
        "peak_by_file_size": round(megabytes * 1e6 / file.stat().st_size, 3),
    }


def _flush(file: Path) -> Run:
    """Until a written file is on the disk, which cp does not wait for and netc does."""
    start, cpu = time.perf_counter(), time.process_time()
    with file.open("rb") as copy:
        os.fsync(copy.fileno())
    return Run(time.perf_counter() - start, time.process_time() - cpu, 0)


def _warm(file: Path) -> None:
    with file.open("rb") as source:
        while source.read(1 << 24):
            pass


def _run(command: list[str]) -> Run:
    """wait4 gives the memory of this child alone (this process is small, which counts: an exec inherits the peak)."""
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        pid = os.posix_spawnp(command[0], command, ENVIRONMENT, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed: {os.waitstatus_to_exitcode(status)}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


# -- what the processes do ---------------------------------------------------------------------------------------------


def _read(file: Path, output: Path) -> None:
    from netc import weights

    for arrays in weights.read(file).values():
        for array in arrays:
            for _ in weights.pieces(array):
                pass


def _copy(file: Path, output: Path) -> None:
    import torch

    from netc import weights

    found = weights.read(file)
    params = {name: [torch.empty(array.shape) for array in arrays] for name, arrays in found.items()}
    weights.copy_weights(params, found)


def _naive(file: Path, output: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from netc import proto

    net = proto.NetParameter.FromString(file.read_bytes())
    arrays = {}
    for layer in (*net.layer, *net.layers):
        for index, blob in enumerate(layer.blobs):
            shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
            arrays[f"{layer.name}.{index}"] = np.array(blob.data, dtype="f4").reshape(shape)
    save_file(arrays, output)


STEPS: dict[str, Callable[[Path, Path], None]] = {"read": _read, "copy": _copy, "naive": _naive}


if __name__ == "__main__":
    main()
