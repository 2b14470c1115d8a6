"""A database in a folder of its own, read in full."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from netc.runtime.data.leveldb import LevelDB
from netc.runtime.data.lmdb import LMDB


def read_files(files: dict[str, bytes], kind: Callable[[str], LMDB | LevelDB]) -> None:
    """Read a folder of these files in full."""
    folder = Path(tempfile.gettempdir(), f"netc-fuzz-{os.getpid()}")  # its letters are the same in all messages
    folder.mkdir()
    try:
        for name, content in files.items():
            (folder / name[:60]).write_bytes(content)
        read_all(kind(str(folder)))
    finally:
        shutil.rmtree(folder)


def read_all(database: LMDB | LevelDB) -> None:
    """Every record by its position, and all values in either direction, which agree."""
    with database:
        values = [database.record(index)[1] for index in range(len(database))]
        assert list(database.values()) == values
        assert list(database.values(backwards=True)) == values[::-1]
        assert database.first()[1] == values[0]
