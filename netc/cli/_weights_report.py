"""What `netc weights` says, as text and as JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from netc.errors import NetcError, Place, counted, did_you_mean, printable
from netc.errors.words import in_bytes, table
from netc.layers.base import format_shape
from netc.weights.compare import DIFFERENT, EQUAL, RESHAPED, SHAPE, Difference
from netc.weights.contents import BLOB, HDF5_STATE, SOLVERSTATE, Contents, Held, Part
from netc.weights.statistics import Summary, summarise

HASH_SHOWN = 16
FACT_SHOWN = 100
Summaries = dict[int, Summary]
"""By the id of the array's holder."""


def selected(found: Contents, layers: Sequence[str], missing: bool = True) -> list[Part]:
    """The parts with these names, or all. Raises NetcError W744 for a name that the file lacks, if `missing`."""
    names = [part.name for part in found.parts]
    for name in layers if missing else ():
        if name not in names:
            message = f'there is no layer "{name}"{did_you_mean(name, names)}'
            raise NetcError("W744", message, Place(found.path), "netc weights without --layer lists them")
    return [part for part in found.parts if not layers or part.name in layers]


def summaries(parts: Iterable[Part]) -> Summaries:
    with ThreadPoolExecutor(1) as helper:
        return {id(held): summarise(held.array, helper) for part in parts for held in part.held}


# -- one file ----------------------------------------------------------------------------------------------------------


def lines(found: Contents, parts: Sequence[Part], summed: Summaries) -> list[str]:
    head = ("layer", "type", "blob", "shape", "kind", "mean", "std", "min", "max", "zeros", "not finite", "sha256")
    rows = [row for part in parts for row in _rows(part, summed)]
    shown = table(head, rows, right=(5, 6, 7, 8, 9, 10)) if rows else []
    return [*_title(found), "", *shown, *_remarks(found, parts, summed)]


def _title(found: Contents) -> list[str]:
    held = [one for part in found.parts for one in part.held]
    used = sum(bool(part.held) for part in found.parts)
    layers = found.kind not in (SOLVERSTATE, HDF5_STATE, BLOB)
    parts = f"{counted(len(found.parts), 'layer')}, {used:,} with arrays" if layers else counted(len(held), "array")
    kind = f"{found.kind}, {found.version} format" if found.version else found.kind
    net = f' of the net "{printable(found.net)}"' if found.net else ""
    rows = [
        f"{printable(found.path)}: {kind}{net}, {in_bytes(found.size)}",
        f"{parts}, {counted(sum(one.array.size for one in held), 'value')}",
    ]
    return rows + [f"{printable(name)}: {_short(value)}" for name, value in found.facts.items()]


def _short(value: str | int) -> str:
    text = printable(str(value))
    return text if len(text) <= FACT_SHOWN else text[:FACT_SHOWN] + "…"


def _rows(part: Part, summed: Summaries) -> list[tuple[str, ...]]:
    name, kind = printable(part.name), printable(part.type) + (" (replaced)" if part.replaced else "")
    if not part.held:
        return [(name, kind, *[""] * 10)]
    return [
        (name if not number else "", kind if not number else "", *_cells(held, summed[id(held)]))
        for number, held in enumerate(part.held)
    ]


def _cells(held: Held, found: Summary) -> tuple[str, ...]:
    numbers = [_number(value) for value in (found.mean, found.std, found.least, found.most)]
    share = found.zeros / found.count if found.zeros else 0
    zeros = "" if not share else f"{share:.2%}" if share >= 1e-4 else "<0.01%"
    bad = f"{found.not_finite:,}" if found.not_finite else ""
    shape = format_shape(held.array.shape)
    return held.label, shape, str(held.array.dtype), *numbers, zeros, bad, found.sha256[:HASH_SHOWN]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _remarks(found: Contents, parts: Sequence[Part], summed: Summaries) -> list[str]:
    rows = []
    bad = [(part.name, held.label, summed[id(held)]) for part in parts for held in part.held]
    for name, label, one in bad:
        if one.not_finite:
            what = f"{counted(one.nans, 'NaN')} and {counted(one.infinities, 'infinite value')}"
            rows.append(f'warning: layer "{printable(name)}", blob {label} has {what} among {one.count:,}')
    if found.unknown:
        listed = ", ".join(f"{name} ({count}×)" for name, count in sorted(found.unknown.items()))
        rows.append(f"fields that Caffe does not have, from a fork: {listed}")
    replaced = [part.name for part in found.parts if part.replaced]
    if replaced:
        rows.append(f"layers that stand twice, of which the last counts: {', '.join(map(printable, replaced))}")
    return ["", *rows] if rows else []


def as_dict(found: Contents, parts: Sequence[Part], summed: Summaries) -> dict[str, Any]:
    held = [one for part in parts for one in part.held]
    return {
        "file": found.path,
        "bytes": found.size,
        "kind": found.kind,
        "version": found.version or None,
        "net": found.net or None,
        "facts": found.facts,
        "layers": [_layer(part, summed) for part in parts],
        "values": sum(one.array.size for one in held),
        "not_finite": sum(summed[id(one)].not_finite for one in held),
        "unknown_fields": dict(sorted(found.unknown.items())),
    }


def _layer(part: Part, summed: Summaries) -> dict[str, Any]:
    blobs = [_blob(held, summed[id(held)]) for held in part.held]
    return {"name": part.name, "type": part.type or None, "replaced": part.replaced, "blobs": blobs}


def _blob(held: Held, found: Summary) -> dict[str, Any]:
    return {
        "blob": held.label,
        "shape": list(held.array.shape),
        "old_style_shape": held.legacy,
        "dtype": str(held.array.dtype),
        "count": found.count,
        "mean": _finite(found.mean),
        "std": _finite(found.std),
        "min": found.least,
        "max": found.most,
        "zeros": found.zeros,
        "nans": found.nans,
        "infinities": found.infinities,
        "sha256": found.sha256,
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinities: the sum of the squares of large doubles can be one."""
    return value if value is not None and math.isfinite(value) else None


# -- two files ---------------------------------------------------------------------------------------------------------

Facts = dict[str, tuple[str | int | None, str | int | None]]


def diff_lines(both: Sequence[Contents], differences: Sequence[Difference], facts: Facts, equal: bool) -> list[str]:
    a, b = both
    rows = [f"A: {printable(a.path)} ({a.kind})", f"B: {printable(b.path)} ({b.kind})"]
    rows += [f"{name}: {_short(str(x))} in A, {_short(str(y))} in B" for name, (x, y) in facts.items()]
    head = ("layer", "blob", "verdict", "shape in A", "in B", "largest |a-b|", "relative", "values beyond")
    shown = [_difference(one) for one in differences if one.verdict != EQUAL or not one.bits]
    rows += ["", *table(head, shown, right=(5, 6, 7))] if shown else []
    bits = sum(one.bits and one.verdict == EQUAL for one in differences)
    summary = f"{counted(len(differences), 'blob')}: {bits:,} equal bit for bit"
    summary += "".join(f", {count:,} {verdict}" for verdict, count in _other_verdicts(differences).items())
    return [*rows, "", f"{'equal' if equal else 'different'}: {summary}"]


def _other_verdicts(differences: Sequence[Difference]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in differences:
        if one.verdict != EQUAL or not one.bits:
            verdict = "equal in value" if one.verdict == EQUAL else one.verdict
            counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def _difference(one: Difference) -> tuple[str, ...]:
    a, b = ("" if shape is None else format_shape(shape) for shape in one.shapes)
    compared = one.verdict not in (EQUAL, RESHAPED) and (one.verdict == DIFFERENT or one.absolute > 0)
    numbers = (f"{one.absolute:.4g}", f"{one.relative:.4g}") if compared else ("", "")
    verdict = "equal, other bits" if one.verdict == EQUAL else one.verdict
    beyond = f"{one.beyond:,}" if one.beyond else ""
    return printable(one.layer), one.blob, verdict, a, b if a != b else "", *numbers, beyond


def diff_as_dict(
    both: Sequence[Contents], differences: Sequence[Difference], facts: Facts, equal: bool
) -> dict[str, Any]:
    return {
        "equal": equal,
        "a": os.fspath(both[0].path),
        "b": os.fspath(both[1].path),
        "facts": {name: list(values) for name, values in facts.items()},
        "blobs": [_difference_dict(one) for one in differences],
    }


def _difference_dict(one: Difference) -> dict[str, Any]:
    compared = None not in one.shapes and not (one.verdict == SHAPE and not one.beyond)
    return {
        "layer": one.layer,
        "blob": one.blob,
        "verdict": one.verdict,
        "bits_equal": one.bits,
        "shapes": [None if shape is None else list(shape) for shape in one.shapes],
        "largest": (one.absolute if math.isfinite(one.absolute) else "inf") if compared else None,
        "relative": (one.relative if math.isfinite(one.relative) else "inf") if compared else None,
        "beyond": one.beyond if compared else None,
    }
