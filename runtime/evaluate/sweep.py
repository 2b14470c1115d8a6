"""Nets over all pictures of a source: read ahead by threads, spread over processes, kept on disk.

The pictures are taken by blocks of `BLOCK`, which the processes share out. In a block those of one ratio are looked at
together, up to `BATCH` of them, and one thread computes one such batch from beginning to end. So the bits of a result
do not depend on the number of threads or processes, nor on what an earlier run has left on disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.runtime.data.decoding import Pixels
from netc.runtime.evaluate.classifier import Classifier, Posteriors
from netc.runtime.evaluate.posteriors import BATCH, ratio
from netc.runtime.evaluate.protocol import DENSE, Look, Protocol
from netc.runtime.evaluate.sources import Record, Source
from netc.runtime.evaluate.store import Store
from netc.runtime.parallel.group import Group

BLOCK = 128


@dataclass(slots=True)
class Member:
    """A net and the protocol by which it is tested. `store`: where its posteriors are kept, None for nowhere. net,
    weights: the names of its files."""

    classifier: Classifier
    protocol: Protocol
    store: Store | None = None
    net: str = ""
    weights: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """A picture that counts nowhere, and why."""

    index: int
    error: NetcError


Looked = Mapping[Look, Posteriors]
"""Of each look (2, values): what it found on one picture, or (2, images, values) on several."""

_Row = tuple[Any, ...]


class Sweep:
    """Members over a source; what is kept of each picture is said by a class below this one.

    `workers`: threads that decode; `streams`: batches computed at a time, each by one thread. `done`: called with the
    pictures done so far.
    """

    def __init__(
        self,
        source: Source,
        members: Sequence[Member],
        group: Group,
        workers: int,
        streams: int,
        done: Callable[[int], None] | None = None,
    ) -> None:
        self.source, self.members, self.group, self.streams = source, members, group, streams
        self._done = done or (lambda count: None)
        self._decoding = ThreadPoolExecutor(workers, "decode")
        self._computing = ThreadPoolExecutor(streams, "evaluate")
        self.broken: list[Broken] = []
        self.check()

    def check(self) -> None:
        """Raises NetcError as `Classifier.check`."""
        for member in self.members:
            member.classifier.check(list(member.protocol.looks()))

    def check_record(self, record: Record) -> None:
        """What must hold before its pixels are read."""

    def row(self, record: Record, each: Sequence[Looked]) -> tuple[Any, ...]:
        """What is kept of a picture, given what each member's looks found; its index comes first."""
        raise NotImplementedError

    def gathered(self) -> tuple[list[tuple[Any, ...]], list[Broken]]:
        """The rows of all processes, on each of them, in the order of the source. Raises NetcError of the first rank
        that has one, R740 where no picture could be read."""
        for member in self.members:
            if member.store is not None:
                member.store.look_up(member.protocol.looks())
        self.group.agree(None)  # nobody computes before all have seen what there is
        rows: list[tuple[Any, ...]] = []
        error = None
        try:
            rows = list(self._rows())
        except NetcError as failed:
            error = failed
        finally:
            for pool in (self._decoding, self._computing):
                pool.shutdown(wait=True, cancel_futures=True)
        parts = self.group.agree(error, rows, self.broken)
        if not any(part for part, _ in parts):
            first = [one.error for _, broken in parts for one in broken][:3]
            why = "; ".join(error.message for error in first) or "it has none"
            raise NetcError("R740", f"no picture of {self.source.path} could be read: {why}", Place(self.source.path))
        found = sorted((row for part, _ in parts for row in part), key=lambda row: row[0])
        return found, sorted((one for _, broken in parts for one in broken), key=lambda one: one.index)

    # -- the pictures of this process ----------------------------------------------------------------------------------

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        count = 0
        for future in self._finished():
            found = future.result()
            count += len(found)
            self._done(count)
            yield from found

    def _finished(self) -> Iterator[Future[list[_Row]]]:
        """The batches in order, a few of them under way."""
        waiting: deque[Future[list[_Row]]] = deque()
        for batch in self._batches():
            waiting.append(self._computing.submit(self._compute, batch))
            if len(waiting) > 2 * self.streams:
                yield waiting.popleft()
        yield from waiting

    def _batches(self) -> Iterator[list[tuple[Record, Future[Pixels] | None]]]:
        """Records of one ratio, with their pixels under way where these are needed."""
        size = len(self.source)
        for number, start in enumerate(range(0, size, BLOCK)):
            if number % self.group.size == self.group.rank:
                block = range(start, min(start + BLOCK, size))
                yield from map(self._started, _together(self._read(block), self._is_dense()))

    def _is_dense(self) -> bool:
        return any(DENSE in member.protocol.parts for member in self.members)

    def _read(self, block: range) -> list[Record]:
        """The records of a block that have a header of a picture; others are noted."""
        records = []
        for index, found in zip(block, self._decoding.map(self._record, block), strict=True):
            if isinstance(found, NetcError):
                self.broken.append(Broken(index, found))
            else:
                self.check_record(found)
                records.append(found)
        return records

    def _record(self, index: int) -> Record | NetcError:
        try:
            return self.source.record(index)
        except NetcError as error:
            if error.code != "D520":  # the source itself is damaged
                raise
            return error

    def _started(self, batch: list[Record]) -> list[tuple[Record, Future[Pixels] | None]]:
        needed = any(self._missing(member, batch) for member in self.members)
        return [(record, self._decoding.submit(self._pixels, record) if needed else None) for record in batch]

    def _pixels(self, record: Record) -> Pixels:
        return record.pixels(self.members[0].classifier.input.channels == 3)

    @staticmethod
    def _missing(member: Member, batch: Sequence[Record]) -> list[Look]:
        """The looks at a batch that have to be computed: all of a batch, where one of it is missing."""
        store = member.store
        if store is None:
            return list(member.protocol.looks())
        return [
            look for look in member.protocol.looks() if any(store.get(look, record.sha256) is None for record in batch)
        ]

    # -- one batch -----------------------------------------------------------------------------------------------------

    def _compute(self, batch: list[tuple[Record, Future[Pixels] | None]]) -> list[_Row]:
        records, pixels = self._decoded(batch)
        if not records:
            return []
        found = [self._looked(member, records, pixels) for member in self.members]
        return [
            self.row(record, [{look: each[:, at] for look, each in one.items()} for one in found])
            for at, record in enumerate(records)
        ]

    def _decoded(self, batch: list[tuple[Record, Future[Pixels] | None]]) -> tuple[list[Record], list[Pixels]]:
        records, pixels = [], []
        for record, coming in batch:
            try:
                if coming is not None:
                    pixels.append(coming.result())
                records.append(record)
            except NetcError as error:
                self.broken.append(Broken(record.index, error))
        return records, pixels

    def _looked(self, member: Member, records: list[Record], pixels: list[Pixels]) -> Looked:
        looks = self._missing(member, records) if pixels else []
        found: dict[Look, Posteriors] = {}
        for look, each in member.classifier.posteriors(pixels, looks):
            found[look] = each
            if member.store is not None:
                member.store.put(look, [record.sha256 for record in records], each)
        for look in member.protocol.looks():
            if look not in found:
                assert member.store is not None
                kept = [member.store.get(look, record.sha256) for record in records]
                found[look] = np.stack([one for one in kept if one is not None], axis=1)
        return found


def _together(records: Sequence[Record], dense: bool) -> Iterator[list[Record]]:
    """Batches of records, of one ratio each where the net sees whole images, in the order of their first ones."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(ratio(*record.size) if dense else None, []).append(record)
    for group in groups.values():
        yield from (group[start : start + BATCH] for start in range(0, len(group), BATCH))
