"""Sizes of resized planes. Plain numbers: shape rules ask this too, without torch."""

from __future__ import annotations


def zoomed(sizes: tuple[int, ...], zoom: int = 1, shrink: int = 1, cut: int = 0) -> tuple[int, int]:
    """(rows, columns) of a plane that loses `cut` of each, then keeps every shrink-th, then gets zoom - 1 between two:
    its corners stay corners."""
    rows, columns = ((size - cut - 1) // shrink * zoom + 1 for size in sizes)
    return rows, columns
