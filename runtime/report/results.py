"""What `netc report` reads: the records of runs, and the JSON that `netc test` and `netc reproduce` print."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.files.opening import open_regular, read_bytes
from netc.runtime.solver import metrics

_MOST = 1 << 26
_PAIR = checked_json.Record(
    {"true": int, "taken_for": int, "images": int},
    {"true_name": (None, str), "taken_for_name": (None, str), "pictures": [int]},
)
_MISTAKE = checked_json.Record(
    {"index": int, "probability": float, "true": int, "taken_for": int},
    {"true_name": (None, str), "taken_for_name": (None, str)},
)
_BOX = checked_json.Record({"index": int, "box": [float], "truth": [[float]]}, {"overlap": float, "right": bool})
_SHARED: dict[str, Any] = {"confusions": [_PAIR], "mistakes": [_MISTAKE], "boxes": [_BOX]}
_TEST = checked_json.Record(
    {"images": int, "top1_error": float, "top5_error": float, "interval": [float], "top5_interval": [float]},
    {**_SHARED, "order": str, "data": (None, str), "root": (None, str), "nets": [dict]},
)
_LOCALISATION = checked_json.Record(
    {"images": int, "mean_iou": float, "ground_truth_class_error": float, "interval": [float]},
    {
        **_SHARED,
        "view": str,
        "scales": [int],
        "data": (None, str),
        "top1_localisation_error": float,
        "top5_localisation_error": float,
    },
)
_FIGURE = checked_json.Record(
    {
        "measure": str,
        **dict.fromkeys(("paper", "spread", "measured", "p"), (None, float)),
        "interval": (None, [float]),
        "note": (None, str),
    },
    {"deviation": (None, float)},
)
_ROW = checked_json.Record(
    {"name": str, "figures": [_FIGURE], "missing": [str], "why": (None, str), "above": (None, str)},
    {**_SHARED, "note": (None, str)},
)
_TABLE = checked_json.Record(
    {
        "table": str,
        "title": str,
        "rows": [_ROW],
        "deviations": [checked_json.Record({"number": str, "text": str})],
    }
)
_FINDING = checked_json.Record(
    {
        **dict.fromkeys(("about", "says", "first", "second", "expects", "verdict"), str),
        **dict.fromkeys(("paper", "measured", "p"), (None, float)),
        "interval": (None, [float]),
    }
)
_REPRODUCTION = checked_json.Record(
    {"format": str, "miniature": [str], "data": (None, str), "tables": [_TABLE]}, {"findings": [_FINDING]}
)


@dataclass(frozen=True, slots=True)
class Run:
    """The records of a training, and the newest weights beside them, or ""."""

    name: str
    records: Sequence[dict[str, Any]]
    weights: str = ""


@dataclass(slots=True)
class Results:
    """All that a page shows. Each of the JSONs with the file that it is from."""

    runs: list[Run] = field(default_factory=list)
    tests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    localisations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    reproductions: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def read_results(paths: Sequence[str]) -> Results:
    """Raises NetcError C311 for what is none of these, F120 where there is nothing, D560 for a run without records."""
    found = Results()
    for path in paths:
        _read(path, found)
    return found


def _read(path: str, found: Results) -> None:
    if os.path.isdir(path):
        runs = sorted(Path(path).glob("*.metrics.jsonl"))
        others = [name for name in (Path(path, "reproduction.json"),) if name.is_file()]
        if not runs and not others:
            raise _nothing(path, "the folder has no .metrics.jsonl")
        for one in [*runs, *others]:
            _read(str(one), found)
        return
    beside = f"{path}.metrics.jsonl"
    if not os.path.lexists(path) and os.path.isfile(beside):
        path = beside
    if path.endswith(".metrics.jsonl"):
        found.runs.append(_run(path))
        return
    _sort(path, _document(path), found)


def _run(path: str) -> Run:
    with _opened(path):
        records = metrics.read(Path(path), newest=True)
    if not any(record["kind"] in ("train", "test") for record in records):
        raise NetcError("D560", "there are no outputs of training or testing in this log", Place(path))
    name = Path(path).name.removesuffix(".metrics.jsonl")
    return Run(name, records, _newest(Path(path).parent, name))


def _newest(folder: Path, name: str) -> str:
    pattern = re.compile(rf"{re.escape(name)}_iter_(\d+)\.caffemodel(?:\.h5)?")
    there = [(int(match[1]), one) for one in os.listdir(folder) if (match := pattern.fullmatch(one))]
    return str(folder / max(there)[1]) if there else ""


def _opened(path: str) -> Any:
    try:
        return open_regular(path)
    except OSError as error:
        raise NetcError("F120", f"{path} cannot be read: {error.strerror}", Place(path)) from None


def _document(path: str) -> Any:
    with _opened(path):
        pass
    try:
        return checked_json.parse(read_bytes(path, _MOST))
    except ValueError as error:
        raise _nothing(path, f"it is not JSON: {error}") from None


def _sort(path: str, document: Any, found: Results) -> None:
    keys = document.keys() if isinstance(document, dict) else set()
    kinds = (
        ("tables", _REPRODUCTION, found.reproductions),
        ("mean_iou", _LOCALISATION, found.localisations),
        ("top5_error", _TEST, found.tests),
    )
    for key, form, place in kinds:
        if key in keys:
            try:
                checked_json.check(document, form)
                _check_numbers(document)
            except ValueError as error:
                raise _nothing(path, str(error)) from None
            place.append((path, document))
            return
    raise _nothing(path, "it has neither tables nor errors")


def _check_numbers(document: Any) -> None:
    """Intervals have two ends, boxes four edges. Raises ValueError."""
    if isinstance(document, dict):
        for key, value in document.items():
            ends = {"interval": 2, "top5_interval": 2, "box": 4}.get(key)
            if ends and value is not None and len(value) != ends:
                raise ValueError(f"{key} has {len(value)} numbers, not {ends}")
            if key == "truth" and any(len(box) != 4 for box in value):
                raise ValueError("a box of truth has not four numbers")
            _check_numbers(value)
    elif isinstance(document, list):
        for one in document:
            _check_numbers(one)


def _nothing(path: str, why: str) -> NetcError:
    hint = "give a .metrics.jsonl of a run, or what netc test --json or netc reproduce --json has printed"
    return NetcError("C311", f"this is neither a run nor a result: {why}", Place(path), hint)
