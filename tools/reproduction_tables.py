"""The tables and findings of runs of `netc reproduce --mini`, side by side, as Markdown for docs/reproduce.md.

python -m tools.reproduction_tables "drawn pictures=netc_mini/reproduction.json" "photos=photos/reproduction.json"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from netc.runtime.reproduce.findings import counts
from netc.runtime.reproduce.result import WORDS

Runs = Mapping[str, Mapping[str, Any]]


def main() -> None:
    runs = {}
    for word in sys.argv[1:]:
        name, _, path = word.partition("=")
        runs[name] = json.loads(Path(path).read_text(encoding="utf-8"))
    print("\n".join([*tables(runs), *findings(runs)]))


def tables(runs: Runs) -> Iterator[str]:
    """Each table of the first run: the paper's figures, then each run's with their 95 % intervals."""
    for number, each in enumerate(next(iter(runs.values()))["tables"]):
        own = {name: run["tables"][number]["rows"] for name, run in runs.items()}
        measures = list(dict.fromkeys(one["measure"] for row in each["rows"] for one in row["figures"]))
        measures = [one for one in measures if not one.endswith("_test")]
        heads = [f"{WORDS[one]}, {who}" for one in measures for who in ("paper", *runs)]
        yield f"**{each['table'].replace('table', 'Table ')}**: {each['title']}, per cent (95 %).\n"
        yield from _head(["row", *heads], len(heads))
        for at, row in enumerate(each["rows"]):
            cells = [cell for one in measures for cell in _row(row, [rows[at] for rows in own.values()], one)]
            yield f"| {' | '.join([row['name'], *cells])} |"
        yield f"\nDeviations: {', '.join(one['number'] for one in each['deviations'])}.\n"


def _row(row: Mapping[str, Any], own: Sequence[Mapping[str, Any]], measure: str) -> Iterator[str]:
    sign = "+" if row["above"] else ""
    paper = _figure(row, measure)
    yield f"{paper['paper']:{sign}.1f}" if paper and paper["paper"] is not None else ""
    for one in own:
        figure = _figure(one, measure)
        if not figure or figure["measured"] is None:
            yield ""
        else:
            low, high = figure["interval"]
            yield f"{figure['measured']:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def _figure(row: Mapping[str, Any], measure: str) -> Mapping[str, Any] | None:
    return next((one for one in row["figures"] if one["measure"] == measure), None)


def findings(runs: Runs) -> Iterator[str]:
    """Finding by finding, each run's difference with its interval, McNemar's p and the verdict."""
    heads = [f"{name}: {what}" for name in runs for what in ("points (95 %)", "p", "verdict")]
    yield from _head(["about", "the paper finds", "its points", *heads], 1 + len(heads))
    about = ""
    for at, one in enumerate(next(iter(runs.values()))["findings"]):
        cells = [cell for run in runs.values() for cell in _finding(run["findings"][at])]
        shown, about = "" if one["about"] == about else one["about"], one["about"]
        paper = f"{one['paper']:+.1f}"
        yield f"| {' | '.join([shown, one['says'], paper, *cells])} |"
    yield ""
    for name, run in runs.items():
        yield f"* {name}: {counts(run['findings'])}."


def _finding(one: Mapping[str, Any]) -> list[str]:
    if one["measured"] is None:
        return ["", "", one["verdict"]]
    low, high = one["interval"]
    return [f"{one['measured']:+.1f} ({low:+.1f} to {high:+.1f})", f"{one['p']:.2g}", one["verdict"]]


def _head(words: Sequence[str], numbers: int) -> Iterator[str]:
    yield f"| {' | '.join(words)} |"
    yield f"| {' | '.join('---' if at < len(words) - numbers else '---:' for at in range(len(words)))} |"


if __name__ == "__main__":
    main()
