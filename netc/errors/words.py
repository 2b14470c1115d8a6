"""Numbers and tables for a reader."""

from __future__ import annotations

from collections.abc import Sequence

SCALES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def scaled(number: int) -> str:
    """Four digits and a letter: 19632062464 → "19.63 G"; numbers below 10,000 as they are."""
    if number < 10_000:
        return f"{number:,}"
    size, letter = next((size, letter) for size, letter in SCALES if number >= size)
    return f"{number / size:#.4g}".rstrip(".") + f" {letter}"


def in_bytes(count: int) -> str:
    """548.0 MiB, 23.5 GiB, 12 B."""
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), (1, "B"))
    return f"{count / size:,.1f} {unit}" if size > 1 else f"{count} B"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of aligned columns, two blanks apart; the columns in `right` are flush right. A column with nothing in it
    is left out."""
    lines = [head, *rows]
    used = [i for i in range(len(head)) if any(row[i] for row in rows)]
    widths = {i: max(len(line[i]) for line in lines) for i in used}
    return [
        "  ".join(line[i].rjust(widths[i]) if i in right else line[i].ljust(widths[i]) for i in used).rstrip()
        for line in lines
    ]
