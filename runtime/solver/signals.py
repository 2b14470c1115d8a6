"""What a signal asks of a training run: Caffe's SolverAction (caffe.cpp: GetRequestedAction, --sigint_effect).

The first Ctrl-C asks for the effect chosen, by default a snapshot and then the end; a second one interrupts at once.
A signal only leaves a note here; the loop looks between two iterations, or between two batches of a test. One that has
not come so far within `GRACE` is left in the middle (`Solver.advance`).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

EFFECTS = ("snapshot", "stop", "none")
"""snapshot: save one and go on. stop: save one and end. none: ignore the signal."""

ECHO = 3.0
"""Seconds after a Ctrl-C in which a launcher may pass the same one on again."""

GRACE = 8.0
"""Seconds that an iteration, or a batch of a test, may go on after a signal has asked for the end."""

LEFT = "R704"
"""An iteration has been left in the middle, since a signal has asked for the end; nothing has changed."""

DEFAULTS = {"SIGINT": "stop", "SIGTERM": "stop", "SIGHUP": "snapshot"}


class Signals:
    """Catches the signals of `effects` while it is entered (in the main thread; elsewhere it catches nothing). Entered
    again, it has forgotten what came before.

    caught: the signal that asked for the end, or None. notice: called with the first such signal's name; it runs in
    the signal handler, so it may do no more than os.write. `echo`: seconds after a Ctrl-C in which another is the same
    one: a terminal sends it to all processes, and their launcher passes on its own.
    """

    def __init__(
        self,
        effects: Mapping[str, str] | None = None,
        notice: Callable[[str], None] | None = None,
        echo: float = 0.0,
    ) -> None:
        self.effects = {**DEFAULTS, **(effects or {})}
        self.caught: str | None = None
        self._echo, self._since = echo, 0.0
        self._notice = notice or (lambda name: None)
        self._pending: set[str] = set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self.caught = None
        self._pending.clear()
        if threading.current_thread() is threading.main_thread():
            for name in self.effects:
                number = getattr(signal, name, None)
                if number is not None:
                    self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _catch(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        effect = self.effects[name]
        if effect == "stop" and self.caught and name == "SIGINT" and time.monotonic() - self._since >= self._echo:
            raise KeyboardInterrupt
        if effect == "stop" and not self.caught:
            self.caught, self._since = name, time.monotonic()
            self._notice(name)
        if effect != "none":
            self._pending.add(effect)

    def take(self) -> frozenset[str]:
        """What has been asked for since the last call: a subset of {"snapshot", "stop"}."""
        asked = frozenset(self._pending)
        self._pending -= asked
        return asked

    @property
    def stopping(self) -> bool:
        """A signal has asked for the end (a test under way is cut short)."""
        return self.caught is not None

    @property
    def waiting(self) -> float:
        """Seconds since a signal has asked for the end; 0 where none has."""
        return time.monotonic() - self._since if self.caught is not None else 0.0
