"""Reading a database back, without netc."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb
import pytest

from netc import proto


@pytest.fixture
def records():
    """A function: database folder → {key: Datum}, in the order of the keys."""

    def read(path: Path) -> dict[str, object]:
        with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
            return {
                os.fsdecode(bytes(key)): proto.Datum.FromString(bytes(value)) for key, value in transaction.cursor()
            }

    return read
