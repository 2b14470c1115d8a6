"""What an evaluation found: rates with intervals, classes, confusions, paired tests; as JSON and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from netc.errors import NetcError, Place, printable
from netc.files import checked_json
from netc.files.opening import read_bytes
from netc.runtime.evaluate.protocol import ORDERS
from netc.runtime.evaluate.run import TOP, Outcome
from netc.runtime.evaluate.statistics import mcnemar, wilson

PREDICTIONS = "netc predictions"
_MOST = 1 << 30
_ROWS = checked_json.Record({"format": str, "about": str, "sha256": [str], "rank": [int], "label": [int]})
MOST_PAIRS = 20
SHOWN = 4
"""Pictures of a pair that are named."""


def rates(outcome: Outcome, order: str) -> dict[str, Any]:
    """Top-1 and top-5 error as shares, with their 95 % intervals."""
    rank, count = outcome.rank[:, ORDERS.index(order)], len(outcome)
    wrong = {1: int((rank >= 1).sum()), TOP: int((rank >= TOP).sum())}
    return {
        "top1_error": wrong[1] / count,
        "top5_error": wrong[TOP] / count,
        "interval": list(wilson(wrong[1], count)),
        "top5_interval": list(wilson(wrong[TOP], count)),
    }


def summary(
    outcome: Outcome, order: str, classes: Sequence[str], members: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All that is known, for JSON. `classes`: names by label, or none."""
    return {
        "images": len(outcome),
        **rates(outcome, order),
        "order": order,
        "orders": {each: rates(outcome, each) for each in ORDERS},
        "nets": list(members),
        "classes": list(_classes(outcome, order, classes)),
        "confusions": list(confusions(outcome, order, classes)),
        "mistakes": list(mistakes(outcome, order, classes)),
        "broken": [{"index": one.index, "message": one.error.message} for one in outcome.broken],
    }


def _classes(outcome: Outcome, order: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each class that has pictures."""
    rank = outcome.rank[:, ORDERS.index(order)]
    for label in np.unique(outcome.labels).tolist():
        own = rank[outcome.labels == label]
        errors = {"top1_error": float((own >= 1).mean()), "top5_error": float((own >= TOP).mean())}
        yield {"class": label, "name": name_of(label, names), "images": len(own), **errors}


def confusions(outcome: Outcome, order: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The pairs (true class, what it was taken for) that occur most, each with the places of some of its pictures in
    the source, those taken for it with most confidence first."""
    at = ORDERS.index(order)
    wrong = outcome.rank[:, at] >= 1
    sure = np.argsort(-outcome.probability[:, at, 0], kind="stable")
    pairs = Counter(zip(outcome.labels[wrong].tolist(), _taken(outcome, at)[wrong].tolist(), strict=True))
    for (label, taken), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]:
        if label != taken:
            named = {"true_name": name_of(label, names), "taken_for_name": name_of(taken, names)}
            own = wrong & (outcome.labels == label) & (_taken(outcome, at) == taken)
            pictures = outcome.indices[sure[own[sure]][:SHOWN]].tolist()
            yield {"true": label, "taken_for": taken, "images": count, **named, "pictures": pictures}


def mistakes(outcome: Outcome, order: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The wrong pictures whose first class has the highest probabilities, by their places in the source."""
    at = ORDERS.index(order)
    taken, sure = _taken(outcome, at), outcome.probability[:, at, 0]
    for row in [row for row in np.argsort(-sure, kind="stable").tolist() if outcome.rank[row, at] >= 1][:MOST_PAIRS]:
        true, other = int(outcome.labels[row]), int(taken[row])
        named = {"true_name": name_of(true, names), "taken_for_name": name_of(other, names)}
        where = {"index": int(outcome.indices[row]), "probability": float(sure[row])}
        yield {**where, "true": true, "taken_for": other, **named}


def _taken(outcome: Outcome, at: int) -> np.ndarray[Any, Any]:
    """What each picture was taken for; of equals, another than the true class."""
    best = outcome.best[:, at]
    second = best[:, 1] if best.shape[1] > 1 else best[:, 0]
    return np.where(best[:, 0] == outcome.labels, second, best[:, 0])


def name_of(label: int, names: Sequence[str]) -> str | None:
    return names[label] if label < len(names) else None


# -- text --------------------------------------------------------------------------------------------------------------


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    for member in found["nets"]:
        yield printable(f"{member['net']} ({member['weights']}): {member['protocol']}")
    yield f"{found['images']:,} images" + (f", {len(found['broken'])} unreadable" if found["broken"] else "")
    yield f"{'':24}{'top-1 error':>12}{'95 %':>16}{'top-5 error':>14}{'95 %':>16}"
    yield from _rows(found["orders"], found["order"])
    if "fp32" in found:
        yield "the same in fp32:"
        yield from _rows(found["fp32"], found["order"])
    for pair in found["confusions"][:5]:
        true, taken = (_shown(pair[key], pair[f"{key}_name"]) for key in ("true", "taken_for"))
        yield printable(f"  {pair['images']:>5} of {true} taken for {taken}")
    for name, test in found.get("mcnemar", {}).get("tests", {}).items():
        yield (
            f"{name} against {printable(found['mcnemar']['against'])}: only this wrong {test['only_first']}, only that "
            f"wrong {test['only_second']}, p = {test['p']:.3g} (McNemar)"
        )


def _rows(rates: Mapping[str, Any], chosen: str) -> Iterator[str]:
    for order, name in zip(ORDERS, ("scores averaged", "posteriors averaged"), strict=True):
        cells = "".join(_cells(rates[order], key, interval) for key, interval in _COLUMNS)
        yield f"{'*' if order == chosen else ' '} {name:22}{cells}"


_COLUMNS = (("top1_error", "interval"), ("top5_error", "top5_interval"))


def _cells(row: Mapping[str, Any], key: str, interval: str) -> str:
    low, high = row[interval]
    width = 12 if key == "top1_error" else 14
    return f"{100 * row[key]:>{width}.2f}{f'{100 * low:.2f}-{100 * high:.2f}':>16}"


def _shown(label: int, name: str | None) -> str:
    return f"{label} ({name})" if name else str(label)


# -- paired tests ------------------------------------------------------------------------------------------------------


def predictions(outcome: Outcome, order: str, about: str) -> dict[str, Any]:
    """What `paired` needs of an evaluation: each picture's SHA-256, label, and the rank of its class."""
    rank = outcome.rank[:, ORDERS.index(order)].tolist()
    return {
        "format": PREDICTIONS,
        "about": about,
        "sha256": outcome.sha256,
        "label": outcome.labels.tolist(),
        "rank": rank,
    }


def read_predictions(path: str) -> dict[str, Any]:
    """Raises NetcError R739 for a file that `predictions` has not made, F120 where there is none."""
    try:
        found = checked_json.parse(read_bytes(path, _MOST))
        checked_json.check(found, _ROWS)
        if found["format"] != PREDICTIONS or len({len(found[key]) for key in ("sha256", "label", "rank")}) > 1:
            raise ValueError("it is another file")
    except FileNotFoundError:
        raise NetcError(
            "F120", f"no file of predictions {path}", Place(path), "netc test --predictions writes it"
        ) from None
    except (OSError, ValueError) as error:
        found = f"not a file of predictions: {error}"
        raise NetcError("R739", found, Place(path), "netc test --predictions writes it") from None
    return dict(found)


def paired(outcome: Outcome, order: str, other: Mapping[str, Any], path: str) -> dict[str, Any]:
    """McNemar's test between this evaluation and another of the same pictures. Raises NetcError R739 for others."""
    mine = predictions(outcome, order, "")
    if (mine["sha256"], mine["label"]) != (other["sha256"], other["label"]):
        found = f"the predictions are of other pictures or labels, {len(other['rank'])} of them"
        raise NetcError("R739", found, Place(path), "a paired test needs the same pictures in the same order")
    first, second = np.array(mine["rank"]), np.array(other["rank"])
    tests = {}
    for name, top in (("top-1", 1), ("top-5", TOP)):
        one, two = first >= top, second >= top
        tests[name] = mcnemar(int((one & ~two).sum()), int((two & ~one).sum()))._asdict()
    return {"against": other["about"], "tests": tests}
