"""`netc prove-parallel`: whether training is the same for any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netc.cli._options import Whole, json_option, json_text
from netc.cli._status import DONE, FAILED
from netc.errors import NetcError


@click.command("prove-parallel")
@click.argument("solver", metavar="SOLVER")
@click.option("--nproc", "counts", metavar="N,N,…", default="1,2", show_default=True, help="The numbers of processes.")
@click.option("--iterations", metavar="K", type=Whole(1), default=10, show_default=True, help="How long to train.")
@click.option("--shards", metavar="S", type=Whole(0), help="Instead of the solver's shards.")
@click.option("--seed", metavar="N", type=Whole(0, 2**63 - 1), help="Seed of everything random.")
@click.option("-o", "output", metavar="FILE", type=click.Path(path_type=Path), help="The certificate: .json or .md.")
@json_option
def command(
    solver: str, counts: str, iterations: int, shards: int | None, seed: int | None, output: Path | None, as_json: bool
) -> int:
    """Train SOLVER for K iterations with each number of processes, and compare weights, history and tests bit by bit.

    Nothing is saved but the certificate. The exit status is 0 only if all are equal.
    """
    from netc.files.durable import write_whole
    from netc.files.shipped import locate
    from netc.runtime.parallel.prove import prove

    found = prove(locate(solver, "solver.prototxt"), _numbers(counts), iterations, shards, seed)
    text = json_text(found) if as_json else page(found)
    if output is not None:
        write_whole(output, [(json_text(found) if output.suffix == ".json" else page(found)).encode()])
    click.echo(text)
    return DONE if found["equal"] else FAILED


def _numbers(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(0 < count <= 4096 for count in counts):
        raise NetcError("C140", f'--nproc takes numbers of processes such as 1,2,4, not "{text}"')
    return list(dict.fromkeys(counts))


def page(found: dict[str, Any]) -> str:
    """The certificate as a page of Markdown."""
    verdict = "the same bits" if found["equal"] else "not the same bits"
    lines = [f"# {found['solver']}: {verdict}", ""]
    lines += [f"{found['iterations']} iterations, {found['shards'] or 'no'} shards.", ""]
    lines += [_row("processes", "weights (SHA-256)", "history (SHA-256)", "tests"), "|---|---|---|---|"]
    for run in found["runs"]:
        lines.append(_row(run["nproc"], run["weights_sha256"], run["history_sha256"], _tests(run["tests"])))
    if "one_step" in found:
        lines += ["", "The gradient of the first step, apart from that of one process, relative to its norm:", ""]
        lines += [_row("processes", "precision", "apart", "bound"), "|---|---|---|---|"]
        for row in found["one_step"]:
            lines.append(_row(row["nproc"], row["precision"], f"{row['difference']:.2g}", f"{row['bound']:g}"))
    machine = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    return "\n".join([*lines, "", f"Found on: {machine}."])


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _tests(tests: list[dict[str, float]]) -> str:
    return "; ".join(", ".join(f"{name} {value:g}" for name, value in test.items()) for test in tests) or "none"
