"""Starting several processes on this machine, by torch's elastic launcher.

Each worker is the same command again, told its rank by torch's environment variables. Where one is killed, the launcher
ends the others and starts all of them anew (`RESTARTS` times); they continue from the newest snapshot. A worker that
ends by itself, whatever its status, is not started again: rank 0 leaves the status in a file. Signals are passed on,
and the workers decide what they mean.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

RESTARTS = 3
STATUS = "NETC_STATUS_FILE"
"""The environment variable that names the file for the status; the workers' numbers lie beside it."""

LOST = 1
"""The status where workers were lost, and no restart helped."""

PATIENCE = 10
"""Seconds that the workers have to end, where another was lost and all start again."""


def launch(processes: int, arguments: Sequence[str], module: str = "netc") -> int:
    """Run `python -m MODULE ARGUMENTS` in so many processes; returns its status."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="netc-") as folder, _passing_on(Path(folder), processes):
        status = Path(folder, "status")
        os.environ[STATUS] = str(status)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # workers of a restart must not find what those before them have left in the store
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        config = LaunchConfig(
            1,
            1,
            processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=RESTARTS,
            monitor_interval=0.5,
            shutdown_timeout=PATIENCE,
            signals_to_handle="SIGQUIT",  # the others are passed on by `_passing_on`
        )
        try:
            elastic_launch(config, sys.executable)("-m", module, *arguments)
        except SignalException as error:  # before the workers could hear of it
            return 128 + int(error.sigval)
        except ChildFailedError as error:
            if not status.exists():
                print(f"netc: {_reason(error)}", file=sys.stderr)
        return int(status.read_text()) if status.exists() else LOST


@contextmanager
def _passing_on(folder: Path, processes: int) -> Iterator[None]:
    """Within it, SIGINT, SIGTERM and SIGHUP go to the workers, once all of them listen (`listening`); before that they
    end the launcher and its workers."""
    from torch.distributed.elastic.multiprocessing.api import SignalException

    def catch(number: int, frame: FrameType | None) -> None:
        workers = _listeners(folder)
        if len(workers) < processes:
            raise SignalException(f"signal {number}", sigval=signal.Signals(number))
        # all ranks do what one is asked for; a snapshot asked for twice would be saved twice
        for worker in workers[: 1 if number == signal.SIGHUP else None]:
            os.kill(worker, number)

    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, catch) for number in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listeners(folder: Path) -> list[int]:
    """The numbers of the workers that run, by their rank."""
    found = []
    for path in sorted(folder.glob("worker-*"), key=lambda path: int(path.name.rpartition("-")[2])):
        with suppress(ValueError, OSError):
            number = int(path.read_text("ascii"))
            os.kill(number, 0)
            found.append(number)
    return found


def listening(rank: int) -> None:
    """Tell the launcher that signals can be passed on to this worker."""
    if STATUS in os.environ:
        Path(os.environ[STATUS]).with_name(f"worker-{rank}").write_text(str(os.getpid()), "ascii")


def _reason(error: Exception) -> str:
    failures = getattr(error, "failures", {})
    lost = ", ".join(f"rank {rank} ({_end(each.exitcode)})" for rank, each in sorted(failures.items()))
    return f"workers were lost, {RESTARTS} restarts included: {lost}" if lost else str(error)


def _end(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"


def ended(status: int, rank: int) -> int:
    """The status with which a worker ends: 0 to the launcher, which learns the real one from rank 0's file. Signals no
    longer count: a worker that one of them ended would be started again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if STATUS not in os.environ:
        return status
    if rank == 0:
        Path(os.environ[STATUS]).write_text(str(status), "utf-8")
    return 0


def lost(text: str) -> NoReturn:
    """End a worker that cannot go on without one that is lost, so that the launcher starts all again."""
    print(f"netc: {text}", file=sys.stderr, flush=True)
    os._exit(LOST)  # what torch has under way would wait for the one that is lost


def restarted() -> bool:
    """Whether the launcher has started this process again, after another was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
