"""The processes that train together, or the one that trains alone: what they tell each other, and agree on.

Every method is a collective: all ranks call the same ones in the same order. What one rank finds wrong is raised on all
(`agree`), so that none waits for one that has gone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

from netc.errors import NetcError

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

    def all_to_all(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """`rows` (size, own count, n): one block for each rank → (all counts, n): the blocks meant for this rank."""
        return rows[0]

    def all_gather(self, part: Tensor) -> Tensor:
        """The parts of all ranks, equally long, one behind the other."""
        return part

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
    """The processes of torch.distributed, started by `netc train --nproc` or by torchrun."""

    def __init__(self, device: str = "cpu", timeout: float = TIMEOUT) -> None:
        backend = "nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # what processes tell each other waits neither for gradients under way nor for a GPU
        self._words = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))

    def gather(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self._words)
        return found

    def all_to_all(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        found = rows.new_empty(sum(counts), rows.shape[2])
        own = rows.shape[1]
        dist.all_to_all_single(found, rows.flatten(0, 1), list(counts), [own] * self.size)
        return found

    def all_gather(self, part: Tensor) -> Tensor:
        found = part.new_empty(self.size, len(part))
        dist.all_gather(list(found), part)
        return found.flatten()

    def close(self) -> None:
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
