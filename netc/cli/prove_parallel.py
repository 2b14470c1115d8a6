"""`netc prove-parallel`: whether training is the same for any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netc.cli._options import MOST_THREADS, Whole, json_option, json_text
from netc.cli._status import DONE, FAILED
from netc.errors import NetcError, Place, printable

FORMATS = (".json", ".md")
MOST_SHARDS = 1 << 16


@click.command("prove-parallel")
@click.argument("solver", metavar="SOLVER")
@click.option("--nproc", "counts", metavar="N,N,…", default="1,2", show_default=True, help="The numbers of processes.")
@click.option("--iterations", metavar="K", type=Whole(1), default=10, show_default=True, help="How long to train.")
@click.option("--shards", metavar="S", type=Whole(0, MOST_SHARDS), help="Instead of the solver's shards.")
@click.option("--seed", metavar="N", type=Whole(0, 2**63 - 1), help="Seed of everything random.")
@click.option(
    "-o",
    "output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the certificate: FILE.json and FILE.md, or the one that FILE's ending names.",
)
@json_option
def command(
    solver: str, counts: str, iterations: int, shards: int | None, seed: int | None, output: Path | None, as_json: bool
) -> int:
    """Train SOLVER for K iterations with each number of processes, and compare weights, history and tests bit by bit.

    Nothing is saved but the certificate. Without shards it also has the distance of the first gradient from that of one
    process, in float32 and float64, and the bound of rounding. The exit status is 0 only if all are equal to the bit.
    """
    from netc.files.durable import write_whole
    from netc.files.shipped import locate
    from netc.runtime.parallel.prove import prove

    numbers = _numbers(counts)
    files = _files(output)
    found = prove(locate(solver, "solver.prototxt"), numbers, iterations, shards, seed)
    for file in files:
        write_whole(file, [(json_text(found) if file.suffix == ".json" else page(found)).encode()])
    click.echo(json_text({name: found[name] for name in ("equal", "runs")}) if as_json else page(found))
    return DONE if found["equal"] else FAILED


def _files(output: Path | None) -> list[Path]:
    """The files of a certificate. Raises NetcError C160 for another ending,"""
    if output is None:
        return []
    if output.suffix in FORMATS:
        return [output]
    if output.suffix:
        raise NetcError("C160", f"a certificate is a .json or a .md, not a {output.suffix}", Place(str(output)))
    return [output.with_suffix(suffix) for suffix in FORMATS]


def _numbers(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(0 < count <= MOST_THREADS for count in counts):
        hint = f"numbers from 1 to {MOST_THREADS}, with commas"
        raise NetcError(
            "C140", f'--nproc takes numbers of processes such as 1,2,4, not "{printable(text[:60])}"', None, hint
        )
    return list(dict.fromkeys(counts))


def page(found: dict[str, Any]) -> str:
    """The certificate as a page of Markdown."""
    verdict = "the same bits" if found["equal"] else "not the same bits"
    lines = [f"# {found['solver']}: {verdict}", ""]
    lines += [f"{found['iterations']} iterations, {found['shards'] or 'no'} shards. Compared:", ""]
    lines += [*(f"* {what}" for what in found["checked"]), ""]
    lines += [_row("processes", "weights (SHA-256)", "history (SHA-256)", "tests"), "|---|---|---|---|"]
    for run in found["runs"]:
        lines.append(_row(run["nproc"], run["weights_sha256"], run["history_sha256"], _tests(run["tests"])))
    if "one_step" in found:
        lines += ["", "The gradient of the first step, apart from that of one process, relative to its norm:", ""]
        lines += [_row("processes", "precision", "apart", "bound", ""), "|---|---|---|---|---|"]
        for row in found["one_step"]:
            verdict = "within" if row["within"] else "beyond"
            cells = row["nproc"], row["precision"], f"{row['difference']:.2g}", f"{row['bound']:.2g}", verdict
            lines.append(_row(*cells))
    machine = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    return "\n".join([*lines, "", f"Found on: {machine}."])


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _tests(tests: list[dict[str, float]]) -> str:
    return "; ".join(", ".join(f"{name} {value:g}" for name, value in test.items()) for test in tests) or "none"
