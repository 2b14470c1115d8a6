"""The command line, one file a command: `netc <command>` runs `command` of `netc/cli/<command>.py`.

The only place that knows both sides, the compiler (netc) and the machine (netc.runtime). A command imports what it
needs inside its function: `netc --help` and `netc --version` answer without torch, protobuf, lark or numpy.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run `netc` with `args` (default: the process's own) and return its exit status."""
    from netc.cli._main import run

    return run(args)
