"""What a signal asks of a training run: Caffe's SolverAction (caffe.cpp: GetRequestedAction, --sigint_effect).

The first Ctrl-C asks for the effect chosen, by default a snapshot and then the end; a second one interrupts at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

EFFECTS = ("snapshot", "stop", "snapshot_stop", "none")
"""snapshot: save one and go on. stop: end without saving. snapshot_stop: save one and end. none: ignore."""

DEFAULTS = {"SIGINT": "snapshot_stop", "SIGTERM": "snapshot_stop", "SIGHUP": "snapshot"}


class Signals:
    """Catches the signals of `effects` while it is entered (in the main thread; elsewhere it catches nothing)."""

    def __init__(self, effects: dict[str, str] | None = None) -> None:
        self.effects = {**DEFAULTS, **(effects or {})}
        self.caught: str | None = None
        self._pending: list[str] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
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
        if name == "SIGINT" and self.caught == "SIGINT":
            raise KeyboardInterrupt
        if self.effects[name] != "none":
            self._pending.append(self.effects[name])
            if self.effects[name] != "snapshot":
                self.caught = name

    def take(self) -> frozenset[str]:
        """What has been asked for since the last call: a subset of {"snapshot", "stop"}."""
        asked = frozenset(word for effect in self._pending for word in effect.split("_") if word != "none")
        self._pending.clear()
        return asked

    @property
    def stopping(self) -> bool:
        """A signal has asked for the end (a test under way is cut short)."""
        return self.caught is not None
