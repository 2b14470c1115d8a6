"""Training in several processes that are forked, not started: torch is imported once, so that many runs cost little.

    python -m tests.faults.processes COMMAND FOLDER …

Each process runs `netc train solver.prototxt --resume auto` in FOLDER, as one that torchrun has started.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from netc.cli import main
from netc.cli.train import command  # noqa: F401
from netc.errors import NetcError
from netc.runtime.net.module import Net
from netc.runtime.solver import snapshot, solver, training  # noqa: F401

LAST = 40
RESUME = ("--resume", "auto", "--timeout", "20")

SOLVER = f"""base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: {LAST} snapshot: 4 iter_size: 2 shards: 2
snapshot_prefix: "run" random_seed: 5 average_loss: 3 display: 10
net_param {{
  layer {{ name: "in" type: "DummyData" top: "x" top: "y" dummy_data_param {{
    shape {{ dim: 12 dim: 3 dim: 6 dim: 5 }} shape {{ dim: 12 }}
    data_filler {{ type: "gaussian" std: 1 }} data_filler {{ type: "uniform" min: 0 max: 3.99 }} }} }}
  layer {{ name: "drop" type: "Dropout" bottom: "x" top: "x" }}
  layer {{ name: "bn" type: "BatchNorm" bottom: "x" top: "x" }}
  layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
    inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
  layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" top: "loss" loss_param {{ ignore_label: 2 }} }}
}}
"""


def start(
    folder: Path, size: int, options: tuple[str, ...] = RESUME, fault: Callable[[int], None] | None = None
) -> list[int]:
    """The numbers of so many processes that train. `fault`: what is broken in each, by its rank."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    return [_fork(folder, rank, size, port, options, fault) for rank in range(size)]


def _fork(
    folder: Path, rank: int, size: int, port: int, options: tuple[str, ...], fault: Callable[[int], None] | None
) -> int:
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.chdir(folder)
        log = os.open(f"log-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        if fault is not None:
            fault(rank)
        status = main(["train", "solver.prototxt", *options])
    finally:
        os._exit(status)


def ended(processes: list[int]) -> list[int]:
    """Their exit statuses, a signal's as its negative number."""
    return [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in processes]


def killed(folder: Path, seconds: float, generator: random.Random, size: int = 2) -> list[int]:
    """Train, and kill -9 one of the processes, or all, after so many seconds."""
    processes = start(folder, size)
    time.sleep(seconds)
    first = generator.choice([*processes, None])
    for each in [first] if first else processes:
        os.kill(each, signal.SIGKILL)
    if first and generator.random() < 0.02:  # the others find out by themselves
        return ended(processes)
    for each in processes:
        os.kill(each, signal.SIGKILL)
    return ended(processes)


def to_the_end(folder: Path, size: int = 2, *options: str) -> str:
    """Train to the end; the SHA-256 of the last weights and history."""
    statuses = ended(start(folder, size, (*RESUME, *options)))
    assert statuses == [0] * size, (statuses, (folder / "log-0").read_text()[-3000:])
    sha = hashlib.sha256()
    for kind in ("caffemodel", "solverstate"):
        sha.update((folder / f"run_iter_{LAST}.{kind}").read_bytes())
    return sha.hexdigest()


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "solver.prototxt").write_text(SOLVER)
    return folder


def undisturbed(folder: Path) -> tuple[str, float]:
    """The hash of a run that nobody kills, and the seconds that it took."""
    begun = time.monotonic()
    return to_the_end(fresh(folder)), time.monotonic() - begun


def once(folder: Path, trials: int) -> dict[str, object]:
    """Each run is killed at one random time, and resumed; on one process or three now and then."""
    expected, seconds = undisturbed(folder)
    same = 0
    for trial in range(trials):
        generator = random.Random(trial)
        killed(fresh(folder), generator.uniform(0, seconds), generator)
        same += to_the_end(folder, generator.choice([2, 2, 2, 1, 3])) == expected
        print(f"{same} of {trial + 1}", file=sys.stderr, flush=True)
    return {"trials": trials, "same": same}


def again(folder: Path, kills: int) -> dict[str, object]:
    """One run is killed again and again, and resumed."""
    expected, seconds = undisturbed(folder)
    fresh(folder)
    generator = random.Random(7)
    for _ in range(kills):
        killed(folder, generator.uniform(0.3, 0.9) * seconds, generator, generator.choice([2, 2, 3]))
    return {"same": to_the_end(folder) == expected}


def stopped(folder: Path) -> dict[str, object]:
    """One of two is stopped, the other waits for it no longer than it was told; its log and status."""
    fresh(folder)
    (folder / "solver.prototxt").write_text(SOLVER.replace(f"max_iter: {LAST}", "max_iter: 1000000"))
    first, second = start(folder, 2, ("--timeout", "2"))
    _wait_for(lambda: (folder / "run_iter_4.manifest.json").exists())
    os.kill(second, signal.SIGSTOP)
    (status,) = ended([first])
    os.kill(second, signal.SIGKILL)
    ended([second])
    return {"status": status, "log": (folder / "log-0").read_text(), "process": second}


def signalled(folder: Path, name: str, rank: int) -> dict[str, object]:
    """A signal to one of two that train for long: the statuses, and the iterations saved."""
    fresh(folder)
    text = SOLVER.replace(f"max_iter: {LAST}", "max_iter: 1000000").replace("snapshot: 4", "snapshot: 0")
    (folder / "solver.prototxt").write_text(text)
    processes = start(folder, 2)
    _wait_for(lambda: (folder / "run.metrics.jsonl").exists() and "train" in (folder / "run.metrics.jsonl").read_text())
    os.kill(processes[rank], getattr(signal, name))
    os.kill(processes[rank], getattr(signal, name))  # as a terminal and a launcher send it
    return {"statuses": ended(processes), "saved": len(list(folder.glob("*.manifest.json")))}


def broken(folder: Path, fault: Callable[[int], None], *options: str, text: str = SOLVER) -> dict[str, object]:
    """Two train, and something is wrong with one of them: statuses, what rank 0 has said, what is saved."""
    fresh(folder)
    (folder / "solver.prototxt").write_text(text)
    statuses = ended(start(folder, 2, options, fault))
    saved = sorted(int(path.name.split("_")[2].split(".")[0]) for path in folder.glob("*.manifest.json"))
    return {"statuses": statuses, "log": (folder / "log-0").read_text(), "saved": saved}


def flips_a_bit(rank: int) -> None:
    """After its sixth iteration rank 1 has another weight."""
    update = solver.Solver.apply_update

    def apply_update(run: solver.Solver) -> None:
        update(run)
        if rank == 1 and run.iter == 6:
            run.net.params["fc"][0].detach().view(torch.int32).flatten()[7] ^= 1 << 20

    solver.Solver.apply_update = apply_update  # type: ignore[method-assign]


def full_disk(rank: int, upto: int) -> None:
    """No snapshot up to an iteration can be saved."""
    save = snapshot._commit

    def commit(prefix: Path, manifest: Path, parts: object, iteration: int, extras: object) -> None:
        if iteration <= upto:
            raise NetcError("X701", "the disk is full")
        save(prefix, manifest, parts, iteration, extras)  # type: ignore[arg-type]

    snapshot._commit = commit  # type: ignore[assignment]


def not_finite(rank: int) -> None:
    """At iteration 3 the loss of rank 1 is not a number."""
    losses = Net.losses

    def spoilt(net: Net, outputs: dict[str, torch.Tensor], *more: object) -> torch.Tensor:
        loss = losses(net, outputs, *more)  # type: ignore[arg-type]
        return loss * float("nan") if rank == 1 and net.clock.iteration == 8 else loss  # behind pass 7

    Net.losses = spoilt  # type: ignore[method-assign, assignment]


def slow(rank: int, seconds: float) -> None:
    """From iteration 6 on each layer takes so long, and a signal is waited for no longer than half a second."""
    call, solver.GRACE = Net._call, 0.5

    def slowly(net: Net, *given: object) -> object:
        if net.clock.iteration >= 12:
            Path(f"slow-{rank}").touch()
            time.sleep(seconds)
        return call(net, *given)  # type: ignore[arg-type]

    Net._call = slowly  # type: ignore[method-assign, assignment]


def left(folder: Path, size: int, signalled: int, *options: str) -> dict[str, object]:
    """An iteration takes long when one of the processes is asked for the end: statuses, what is saved, and whether the
    run that goes on ends as one that nobody has stopped."""
    expected = to_the_end(fresh(folder), size, *options)
    fresh(folder)
    processes = start(folder, size, (*RESUME, *options), lambda rank: slow(rank, 2.0))
    _wait_for(lambda: all((folder / f"slow-{rank}").exists() for rank in range(size)))
    os.kill(processes[signalled], signal.SIGTERM)
    statuses, log = ended(processes), (folder / "log-0").read_text()
    newest = max(int(path.name.split("_")[2].split(".")[0]) for path in folder.glob("*.manifest.json"))
    told = "iteration 6 does not end within 0.5 s of the signal" in log
    same = to_the_end(folder, size, *options) == expected
    return {"statuses": statuses, "saved": newest, "told": told, "same": same}


WRITER = """layer { name: "out" type: "HDF5Output" bottom: "fc" bottom: "y" hdf5_output_param { file_name: "f.h5" } } }
"""


def faults(folder: Path) -> dict[str, object]:
    """What breaks one of two processes, or what all depend on."""
    return {
        "bit": broken(folder / "bit", flips_a_bit, "--compare-every", "4"),
        "full": broken(folder / "full", lambda rank: full_disk(rank, 8)),
        "full at the end": broken(folder / "end", lambda rank: full_disk(rank, LAST)),
        "not finite": broken(folder / "nan", not_finite),
        "writer": broken(folder / "writer", lambda rank: None, text=SOLVER.rstrip()[:-1] + WRITER),
    }


def _wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.01)


def some(folder: Path) -> dict[str, object]:
    """What the fast suite looks at, at the cost of one import of torch."""
    return {
        "again": again(folder / "again", 10),
        "stopped": stopped(folder / "stopped"),
        "signalled": signalled(folder / "signalled", "SIGINT", 1),
        "left": left(folder / "left", 2, 1),
        **faults(folder),
    }


COMMANDS: dict[str, Callable[..., dict[str, object]]] = {
    "once": lambda folder, trials: once(folder, int(trials)),
    "again": lambda folder, kills: again(folder, int(kills)),
    "stopped": stopped,
    "some": some,
    "left": lambda folder, size, rank, *options: left(folder, int(size), int(rank), *options),
    "signalled": lambda folder, name, rank: signalled(folder, name, int(rank)),
}

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    print(json.dumps(COMMANDS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])))
