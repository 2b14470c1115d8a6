"""Several processes as threads of one: the same exchange of values, without the start of a process each.

What torch.distributed itself does is tried by the tests that start processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from netc.runtime.parallel.group import Group

T = TypeVar("T")


class Thread(Group):
    def __init__(self, rank: int, size: int, room: list[Any], meet: threading.Barrier) -> None:
        self.rank, self.size, self._room, self._meet = rank, size, room, meet

    def gather(self, value: T) -> list[T]:
        self._room[self.rank] = value
        self._meet.wait(timeout=300)
        found = list(self._room)
        self._meet.wait(timeout=300)
        return found

    def all_to_all(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        return torch.cat([theirs[self.rank] for theirs in self.gather(rows)])

    def all_gather(self, part: Tensor) -> Tensor:
        return torch.cat(self.gather(part))


def together(size: int, work: Callable[[Group], T]) -> list[T]:
    """What `work` returns for each of `size` ranks, which run at the same time. Raises what one of them raises."""
    room: list[Any] = [None] * size
    meet = threading.Barrier(size)
    results: list[Any] = [None] * size
    failures: list[BaseException] = []

    def run(rank: int) -> None:
        torch.set_num_threads(1)
        try:
            results[rank] = work(Thread(rank, size, room, meet))
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            failures.append(error)
            meet.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results
