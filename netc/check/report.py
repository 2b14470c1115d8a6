"""What `netc check` found about a file: an object, its page of text, and what `--json` prints of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from netc.check.advice import Advice, DataFacts
from netc.check.analyse import FLOAT, Analysis, Row, memory
from netc.check.probe import Told
from netc.errors import NetcError, counted, printable, printable_lines
from netc.errors.remark import as_dict
from netc.errors.words import in_bytes, scaled, table
from netc.graph.read import Drafts
from netc.layers.base import format_shape
from netc.solver.settings import HISTORIES

HEAD = ("layer", "type", "output", "parameters", "multiply-adds", "receptive field", "stride", "memory")
FLUSH_RIGHT = range(3, 8)


@dataclass(slots=True)
class Net:
    """One net for one phase. `notes`: what had to be assumed; `facts`: what is known of its data, by layer."""

    label: str
    analysis: Analysis
    notes: list[str]
    facts: dict[str, DataFacts]


@dataclass(slots=True)
class Report:
    """All that was found about one file; `str()` is the page that the command prints.

    kind: "net", "solver", "schedule" or "table"; solver: its SolverParameter. nets: those that could be built, each
    with its analysis. steps: of a schedule, each step's line and the report on its solver. given: the weights that a
    schedule starts the solver from, or "". rows: of a table, a line each. errors: every error, not the first alone.
    advice: remarks on what is valid, but probably unintended. draft, told: what the examination works with.
    """

    path: str
    kind: str
    solver: Any = None
    nets: list[Net] = field(default_factory=list)
    steps: list[tuple[str, Report]] = field(default_factory=list)
    given: str = ""
    rows: list[str] = field(default_factory=list)
    errors: list[NetcError] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    draft: Drafts = field(default_factory=Drafts)
    told: Told = field(default_factory=Told)

    @property
    def ok(self) -> bool:
        """Whether there are no errors; remarks do not count."""
        return not self.errors

    def __str__(self) -> str:
        return "\n".join([*self.page(), *map(str, self.errors), *map(str, self.advice)])

    def page(self, batch: int | None = None) -> Iterator[str]:
        """Lines: the verdict, the solver's line, and the nets, or the steps; `batch`: images for which to reckon the
        memory."""
        yield f"{printable(self.path)}: {_verdict(self)}"
        if self.solver is not None:
            yield _solver_line(self)
        yield from (f"  {printable(line)}" for line in self.rows)
        for line, step in self.steps:
            yield printable_lines(f"{line}\n{_solver_line(step)}".replace("\n", "\n  "))
        for number, net in enumerate(self.nets):
            yield ""
            yield from _net_lines(self, net, self.nets[0] if number else None, batch)

    def as_dict(self, batch: int | None = None) -> dict[str, Any]:
        """For JSON: what docs/look.md lists under `files[]`."""
        return {
            "path": self.path,
            "kind": self.kind,
            "errors": [as_dict(error) for error in self.errors],
            "warnings": [as_dict(remark) for remark in self.advice],
            "nets": [_net(self, net, batch) for net in self.nets],
            **({"rows": self.rows} if self.rows else {}),
            **({"steps": [step.as_dict(batch) for _, step in self.steps]} if self.steps else {}),
        }

    def collect(self, step: Callable[[], object]) -> None:
        """Run a step; what it raises is noted, each error once."""
        try:
            step()
        except NetcError as error:
            known = {str(one) for one in self.errors}
            self.errors += [one for one in error.errors if str(one) not in known]

    def remark(self, remarks: Iterable[Advice]) -> None:
        """Note remarks, each once."""
        known = {one.key for one in self.advice}
        self.advice += [one for one in remarks if one.key not in known]


# -- text --------------------------------------------------------------------------------------------------------------


def _verdict(report: Report) -> str:
    parts = [counted(len(report.errors), "error")] if report.errors else [f"a {report.kind}, no errors"]
    if report.advice:
        parts.append(counted(len(report.advice), "warning"))
    return ", ".join(parts)


def _solver_line(report: Report) -> str:
    p = report.solver
    images = report.nets[0].analysis.images * p.iter_size if report.nets else 0
    batches = f" of {counted(images, 'image')}, {scaled(images * p.max_iter)} in all" if images else ""
    batches += _epochs(report, images * p.max_iter)
    text = f'{p.type}, rate {p.base_lr:g} by "{p.lr_policy}", {counted(p.max_iter, "iteration")}{batches}'
    for block in p.override_param:
        text += f"\nsets for {', '.join(block.layer)}: {', '.join(field.name for field, _ in block.ListFields()[1:])}"
    for transplant in p.transplant_param:
        text += f"\nstarts from {transplant.weights}: {', '.join(copy.layer for copy in transplant.copy)}"
    return printable_lines(text)


def _epochs(report: Report, images: int) -> str:
    """How often each record is seen, where it is known how many there are."""
    sizes = [found.size for net in report.nets[:1] for found in net.facts.values() if found.size]
    return f", {images / sizes[0]:.3g} epochs of {sizes[0]:,}" if sizes and images else ""


def _net_lines(report: Report, net: Net, first: Net | None, batch: int | None) -> Iterator[str]:
    a = net.analysis
    images = batch or a.images
    rows = merged(a.rows)
    fresh = rows if first is None else [rs for rs in rows if not _is_in(first.analysis, rs)]
    name = printable(a.graph.name or "unnamed")
    same = "" if first is None else f"; as {first.label} but for these layers" if fresh else f"; as {first.label}"
    yield f"{name} ({net.label}), {counted(images, 'image')}{same}"
    yield from (f"  note: {printable(note)}" for note in net.notes)
    cells = [_cells(rs, a, images) for rs in fresh]
    yield from (f"  {line}" for line in table(HEAD, cells, FLUSH_RIGHT)) if cells else ()
    yield from _sums(report, net, images) if first is None else ()


def merged(rows: Sequence[Row]) -> list[list[Row]]:
    """Layers with those that work in place on their tops: a convolution and its ReLU are one line."""
    found: list[list[Row]] = []
    for row in rows:
        in_place = row.node.tops and row.node.tops == row.node.bottoms and not row.node.params
        if in_place and found and set(row.node.tops) <= set(found[-1][0].node.tops):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _is_in(first: Analysis, rows: Sequence[Row]) -> bool:
    """Whether the other net has the same layer, the batch aside."""
    try:
        other = first.row(rows[0].node.name).node
    except KeyError:
        return False
    mine = rows[0].node
    shapes = [[shape[1:] for shape in node.top_shapes] for node in (mine, other)]
    return mine.type == other.type and shapes[0] == shapes[1]


def _cells(rows: Sequence[Row], a: Analysis, images: int) -> tuple[str, ...]:
    row = rows[0]
    names = " ".join(printable(row.node.name) for row in rows)
    shapes = " + ".join(format_shape(shape) for shape in row.node.top_shapes)
    macs = row.macs // a.images
    field = row.field if any(row.node.top_shapes) and not row.node.layer.is_source else None
    return (
        names,
        row.node.type,
        shapes,
        f"{row.params:,}" if row.params else "",
        scaled(macs) if macs else "",
        _square(field.size) if field else "",
        _square(field.stride) if field else "",
        in_bytes(FLOAT * row.values * images // a.images) if row.values > a.images else "",
    )


def _square(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}×{pair[1]}"


def _sums(report: Report, net: Net, images: int) -> Iterator[str]:
    a = net.analysis
    yield ""
    yield f"  parameters     {a.params:,} ({in_bytes(FLOAT * a.params)}), {a.weights:,} without biases"
    yield f"  multiply-adds  {scaled(a.macs)} an image, forward"
    yield f"  activations    {in_bytes(FLOAT * a.activations)} an image"
    if any(any(node.loss_weights) for node in a.graph.nodes):
        m = memory(a, images, _histories(report))
        yield (
            f"  training       about {in_bytes(m.total)}: parameters with gradients and history "
            f"{in_bytes(m.weights + m.gradients + m.history)}, {counted(images, 'image')} "
            f"{in_bytes(m.activations + m.in_flight)}"
        )


def _histories(report: Report) -> int:
    return HISTORIES.get(report.solver.type, 1) if report.solver is not None else 1


# -- JSON --------------------------------------------------------------------------------------------------------------


def _net(report: Report, net: Net, batch: int | None) -> dict[str, Any]:
    a = net.analysis
    images = batch or a.images
    used = memory(a, images, _histories(report))
    return {
        "name": a.graph.name,
        "phase": net.label,
        "notes": net.notes,
        "data": [
            {"layer": key, "source": found.path, "records": found.size, "labels": _label_range(found)}
            for key, found in net.facts.items()
        ],
        "images": images,
        "inputs": list(a.graph.inputs),
        "outputs": {blob: list(a.graph.shapes[blob]) for blob in a.graph.outputs},
        "parameters": a.params,
        "weights": a.weights,
        "multiply_adds_per_image": a.macs,
        "activation_bytes_per_image": FLOAT * a.activations,
        "training_bytes": {**asdict(used), "total": used.total},
        "layers": [_layer(row, a) for row in a.rows],
    }


def _label_range(found: DataFacts) -> list[int] | None:
    """The least and the largest label that was seen."""
    seen = found.labels.get(1)
    return [min(seen), max(seen)] if seen else None


def _layer(row: Row, a: Analysis) -> dict[str, Any]:
    field = row.field
    return {
        "name": row.node.name,
        "type": row.node.type,
        "bottoms": list(row.node.bottoms),
        "tops": {blob: list(shape) for blob, shape in zip(row.node.tops, row.node.top_shapes)},
        "parameters": row.params,
        "multiply_adds_per_image": row.macs // a.images,
        "receptive_field": {"size": field.size, "stride": field.stride, "start": field.start} if field else None,
    }
