"""What the paper found, and what measured tables find: two rows at a time, on the same pictures.

findings(document) -> [{"about": "depth", "verdict": "seen", …}, …]     # of what `result.document` has made

Each comparison is of single pictures: how many only the one row gets wrong, and how many only the other. Its interval
and p say what other pictures would change; what another training of the same nets would change, they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netc.errors.words import table
from netc.runtime.evaluate.statistics import difference, mcnemar

SEEN, CONTRADICTED, OPEN, ABSENT = "seen", "contradicted", "cannot tell", "not measured"

LEVEL = 0.05
"""McNemar's p below which two rows differ."""

MARGIN = 1.0
"""Points: where the paper finds no gain, a gain that is smaller than this for certain is none."""

LIMITS = (
    "Interval (95 %) and p (McNemar's) are of the pictures alone: each net was trained once, and another training "
    "would move its errors too. Of comparisons of equal rows one in twenty is taken for a difference."
)
FEWER, NO_FEWER = "fewer errors", "no fewer errors"


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the paper about two rows, each (table, name): `first` makes fewer errors than `second`; with
    `expects` NO_FEWER, it makes no fewer."""

    about: str
    says: str
    first: tuple[str, str]
    second: tuple[str, str]
    expects: str = FEWER


def _side(net: str, side: str) -> str:
    return f"{net}, S = {side}"


def _claims() -> Iterator[Claim]:
    """In the order of the paper's text: Sect. 4.1 to 4.4, appendix A."""
    jitter = "[256; 512]"
    yield Claim("normalisation", "A-LRN is no better than A", *_in("table3", "A-LRN, S = 256", "A, S = 256"), NO_FEWER)
    yield Claim("depth", "E (19 layers) is better than A (11)", *_in("table3", "E, S = 256", "A, S = 256"))
    yield Claim("depth", "B (13) is better than A (11)", *_in("table3", "B, S = 256", "A, S = 256"))
    yield Claim("depth", "C (16, three 1×1) is better than B (13)", *_in("table3", "C, S = 256", "B, S = 256"))
    yield Claim("depth", "D (16, all 3×3) is better than C", *_in("table3", "D, S = 256", "C, S = 256"))
    yield Claim("depth", "E (19) is no better than D (16)", *_in("table3", "E, S = 256", "D, S = 256"), NO_FEWER)
    small = "B is better than a shallow net of 5×5 layers"
    yield Claim("5×5", small, *_in("table3", "B, centre crop", "B-5x5, centre crop"))
    for net in "CDE":
        for side in ("256", "384"):
            says = f"{net}: S = {jitter} is better than S = {side}"
            yield Claim("jitter in training", says, *_in("table3", _side(net, jitter), _side(net, side)))
    for net, sides in (("B", ("256",)), *((net, ("256", "384", jitter)) for net in "CDE")):
        for side in sides:
            row = _side(net, side)
            yield Claim("scales in testing", f"{row}: several Q are better than one", ("table4", row), ("table3", row))
    for net in "DE":
        dense, crops, both = (f"{net}, {view}" for view in ("dense", "multi-crop", "multi-crop & dense"))
        yield Claim("crops", f"{net}: crops are better than dense", *_in("table5", crops, dense))
        yield Claim("crops", f"{net}: both together are better than dense", *_in("table5", both, dense))
        yield Claim("crops", f"{net}: both together are better than crops", *_in("table5", both, crops))
    for view in ("dense", "multi-crop", "multi-crop & dense"):
        for net in "DE":
            says = f"{view}: D and E together are better than {net}"
            yield Claim("fusion", says, ("table6", f"D and E, {view}"), ("table5", f"{net}, {view}"))
    many = "D and E together are better than the seven nets"
    yield Claim("fusion", many, *_in("table6", "D and E, dense", "ILSVRC submission, 7 nets"))
    own, shared, whole = "PCR, 1st and 2nd FC", "SCR, 1st and 2nd FC", "PCR, all layers"
    yield Claim("boxes", "a box a class (PCR) is better than one for all (SCR)", *_in("table8", own, shared))
    yield Claim("boxes", "fine-tuning all layers is better than two", *_in("table8", whole, own))
    yield Claim("boxes", "S = 384 is better than S = 256", *_in("table9", "S = 384, Q = 384", "S = 256, Q = 256"))
    yield Claim("boxes", "two Q are better than one", *_in("table9", "S = 384, Q = 352, 384", "S = 384, Q = 384"))
    yield Claim("boxes", "two nets together are better than one", *_in("table9", "fusion", "S = 384, Q = 352, 384"))


def _in(table: str, first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (table, first), (table, second)


CLAIMS = tuple(_claims())


# -- of measured tables ------------------------------------------------------------------------------------------------


def findings(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each claim about rows that the document's tables have: who is compared with whom, the paper's difference and the
    measured one in points (below 0: the first row has fewer errors), its interval, McNemar's p, and the verdict."""
    rows = {(each["table"], row["name"]): row for each in document["tables"] for row in each["rows"]}
    return [_finding(claim, rows) for claim in CLAIMS if claim.first in rows and claim.second in rows]


def _finding(claim: Claim, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    first, second = rows[claim.first], rows[claim.second]
    found = {
        "about": claim.about,
        "says": claim.says,
        "first": ", ".join(claim.first),
        "second": ", ".join(claim.second),
        "expects": claim.expects,
        "measure": None,
        "paper": None,
        "verdict": ABSENT,
        **dict.fromkeys(("images", "measured", "interval", "only_first", "only_second", "p")),
    }
    if measure := _measure(first, second):
        found |= {"measure": measure, "paper": _paper(measure, first, second, claim)}
        if _same_pictures(first, second):
            found |= _compared(first["wrong"].get(measure), second["wrong"].get(measure), first["images"])
            found["verdict"] = _verdict(found)
    return found


def _measure(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """The first that both rows have."""
    there = {one["measure"] for one in second["figures"]}
    return next((one["measure"] for one in first["figures"] if one["measure"] in there), None)


def _paper(measure: str, first: Mapping[str, Any], second: Mapping[str, Any], claim: Claim) -> float | None:
    """The paper's difference: of two figures, or the figure of a row that is given as a difference to the other."""
    one, other = (_figure(row, measure) for row in (first, second))
    if second["above"] == claim.first[1]:
        return None if other is None else -other
    return None if one is None or other is None else round(one - other, 6)


def _figure(row: Mapping[str, Any], measure: str) -> float | None:
    found: float | None = next((one["paper"] for one in row["figures"] if one["measure"] == measure), None)
    return found


def _same_pictures(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether both rows say which pictures they got wrong, of the same ones."""
    if not first.get("wrong") or not second.get("wrong"):
        return False
    return bool((first["images"], first["left_out"]) == (second["images"], second["left_out"]))


def _compared(first: Sequence[int], second: Sequence[int], images: int) -> dict[str, Any]:
    test = mcnemar(len(set(first) - set(second)), len(set(second) - set(first)))
    mean, ends = difference(test.only_first, test.only_second, images)
    return {
        "images": images,
        "measured": 100 * mean,
        "interval": [100 * end for end in ends],
        "only_first": test.only_first,
        "only_second": test.only_second,
        "p": test.p,
    }


def _verdict(found: Mapping[str, Any]) -> str:
    differs = found["p"] < LEVEL
    fewer = differs and found["measured"] < 0
    if found["expects"] == FEWER:
        return SEEN if fewer else CONTRADICTED if differs else OPEN
    return CONTRADICTED if fewer else SEEN if differs or found["interval"][0] > -MARGIN else OPEN


# -- for people --------------------------------------------------------------------------------------------------------

HEAD = ("the paper finds", "its points", "points here", "95 %", "p", "verdict")


def cells(one: Mapping[str, Any]) -> list[str]:
    """A line of the table under HEAD."""
    paper = "" if one["paper"] is None else f"{one['paper']:+.1f}"
    if one["measured"] is None:
        return [one["says"], paper, "", "", "", one["verdict"]]
    low, high = one["interval"]
    return [
        one["says"],
        paper,
        f"{one['measured']:+.1f}",
        f"{low:+.1f} to {high:+.1f}",
        f"{one['p']:.2g}",
        one["verdict"],
    ]


def counts(found: Sequence[Mapping[str, Any]]) -> str:
    """How many of them are seen, and so on."""
    each = {word: sum(one["verdict"] == word for one in found) for word in (SEEN, CONTRADICTED, OPEN, ABSENT)}
    return ", ".join(f"{count} {word}" for word, count in each.items() if count)


def lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """For a terminal."""
    yield f"what the paper found, on the same pictures (points of error, below 0: fewer errors): {counts(found)}"
    yield from (
        f"  {line}" for line in table(("about", *HEAD), [[one["about"], *cells(one)] for one in found], (2, 3, 4, 5))
    )
    yield f"  {LIMITS}"
