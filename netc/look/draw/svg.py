"""A picture as SVG that any browser shows: no program, font or network is needed. Light or dark as the reader's system.

svg(picture, title) -> str         html(picture, title) -> str
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from netc.errors import printable
from netc.layers.base import Shape, format_shape
from netc.look.draw.layout import Layout, layout
from netc.look.draw.picture import Box, Picture, Wire
from netc.look.draw.words import KINDS

LINE, PAD, MARGIN = 15.0, 9.0, 28.0
STUB = 20.0
"""How far a wire goes straight down before it turns: room for the shape beside it."""
ARROW = 9.0
"""The last bit of a wire, straight again."""
MOST_LETTERS = 46

COLOURS = {
    "data": ("#dfe7ef", "#5f7890", "#2b3947"),
    "convolution": ("#d6e6fb", "#3b78c3", "#1e3a5f"),
    "full": ("#e3dbf7", "#7857c4", "#39295f"),
    "pooling": ("#d9f0dd", "#3f9a54", "#1f4a2b"),
    "activation": ("#fdeccd", "#c98a1d", "#574013"),
    "normalisation": ("#d7f1f0", "#2b9a96", "#174a49"),
    "join": ("#ececec", "#7d7d7d", "#3c3c3c"),
    "recurrent": ("#f3e4d7", "#a8693a", "#4d3220"),
    "loss": ("#fbdcdc", "#c64545", "#5c2424"),
    "measure": ("#f7ddef", "#b4549a", "#552748"),
    "other": ("#ffffff", "#555555", "#2a2a2a"),
}
"""Kind → fill in light, line, fill in dark."""


def style() -> str:
    """The drawing's CSS. No variables: some viewers do not know them."""
    light = "".join(f".{kind} rect{{fill:{fill};stroke:{line}}}" for kind, (fill, line, _) in COLOURS.items())
    dark = "".join(f".{kind} rect{{fill:{fill}}}" for kind, (_, _, fill) in COLOURS.items())
    return (
        ".bg{fill:#fff}text{font:12px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#1b1f24}"
        ".n{font-weight:600}.s{fill:#4a5560;font-size:11px}.h{font-size:17px;font-weight:600}"
        ".d{font-size:10.5px;fill:#59636e;paint-order:stroke;stroke:#fff;stroke-width:3px}"
        ".w{fill:none;stroke:#8a949e;stroke-width:1.3}.w:hover{stroke:#d2541b;stroke-width:2.4}"
        "marker path{fill:#8a949e}.b rect{stroke-width:1.2}.b:hover rect{stroke-width:2.4}"
        f"{light}"
        "@media (prefers-color-scheme:dark){"
        ".bg{fill:#14181d}text{fill:#e8ebee}.s{fill:#b3bcc5}.d{fill:#a7b0b9;stroke:#14181d}"
        f".w{{stroke:#77828d}}marker path{{fill:#77828d}}{dark}"
        "}"
    )


def clean(text: str) -> str:
    """Text that may stand in XML: control characters shown as escapes, markup quoted."""
    return escape(printable(text), quote=True)


def short(text: str, most: int = MOST_LETTERS) -> str:
    return text if len(text) <= most else text[: most // 2] + "…" + text[-(most // 2 - 1) :]


def box_lines(box: Box) -> list[tuple[str, str]]:
    """(class, text) of the lines in a box: name, type and settings; then the layers in place; then parameters."""
    first, *rest = box.parts
    lines = [("n", first.name or "(no name)"), ("s", f"{first.type} {first.settings}".strip())]
    lines += [("s", f"+ {part.type} {part.settings}".strip()) for part in rest]
    if box.params:
        lines.append(("s", f"{box.params:,} parameters"))
    return [(kind, short(printable(text))) for kind, text in lines]


def text_width(text: str, size: float = 11.0, bold: bool = False) -> float:
    """About how wide a line is; widest of the usual fonts."""
    wide = sum(1.05 if ord(letter) > 0x2E80 else 0.62 for letter in text)
    return wide * size * (1.08 if bold else 1.0)


def shape_text(shape: Shape | None) -> str:
    return "" if shape is None else format_shape(shape)


class Drawing:
    """Positions of one picture, in pixels."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.lines = [box_lines(box) for box in picture.boxes]
        self.sizes = [self._size(lines) for lines in self.lines]
        self.used: dict[int, dict[int, int]] = {}
        for box, port in sorted(picture.ports()):
            used = self.used.setdefault(box, {})
            used[port] = len(used)
        self.plan: Layout = layout([self._room(box) for box in range(len(self.sizes))], picture.wires)
        self.tops, self.bands = self._rows()
        left = min((s.x - s.width / 2 for s in self.plan.slots), default=0.0)
        self.shift = MARGIN - left
        self.width = max((s.x + s.width / 2 for s in self.plan.slots), default=0.0) + self.shift + MARGIN
        self.ins = self._entries()

    def _size(self, lines: Sequence[tuple[str, str]]) -> tuple[float, float]:
        widths = [text_width(text, 12, True) if kind == "n" else text_width(text) for kind, text in lines]
        return max(96.0, *widths) + 2 * PAD, LINE * len(lines) + 2 * PAD - 3

    def _room(self, box: int) -> float:
        """The width that a box needs with the shapes that stand under it."""
        labels = [text_width(shape_text(shape), 10.5) for _, shape in self.picture.boxes[box].tops[:2]]
        used = self.used.get(box, {})
        return (
            max(self.sizes[box][0], 2 * max(labels) + 12) if used and labels and len(used) < 3 else self.sizes[box][0]
        )

    def _rows(self) -> tuple[list[float], list[float]]:
        """The upper edge and the height of each row; rows with far-reaching wires between them lie further apart."""
        slots, y = self.plan.slots, MARGIN
        tops, bands = [], []
        for row in self.plan.rows:
            band = max((self.sizes[i][1] for i in row if slots[i].box >= 0), default=LINE)
            reach = max((abs(slots[below].x - slots[i].x) for i in row for below in slots[i].down), default=0.0)
            tops.append(y)
            bands.append(band)
            y += band + STUB + 24 + min(50.0, reach / 10)
        self.height = (tops[-1] + bands[-1] if tops else 0.0) + MARGIN
        return tops, bands

    # -- points ------------------------------------------------------------------------------------------------------

    def x(self, slot: int) -> float:
        return self.plan.slots[slot].x + self.shift

    def top(self, box: int) -> float:
        """The upper edge of a box, which stands in the middle of its row."""
        row = self.plan.slots[box].row
        return self.tops[row] + (self.bands[row] - self.sizes[box][1]) / 2

    def exit(self, box: int, port: int) -> float:
        """x of a top: in the middle, or side by side."""
        used = self.used[box]
        spread = min(70.0, self.sizes[box][0] / (len(used) + 1))
        return self.x(box) + (used[port] - (len(used) - 1) / 2) * spread

    def _entries(self) -> dict[Wire, float]:
        """x at which each wire enters its box: in the order in which the wires come, so that they do not cross."""
        into: dict[int, list[Wire]] = {}
        for wire in self.plan.routes:
            into.setdefault(wire.target, []).append(wire)
        found = {}
        for box, wires in into.items():
            wires.sort(key=lambda wire: (self._before(wire), wire.source, wire.port))
            spread = min(22.0, self.sizes[box][0] / (len(wires) + 1))
            for at, wire in enumerate(wires):
                found[wire] = self.x(box) + (at - (len(wires) - 1) / 2) * spread
        return found

    def _before(self, wire: Wire) -> float:
        route = self.plan.routes[wire]
        return self.exit(wire.source, wire.port) if len(route) == 2 else self.x(route[-2])

    def path(self, wire: Wire) -> str:
        """Down from the top, through the passages, into the box."""
        route = self.plan.routes[wire]
        x, y = self.exit(wire.source, wire.port), self.top(wire.source) + self.sizes[wire.source][1]
        row = self.plan.slots[wire.source].row
        steps = [f"M{x:.1f} {y:.1f}", f"V{self.tops[row] + self.bands[row] + STUB:.1f}"]
        y = self.tops[row] + self.bands[row] + STUB
        for slot in route[1:-1]:
            row = self.plan.slots[slot].row
            steps += [
                _curve(x, y, self.x(slot), self.tops[row] - ARROW),
                f"V{self.tops[row] + self.bands[row] + STUB:.1f}",
            ]
            x, y = self.x(slot), self.tops[row] + self.bands[row] + STUB
        row = self.plan.slots[wire.target].row
        steps += [_curve(x, y, self.ins[wire], self.tops[row] - ARROW), f"V{self.top(wire.target) - 0.5:.1f}"]
        return "".join(steps)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    """A smooth step from one vertical line to another."""
    if abs(x - to_x) < 0.5:
        return f"V{to_y:.1f}"
    middle = (y + to_y) / 2
    return f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"


def svg(picture: Picture, title: str = "") -> str:
    """The whole file. Raises nothing; a net without layers gives an empty sheet."""
    drawing = Drawing(picture)
    head = title or picture.name or "unnamed"
    legend = list(_legend(picture))
    top = 62.0
    width = max(drawing.width, text_width(head, 17, True) + 2 * MARGIN, MARGIN + sum(w for w, _ in legend))
    middle = max(0.0, (width - drawing.width) / 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{drawing.height + top:.0f}" '
        f'viewBox="0 0 {width:.1f} {drawing.height + top:.1f}" role="img">',
        f"<title>{clean(head)}</title>",
        f"<style>{style()}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0.8L8 4L0 7.2z"/></marker></defs>',
        '<rect class="bg" width="100%" height="100%"/>',
        f'<text class="h" x="{MARGIN:.0f}" y="32">{clean(short(head, 100) + _left_out(drawing))}</text>',
        *_place_legend(legend),
        f'<g transform="translate({middle:.1f} {top:.1f})">',
        *_wires(drawing),
        *_boxes(drawing),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _left_out(drawing: Drawing) -> str:
    count = len(drawing.plan.cut)
    return f"; {count:,} long connections are named where they end, not drawn" if count else ""


def html(picture: Picture, title: str = "") -> str:
    """The drawing in a page of its own."""
    head = clean(title or picture.name or "unnamed")
    page = "body{margin:0}svg{display:block;margin:auto}@media (prefers-color-scheme:dark){body{background:#14181d}}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{head}</title>'
        f'<meta name="color-scheme" content="light dark"><style>{page}</style></head>\n<body>\n'
        f"{svg(picture, title)}</body></html>\n"
    )


def _legend(picture: Picture) -> Iterator[tuple[float, str]]:
    """(width, kind) of the kinds that occur."""
    used = {box.kind for box in picture.boxes}
    yield from ((text_width(name) + 30, kind) for kind, name in KINDS.items() if kind in used)


def _place_legend(legend: Sequence[tuple[float, str]]) -> Iterator[str]:
    x = MARGIN
    for width, kind in legend:
        yield (
            f'<g class="b {kind}"><rect x="{x:.1f}" y="46" width="14" height="12" rx="3"/>'
            f'<text class="s" x="{x + 19:.1f}" y="56">{KINDS[kind]}</text></g>'
        )
        x += width


def _wires(drawing: Drawing) -> Iterator[str]:
    for wire in drawing.plan.routes:
        yield (
            f'<path class="w" marker-end="url(#a)" d="{drawing.path(wire)}">'
            f"<title>{clean(_tooltip(drawing.picture, wire))}</title></path>"
        )
    for wire in drawing.plan.cut:
        x, y = drawing.x(wire.target), drawing.top(wire.target)
        name = short(drawing.picture.boxes[wire.source].parts[0].name, 24)
        yield f'<text class="d" x="{x:.1f}" y="{y - 4:.1f}" text-anchor="end">from {clean(name)} ↓</text>'
    for box, ports in drawing.used.items():
        yield from _shapes(drawing, box, ports)


def _shapes(drawing: Drawing, box: int, ports: Iterable[int]) -> Iterator[str]:
    """The shapes beside the first bit of each wire; the left one of two stands on the left."""
    row = drawing.plan.slots[box].row
    y = drawing.tops[row] + drawing.bands[row] + 13
    ports = [*ports]
    for at, port in enumerate(ports if len(ports) < 3 else ()):
        text = shape_text(drawing.picture.boxes[box].tops[port][1])
        left = len(ports) == 2 and at == 0
        x = drawing.exit(box, port) + (-5 if left else 5)
        anchor = ' text-anchor="end"' if left else ""
        if text:
            yield f'<text class="d" x="{x:.1f}" y="{y:.1f}"{anchor}>{text}</text>'


def _tooltip(picture: Picture, wire: Wire) -> str:
    blob, shape = picture.boxes[wire.source].tops[wire.port]
    ends = f"{picture.boxes[wire.source].parts[0].name} → {picture.boxes[wire.target].parts[0].name}"
    return f"{ends}: {blob} {shape_text(shape)}".rstrip()


def _boxes(drawing: Drawing) -> Iterator[str]:
    for index, box in enumerate(drawing.picture.boxes):
        width, height = drawing.sizes[index]
        x, y = drawing.x(index), drawing.top(index)
        first = y + PAD + 9
        lines = [
            f'<text class="{kind}" x="{x:.1f}" y="{first + LINE * at:.1f}" text-anchor="middle">{clean(text)}</text>'
            for at, (kind, text) in enumerate(drawing.lines[index])
        ]
        yield (
            f'<g class="b {box.kind}"><title>{clean(_about(box))}</title>'
            f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"/>'
            f"{''.join(lines)}</g>"
        )


def _about(box: Box) -> str:
    """The whole of a box for its tooltip: long names uncut, outputs, and where it stands in the file."""
    lines = [f"{part.name} ({part.type}) {part.settings}".rstrip() for part in box.parts]
    lines += [f"→ {blob} {shape_text(shape)}".rstrip() for blob, shape in box.tops]
    lines += [f"{box.params:,} parameters"] if box.params else []
    return "; ".join([*lines, box.place] if box.place else lines)
