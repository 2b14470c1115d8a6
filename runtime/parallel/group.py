"""The processes that train together, or the one that trains alone: what they tell each other, and agree on.

Every method that does not say otherwise is a collective: all ranks call the same ones in the same order. What one rank
finds wrong is raised on all (`agree`), so that none waits for one that has gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from netc.errors import NetcError
from netc.runtime.parallel.watch import LOST, Watch

T = TypeVar("T")

TIMEOUT = 600
"""Seconds after which a rank that does not answer is given up."""


class Group:
    """A process alone; the base of those that are several."""

    rank, size = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone writes and reports."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order, on every rank. Values are what pickle takes."""
        return [value]

    def told(self, value: T) -> T:
        """Rank 0's value."""
        return self.gather(value)[0]

    def by_first(self, work: Callable[[], T]) -> T:
        """What `work` gives on rank 0, on every rank. Raises the NetcError that it raises, on all of them."""
        value: Any = None
        error = None
        try:
            value = work() if self.first else None
        except NetcError as failed:
            error = failed
        found: T = self.agree(error, value)[0][0]
        return found

    def all_to_all(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """`rows` (size, own count, n): one block for each rank → (all counts, n): the blocks meant for this rank."""
        return rows[0]

    def all_gather(self, part: Tensor) -> Tensor:
        """The parts of all ranks, equally long, one behind the other."""
        return part

    def doing(self, what: str) -> None:
        """What this process is at, in words: where it is lost, the others name it with that."""

    def where(self) -> str:
        """This process, in words: rank, host and process."""
        return f"rank {self.rank}"

    def tell_of_end(self, asked: Callable[[], bool]) -> None:
        """Let the others know within a second that this process has been `asked` for the end. No collective."""

    @property
    def ending(self) -> float:
        """Seconds since a process has told of the end, this one or another; 0 where none has. No collective."""
        return 0.0

    @contextmanager
    def waiting(self, call: str) -> Iterator[None]:
        """Within it, torch itself makes processes wait for one another. Raises NetcError R664 where one is lost."""
        yield

    def close(self) -> None: ...

    def agree(self, error: NetcError | None, *said: Any) -> list[Any]:
        """`said` of every rank, in their order. Raises the error of the first rank that has one, on all of them."""
        found = self.gather((error, said))
        for rank, (other, _) in enumerate(found):
            if other is not None:
                raise _of_rank(other, rank, self)
        return [values for _, values in found]


def _of_rank(error: NetcError, rank: int, group: Group) -> NetcError:
    if group.size == 1 or rank == group.rank:
        return error
    return NetcError(error.code, f"rank {rank}: {error.message}", error.place, error.hint, error.related)


class Processes(Group):
    """The processes of torch.distributed, started by `netc train --nproc` or by torchrun.

    timeout: seconds after which a rank that does not answer is given up. Raises NetcError R664, also in every
    collective, for a rank that is lost.
    """

    def __init__(self, device: str = "cpu", timeout: float = TIMEOUT) -> None:
        backend, limit = "nccl" if device.startswith("cuda") else "gloo", timedelta(seconds=timeout)
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        store = self._met(limit)
        self._watch = Watch(store.clone(), self.rank, self.size, orphans="TORCHELASTIC_RUN_ID" in os.environ)
        with self._watch.calling("the meeting of all"):
            shared = PrefixStore("torch", store)
            dist.init_process_group(backend, timeout=limit, store=shared, rank=self.rank, world_size=self.size)
            # what processes tell each other waits neither for gradients under way nor for a GPU
            self._words = dist.new_group(backend="gloo", timeout=limit)

    def _met(self, limit: timedelta) -> Any:
        """The store at which torch's environment variables let the processes meet."""
        try:
            store, _, _ = next(rendezvous("env://", timeout=limit))
        except (RuntimeError, ValueError) as error:
            address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            message = f"rank {self.rank} has not met the others at {address}: {str(error).splitlines()[0]}"
            hint = "check that rank 0 runs, and that its address can be reached"
            raise NetcError(LOST, message, None, hint) from None
        return store

    def doing(self, what: str) -> None:
        self._watch.doing = what

    def waiting(self, call: str) -> Any:
        return self._watch.calling(call)

    def where(self) -> str:
        return self._watch.who()

    def at(self) -> str:
        """What this process is doing, and the collective that it is in."""
        return self._watch.at()

    def tell_of_end(self, asked: Callable[[], bool]) -> None:
        self._watch.asked = asked

    @property
    def ending(self) -> float:
        return self._watch.ending

    def gather(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.size
        with self._watch.calling("gather"):
            dist.all_gather_object(found, value, group=self._words)
        return found

    def all_to_all(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        found = rows.new_empty(sum(counts), rows.shape[2])
        own = rows.shape[1]
        with self._watch.calling("all_to_all"):
            dist.all_to_all_single(found, rows.flatten(0, 1), list(counts), [own] * self.size)
        return found

    def all_gather(self, part: Tensor) -> Tensor:
        found = part.new_empty(self.size, len(part))
        with self._watch.calling("all_gather"):
            dist.all_gather(list(found), part)
        return found.flatten()

    def close(self) -> None:
        self._watch.close()
        if dist.is_initialized():
            dist.destroy_process_group()


def local_rank() -> int:
    """Which of the processes of this machine this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_size() -> int:
    """How many processes a launcher has started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def launched() -> bool:
    """Whether this process is one of several that a launcher has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
