"""Randomness as a function: every number is computed from (key, counter), none from a state.

A key names what the number is for (seed, layer, iteration), a counter the position (sample, pixel, element). The same
call gives the same number in any process, on any thread, before or after a restart. The mixing function is the
finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) on key + n·γ.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_GAMMA = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def key(*parts: int | str) -> int:
    """A 64-bit key from integers and names; different parts give unrelated keys."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def uniform(key: int, counters: NDArray[np.integer]) -> NDArray[np.float64]:
    """Numbers in [0, 1) with 53 random bits, one for each counter (counters may be any non-negative integers)."""
    x = counters.astype(np.uint64) * np.uint64(_GAMMA) + np.uint64(key)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MIX1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MIX2)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draws(*parts: int | str, n: int) -> list[float]:
    """The first `n` numbers in [0, 1) of the key made of `parts`."""
    start = key(*parts)
    return [_scalar(start, counter) for counter in range(n)]


def _scalar(key: int, counter: int) -> float:
    return float(step_key_int(key, counter) >> 11) * 2.0**-53


def permutation(n: int, *parts: int | str) -> NDArray[np.int64]:
    """A permutation of range(n), a pure function of its arguments."""
    return np.argsort(uniform(key(*parts), np.arange(n)), kind="stable")


def uniform_tensor(key: torch.Tensor, first: torch.Tensor | int, rows: int, row_size: int) -> torch.Tensor:
    """Float32 numbers in [0, 1), shape (rows, row_size), on `key`'s device; row r belongs to position first + r.

    `key` is a 0-d int64 tensor, and `first` may be one (so that a compiled graph need not change with them). Each
    number is the one that `uniform` gives for counter (first + r)·row_size + column, cut to 24 bits.
    """
    import torch

    x = first * row_size + torch.arange(rows * row_size, dtype=torch.int64, device=key.device)
    bits = _shift(_mix(x * _signed(_GAMMA) + key), 40)
    return (bits.to(torch.float32) * 2.0**-24).view(rows, row_size)


def step_key(key: int, step: torch.Tensor) -> torch.Tensor:
    """The key of step number `step` (0-d int64 tensor) derived from a fixed key; `step_key_int` is its twin."""
    return _mix(step * _signed(_GAMMA) + _signed(key))


def step_key_int(key: int, step: int) -> int:
    """What `step_key` computes, in Python's integers."""
    x = (step * _GAMMA + key) & _MASK
    x = ((x ^ (x >> 30)) * _MIX1) & _MASK
    x = ((x ^ (x >> 27)) * _MIX2) & _MASK
    return x ^ (x >> 31)


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _shift(x, 30)) * _signed(_MIX1)
    x = (x ^ _shift(x, 27)) * _signed(_MIX2)
    return x ^ _shift(x, 31)


def _shift(x: torch.Tensor, places: int) -> torch.Tensor:
    """Logical right shift of int64 (torch's is arithmetic)."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
