"""Converting a large .caffemodel, beside `cp` of the same file: ratios of wall time and peak memory, whole processes.

    python tools/make_vgg.py 19 /tmp/vgg19.caffemodel
    python tools/bench_weights.py /tmp/vgg19.caffemodel --pairs 7

Each pair runs `cp` and one of the others, in turn first; figures are medians. Every process starts with the file in the
page cache and an output that is not there. netc flushes what it writes to the disk before it gives it its name, cp does
not: the ratio is given to cp, and to cp and a flush of the copy. Peak memory is the kernel's ru_maxrss of the process
alone; processor time (user and system) is what to read where other work shares the machine.

    convert   netc convert-caffemodel, its proof included (left out where this netc lacks the command)
    stream    read and write as .safetensors by the library, value by value, flushed to the disk
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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
NETC = [sys.executable, "-m", "netc"]


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
    commands = {name: command for name, command in _commands(options.file) if not options.only or name in options.only}
    size = options.file.stat().st_size / 1e6
    print(json.dumps({"file": str(options.file), "megabytes": round(size, 1), "pairs": options.pairs}))
    with tempfile.TemporaryDirectory(dir=options.file.parent) as folder:
        for name, command in commands.items():
            print(
                json.dumps({"what": name, **_compare(options.file, command, Path(folder), options.pairs)}), flush=True
            )


Command = Callable[[Path], list[str]]


def _commands(file: Path) -> Iterator[tuple[str, Command]]:
    from netc.cli._main import COMMANDS

    if any("convert-caffemodel" in group for group in COMMANDS.values()):
        yield "convert", lambda out: [*NETC, "convert-caffemodel", str(file), "-o", str(out / "x.safetensors")]
    for name in STEPS:
        yield name, partial(_step, name, file)
    yield "weights", lambda out: [*NETC, "weights", str(file), "--json"]


def _step(name: str, file: Path, out: Path) -> list[str]:
    return [sys.executable, __file__, str(file), str(out / "x"), "--step", name]


def _compare(file: Path, command: Command, folder: Path, pairs: int) -> dict[str, float]:
    _warm(file)
    mine: list[Run] = []
    copies: list[Run] = []
    flushes: list[float] = []
    for index in range(pairs):
        for ours in (True, False) if index % 2 else (False, True):
            out = Path(tempfile.mkdtemp(dir=folder))
            (mine if ours else copies).append(_run(command(out) if ours else ["cp", str(file), str(out / "copy")]))
            if not ours:
                flushes.append(_flush(out / "copy"))
            for left in out.iterdir():
                left.unlink()
    megabytes = statistics.median(run.megabytes for run in mine)
    return {
        "seconds": round(statistics.median(run.seconds for run in mine), 3),
        "cp_seconds": round(statistics.median(run.seconds for run in copies), 3),
        "times_cp": round(statistics.median(a.seconds / b.seconds for a, b in zip(mine, copies, strict=True)), 2),
        "times_flushed_cp": round(
            statistics.median(a.seconds / (b.seconds + c) for a, b, c in zip(mine, copies, flushes, strict=True)), 2
        ),
        "cpu_seconds": round(statistics.median(run.cpu for run in mine), 3),
        "cp_cpu_seconds": round(statistics.median(run.cpu for run in copies), 3),
        "peak_megabytes": round(megabytes, 1),
        "peak_by_file_size": round(megabytes * 1e6 / file.stat().st_size, 3),
    }


def _flush(file: Path) -> float:
    """Seconds until a written file is on the disk, which cp does not wait for and netc does."""
    start = time.perf_counter()
    with file.open("rb") as copy:
        os.fsync(copy.fileno())
    return time.perf_counter() - start


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


def _stream(file: Path, output: Path) -> None:
    from netc import weights
    from netc.files.durable import Staging

    found = weights.read(file)
    tensors = {f"{layer}.{index}": array for layer, arrays in found.items() for index, array in enumerate(arrays)}
    with Staging(output) as staging:
        weights.write_safetensors(staging.path, tensors)
        staging.publish()


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


STEPS: dict[str, Callable[[Path, Path], None]] = {"stream": _stream, "read": _read, "copy": _copy, "naive": _naive}


if __name__ == "__main__":
    main()
