"""A file for writers that cannot bear an error: HDF5 cannot close a file that it could not write, and torch's archives
end the process in C++.

    with sink(path) as file:
        torch.save(state, file)

The first error is kept from the writer, what comes after it is dropped, and it is raised at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from netc.files.durable import write_all


class Sink:
    """What the writer sees; it may also read what it has written, as long as there was no error."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None
        self.seek, self.tell, self.read, self.readinto = file.seek, file.tell, file.read, file.readinto

    def write(self, piece: Any) -> int:
        self._try(lambda: write_all(self._file.fileno(), piece))
        return len(piece)

    def truncate(self, size: int) -> int:
        self._try(lambda: os.ftruncate(self._file.fileno(), size))
        return size

    def flush(self) -> None:
        """Nothing waits."""

    def _try(self, act: Callable[[], object]) -> None:
        try:
            if self.error is None:
                act()
        except OSError as error:
            self.error = error


@contextmanager
def sink(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A new file at `path`. Raises OSError for what could not be written, whatever the writer made of it."""
    with open(path, "wb+", buffering=0) as file:
        found = Sink(file)
        try:
            yield found
        finally:
            if found.error is not None:
                raise found.error
