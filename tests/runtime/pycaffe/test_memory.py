"""Tensors and their arrays: shared on a CPU, kept in step on a GPU."""

from __future__ import annotations

import gc

import numpy as np
import torch

from netc.runtime.pycaffe.memory import Memory


class OnAGpu(Memory):
    """What a GPU's does, where the tests have none."""

    __slots__ = ()
    array = Memory._copied


def test_on_a_cpu_the_array_is_the_memory() -> None:
    memory = Memory(torch.zeros(2, 3, requires_grad=True))
    array = memory.array()
    assert memory.array() is array
    array[...] = 4
    assert (memory.tensor == 4).all()


def test_an_array_that_is_held_gets_new_values() -> None:
    memory = Memory(torch.zeros(3))
    view = memory.array()[1:]
    memory.become(torch.ones(3))
    memory.settle()
    assert (view == 1).all()
    view[...] = 5
    assert memory.tensor.tolist() == [1, 5, 5]
    memory.become(torch.ones(4))  # another shape: the old array keeps what it had
    memory.settle()
    assert not memory.shown
    assert view.tolist() == [5, 5]


def test_an_array_that_nobody_holds_costs_no_copy() -> None:
    memory = Memory(torch.zeros(3))
    memory.array()
    gc.collect()
    made = torch.ones(3)
    memory.become(made)
    memory.settle()
    assert memory.tensor.data_ptr() == made.data_ptr()


def test_rows_that_lie_apart_are_put_together() -> None:
    memory = Memory(torch.arange(6.0).view(2, 3).t())
    assert memory.array().flags.c_contiguous
    memory.array()[0] = 9
    assert memory.tensor.tolist() == [[9, 9], [1, 4], [2, 5]]


def test_on_a_gpu_writes_are_carried_before_the_next_use() -> None:
    memory = OnAGpu(torch.zeros(3))
    array = memory.array()
    array[...] = 2
    assert memory._tensor.tolist() == [0, 0, 0]
    assert memory.tensor.tolist() == [2, 2, 2]
    memory.become(torch.ones(3))
    assert array.tolist() == [2, 2, 2]
    assert memory.array() is array
    assert array.tolist() == [1, 1, 1]
    memory.become(torch.ones(2))
    assert memory.array().tolist() == [1, 1]
    assert isinstance(memory.array(), np.ndarray)
