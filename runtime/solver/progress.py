"""A line with rate and time left at the bottom of the terminal, while a training run goes on.

Only where stderr is a terminal; the log lines above it stay as they are. rich is imported only then.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any

from netc.errors.terminal import raw


class Progress:
    """The progress line of a run until iteration `stop`. Does nothing unless stderr is a terminal."""

    def __init__(self, stop: int) -> None:
        self._bar: Any = None
        self._start, self._since = -1, 0.0
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._bar = _bar()
            self._task = self._bar.add_task("training", total=stop, completed=0, note="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal has gone
                self._bar.stop()

    def update(self, iteration: int, loss: float) -> None:
        if self._start < 0:
            self._start, self._since = iteration, time.perf_counter()
        if self._bar is not None:
            rate = (iteration - self._start) / max(time.perf_counter() - self._since, 1e-9)
            with suppress(OSError):
                self._bar.update(self._task, completed=iteration, note=f"loss {loss:.4g}  {rate:.3g} iter/s")

    @property
    def stream(self) -> Any:
        """Where log lines go so that they do not tear the progress line; rich moves it below each."""
        return sys.stderr if self._bar is None else _Above(self._bar.console)


class _Above:
    """A text stream that prints above the progress line."""

    def __init__(self, console: Any) -> None:
        self._console = console

    def write(self, text: str) -> None:
        self._console.out(text, end="", highlight=False)

    def flush(self) -> None:
        pass


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    console = Console(file=raw(sys.stderr))
    return Progress(
        *columns,
        console=console,
        transient=True,
        refresh_per_second=4,
        redirect_stdout=False,  # what is printed there must not pass by its cleaning
        redirect_stderr=False,
    )
