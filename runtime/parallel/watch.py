"""Who is there: each process tells the others where it is, so that one that is lost can be named.

A thread of each writes a line into the store that the processes have met at: host, process, what it is doing, and a
count of beats. Where a collective fails or takes too long, the others read these lines (`Watch.lost`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch

from netc.errors import NetcError

T = TypeVar("T")

LOST = "R664"
"""A process of the group is gone, or does not answer."""

BEAT = 0.5
"""Seconds between two lines of a process."""

SILENT = 5 * BEAT
"""A process that has written no line for so long is not running."""


class Watch:
    """Rank `rank` of `size`, as the others see it through `store`.

    doing: what the process is at, in words, for the others to read. asked: whether this process has been asked for the
    end, which the others are told. `orphans`: ask for the end where the process that
    has started this one is gone.
    """

    def __init__(self, store: Any, rank: int, size: int, orphans: bool = False) -> None:
        self.rank, self.size = rank, size
        self.doing = "at the start"
        self.asked: Callable[[], bool] = bool
        self._ending_since: float | None = None
        self._store, self._orphans = store, orphans
        self._calls, self._call, self._beats, self._left = 0, "", 0, False
        self._parent = os.getppid()
        self._host: dict[str, Any] = {}
        self._machine = _machine()
        self._end = threading.Event()
        self._tell()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="netc-watch")
        self._thread.start()

    # -- telling -------------------------------------------------------------------------------------------------------

    @contextmanager
    def calling(self, call: str) -> Iterator[None]:
        """Within it, the process waits for others in the collective `call`. Raises NetcError R664 where it fails."""
        self._calls += 1
        self._call = call
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise self.lost(error) from error
        finally:
            self._call = ""

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            self._beats += 1
            with suppress(RuntimeError):  # the store has gone with rank 0: the next collective tells of it
                self._tell()
                self._pass_on_the_end()
                if self.rank:  # the lines are at rank 0's place: should it fall silent, this is who it was
                    self._host = json.loads(self._store.get("netc/0"))
            if self._orphans and os.getppid() != self._parent:
                self._orphans = False
                os.kill(os.getpid(), signal.SIGTERM)

    def _tell(self) -> None:
        said = {
            "host": socket.gethostname(),
            "machine": self._machine,
            "process": os.getpid(),
            "doing": self.doing,
            "call": self._call,
            "calls": self._calls,
            "beats": self._beats,
            "left": self._left,
        }
        self._store.set(f"netc/{self.rank}", json.dumps(said))

    def _pass_on_the_end(self) -> None:
        if self._ending_since is None and (self.asked() or self._store.check(["netc/end"])):
            self._ending_since = time.monotonic()
            self._store.set("netc/end", "")

    @property
    def ending(self) -> float:
        """Seconds since any of the processes was asked for the end; 0 where none was."""
        return time.monotonic() - self._ending_since if self._ending_since is not None else 0.0

    def who(self) -> str:
        """This process, in words."""
        return f"rank {self.rank} (host {socket.gethostname()}, process {os.getpid()})"

    def at(self) -> str:
        """What it is doing, and the collective that it is in."""
        return self._at(self.doing, self._call)

    # -- asking after the others ---------------------------------------------------------------------------------------

    def lost(self, error: Exception) -> NetcError:
        """R664, with the ranks that are missing and what they were doing."""
        mine = self._at(self.doing, self._call)
        missing = self._missing() or [f"a process does not answer: {str(error).splitlines()[0]}"]
        self._left = True
        with suppress(RuntimeError):
            _within(SILENT, self._tell)
        if self.rank == 0:
            time.sleep(2 * BEAT)  # the store is here: the others read it, too
        message = f"{'; '.join(missing)}; rank {self.rank} waited {mine}"
        hint = "a launcher starts all again from the newest snapshot; else start the command again with --resume auto"
        return NetcError(LOST, message, None, hint)

    def _missing(self) -> list[str]:
        try:
            before = _within(SILENT, self._others)
            time.sleep(SILENT)
            now = _within(SILENT, self._others)
        except RuntimeError:
            return [f"rank 0 {self._fault(self._host, self._host)}"] if self._host else ["rank 0 does not answer"]
        texts = [(rank, self._fault(before.get(rank), said)) for rank, said in now.items()]
        return [f"rank {rank} {text}" for rank, text in texts if text]

    def _others(self) -> dict[int, dict[str, Any]]:
        found = {}
        for rank in range(self.size):
            if rank != self.rank:
                key = f"netc/{rank}"
                found[rank] = json.loads(self._store.get(key)) if self._store.check([key]) else {}
        return found

    def _fault(self, before: dict[str, Any] | None, said: dict[str, Any]) -> str:
        """What is wrong with a rank; "" if nothing is."""
        if not said:
            return "has not come"
        if said["left"]:
            return ""
        where = f"(host {said['host']}, process {said['process']})"
        at = f"last heard of {self._at(said['doing'], said['call'])}"
        state = _state(said["process"]) if said["machine"] == self._machine else ""
        if state in ("has died", "is stopped"):
            return f"{where} {state}, {at}"
        if before is not None and before.get("beats") == said["beats"]:
            return f"{where} does not answer, {at}"
        return f"{where} does not come, {at}" if said["calls"] < self._calls else ""

    @staticmethod
    def _at(doing: str, call: str) -> str:
        return f"{doing}, in {call}" if call else doing


def _machine() -> str:
    """The same for processes that see one another's numbers."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _state(process: int) -> str:
    """What there is to say of a process of this machine: has died, is stopped, runs."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            letter = file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "has died" if os.path.exists("/proc/self/stat") else "runs"
    except OSError:
        return "has died"
    return {"Z": "has died", "X": "has died", "T": "is stopped", "t": "is stopped"}.get(letter, "runs")


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` returns. Raises RuntimeError where it has not answered in time: a store may wait for ever."""
    found: list[T] = []

    def asking() -> None:
        with suppress(RuntimeError):
            found.append(ask())

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise RuntimeError("no answer")
    return found[0]
