"""Starting several processes on this machine, by torch's elastic launcher.

Each worker is the same command again, told its rank by torch's environment variables. Where one is killed, the launcher
ends the others and starts all of them anew (`RESTARTS` times); they continue from the newest snapshot. A worker that
ends by itself, whatever its status, is not started again: rank 0 leaves the status in a file.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

RESTARTS = 3
STATUS = "NETC_STATUS_FILE"
"""The environment variable that names the file for the status."""

LOST = 1
"""The status where workers were lost, and no restart helped."""


def launch(processes: int, arguments: Sequence[str], module: str = "netc") -> int:
    """Run `python -m MODULE ARGUMENTS` in so many processes; returns its status."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="netc-") as folder:
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
            shutdown_timeout=120,  # a signal is passed on, and the workers save a snapshot
        )
        try:
            elastic_launch(config, sys.executable)("-m", module, *arguments)
        except (ChildFailedError, SignalException) as error:
            if not status.exists():
                print(f"netc: {_reason(error)}", file=sys.stderr)
        return int(status.read_text()) if status.exists() else LOST


def _reason(error: Exception) -> str:
    failures = getattr(error, "failures", {})
    lost = ", ".join(f"rank {rank} ({_end(each.exitcode)})" for rank, each in sorted(failures.items()))
    return f"workers were lost, {RESTARTS} restarts included: {lost}" if lost else str(error)


def _end(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"


def ended(status: int, rank: int) -> int:
    """The status with which a worker ends: 0 to the launcher, which learns the real one from rank 0's file."""
    if STATUS not in os.environ:
        return status
    if rank == 0:
        Path(os.environ[STATUS]).write_text(str(status), "utf-8")
    return 0


def restarted() -> bool:
    """Whether the launcher has started this process again, after another was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
