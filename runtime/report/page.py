"""One HTML page of results that needs nothing but itself: no network, no script, pictures inside."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netc.errors import NetcError
from netc.runtime.evaluate.sources import Source, open_source
from netc.runtime.localise.draw import Drawn, drawing
from netc.runtime.report.curves import Curve, Panel, panels_of, svg
from netc.runtime.report.results import Results, Run
from netc.runtime.reproduce import findings
from netc.runtime.reproduce.result import WORDS, measured_cells, not_measured
from netc.weights import read

THUMBNAIL, MOST_MISTAKES, MOST_PAIRS = 112, 20, 10
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto; padding: 1.5rem;
  max-width: 68rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
.wide { overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: .5rem 0; } th, td { padding: .2rem .7rem; border-bottom: 1px solid #e4e4e4; }
th { text-align: left; border-bottom: 2px solid #999; } th.number { text-align: right; }
table.findings td:first-child { white-space: nowrap; } td.number { text-align: right; white-space: nowrap; }
tr.missing td { color: #777; } .note { color: #555; font-size: .9rem; margin: .2rem 0; }
.mini { background: #fff4d6; border: 1px solid #e0b84c; padding: .5rem 1rem; }
figure { display: inline-block; vertical-align: top; margin: .3rem; font-size: .8rem; max-width: 14rem; }
figcaption { overflow-wrap: anywhere; } img { display: block; max-width: 100%; }
tr.seen td:last-child { color: #17692c; font-weight: 600; }
tr.contradicted td:last-child { color: #a8200d; font-weight: 600; }
tr.cannot-tell td:last-child, tr.not-measured td { color: #777; }
img.filters { image-rendering: pixelated; }
"""


def page(results: Results, title: str) -> Iterator[str]:
    """The text of the page, piece by piece."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    yield f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    yield f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n</head>\n<body>\n'
    yield f"<h1>{_text(title)}</h1>\n"
    for number, run in enumerate(results.runs):
        yield from _run(run, number)
    for path, found in results.reproductions:
        yield from _reproduction(path, found)
    for path, found in results.tests:
        yield from _test(path, found)
    for path, found in results.localisations:
        yield from _localisation(path, found)
    yield "</body>\n</html>\n"


def _text(value: object) -> str:
    return html.escape(str(value))


def _section(kind: str, title: str) -> str:
    return f'<h2 class="{kind}">{_text(title)}</h2>\n'


# -- runs --------------------------------------------------------------------------------------------------------------


def _run(run: Run, number: int) -> Iterator[str]:
    yield _section("run", f"Training of {run.name}")
    panels, marks = panels_of(run.records)
    panels = [*panels, *_rate(run.records)]
    yield f'<div class="wide curves">{_inner(svg(panels, run.name, marks), number)}</div>\n'
    tests = [record for record in run.records if record["kind"] == "test" and "outputs" in record]
    if tests:
        last = tests[-1]
        values = ", ".join(f"{name} {value:.4g}" for name, value in last["outputs"].items() if isinstance(value, float))
        yield f'<p class="note">The last test, at iteration {last["iter"]:,}: {_text(values)}</p>\n'
    yield from _filters(run)


def _inner(drawing: str, number: int) -> str:
    """An SVG within the page: for those who cannot see it, it says what it is."""
    return drawing.replace("<svg ", f'<svg role="img" id="curves{number}" ', 1)


def _rate(records: Sequence[Mapping[str, Any]]) -> list[Panel]:
    train = [one for one in records if one["kind"] == "train" and one.get("lr") is not None]
    points = [(float(one["iter"]), float(one["lr"])) for one in train]
    largest = max((rate for _, rate in points), default=0.0)
    return [Panel("learning rate", (Curve("rate", tuple(points)),), (0.0, 1.1 * largest))] if largest > 0 else []


def _filters(run: Run) -> Iterator[str]:
    """The first layer's filters, where the weights are here and their filters are of colours or of gray."""
    if not run.weights:
        return
    try:
        layers = read(run.weights)
    except NetcError as error:
        yield f'<p class="note">{_text(run.weights)} cannot be read: {_text(error.message)}</p>\n'
        return
    blobs = next((np.asarray(blobs[0]) for blobs in layers.values() if len(blobs) and np.ndim(blobs[0]) == 4), None)
    if blobs is None or blobs.shape[1] not in (1, 3) or min(blobs.shape) < 1:
        return
    picture = filters(blobs)
    scale = max(1, round(640 / picture.width))
    yield f"<h3>First-layer filters</h3>\n<p class='note'>{len(blobs)} of {blobs.shape[2]} × {blobs.shape[3]}, each "
    yield "from its least to its greatest value.</p>\n"
    alt = f"the {len(blobs)} filters of the first layer"
    yield _image(picture, alt, css="filters", width=picture.width * scale)


def filters(blobs: NDArray[Any]) -> Image.Image:
    """(n, 3 or 1, h, w), blue, green, red → a picture of all of them, eight or more a row, a pixel apart."""
    count, _, height, width = blobs.shape
    columns = max(8, round(count**0.5))
    rows = -(-count // columns)
    sheet = np.full((rows * (height + 1) + 1, min(columns, count) * (width + 1) + 1, 3), 255, np.uint8)
    for number, one in enumerate(np.asarray(blobs, np.float64)):
        low, high = np.nanmin(one), np.nanmax(one)
        shown = np.nan_to_num((one - low) / (high - low if high > low else 1.0)) * 255
        top, left = (number // columns) * (height + 1) + 1, (number % columns) * (width + 1) + 1
        pixels = shown[::-1].transpose(1, 2, 0) if len(shown) == 3 else shown.transpose(1, 2, 0).repeat(3, 2)
        sheet[top : top + height, left : left + width] = np.rint(pixels)
    return Image.fromarray(sheet)


# -- tables ------------------------------------------------------------------------------------------------------------


def _reproduction(path: str, found: Mapping[str, Any]) -> Iterator[str]:
    yield _section("reproduction", f"The paper's tables: {path}")
    if found["miniature"]:
        items = "".join(f"<li>{_text(one)}</li>" for one in found["miniature"])
        yield f'<div class="mini"><strong>A miniature.</strong><ul>{items}</ul></div>\n'
    if found.get("findings"):
        yield from _findings(found["findings"])
    for each in found["tables"]:
        yield from _table(each)
        for row in each["rows"]:
            yield from _pictures(row, found["data"], None, f"{each['table']}, {row['name']}")


def _findings(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"<h3>What the paper found</h3>\n<p>On the same pictures: {_text(findings.counts(found))}.</p>\n"
    yield "<div class='wide'><table class='findings'>\n"
    says, *numbers, verdict = findings.HEAD
    yield f"<tr><th></th><th>{_text(says)}</th>{_heads(*numbers)}<th>{_text(verdict)}</th></tr>\n"
    about = ""
    for one in found:
        says, *numbers, verdict = findings.cells(one)
        shown = "".join(f'<td class="number">{_text(number)}</td>' for number in numbers)
        heading = "" if one["about"] == about else one["about"]
        yield f"<tr class='{verdict.replace(' ', '-')}'><td>{_text(heading)}</td><td>{_text(says)}</td>{shown}"
        yield f"<td>{_text(verdict)}</td></tr>\n"
        about = one["about"]
    yield f'</table></div>\n<p class="note">Points of error; below 0: fewer errors. {_text(findings.LIMITS)}</p>\n'


def _table(each: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3>{_text(each['table'])}: {_text(each['title'])}</h3>\n<div class='wide'><table class='figures'>\n"
    measures = list(dict.fromkeys(one["measure"] for row in each["rows"] for one in row["figures"]))
    heads = "".join(_heads(f"{WORDS.get(one, one)}, paper", "measured", "95 %") for one in measures)
    yield f"<tr><th>row</th>{heads}</tr>\n"
    for row in each["rows"]:
        figures = {one["measure"]: one for one in row["figures"]}
        cells = "".join(_cells(figures.get(measure), bool(row["above"])) for measure in measures)
        css = ' class="missing"' if row["missing"] or row["why"] else ""
        yield f"<tr{css}><td>{_text(row['name'])}</td>{cells}</tr>\n"
    yield "</table></div>\n"
    for row in each["rows"]:
        if reasons := not_measured(row):
            yield f'<p class="note">{_text(row["name"])} is not measured: {_text("; ".join(reasons))}</p>\n'
        if row.get("note"):
            yield f'<p class="note">{_text(row["name"])}: {_text(row["note"])}</p>\n'
        if row["above"]:
            yield f'<p class="note">{_text(row["name"])}: points above “{_text(row["above"])}”</p>\n'
    notes = "".join(f"<li>{_text(one['number'])}: {_text(one['text'])}</li>" for one in each["deviations"])
    yield f'<details open><summary>What stands between the two</summary><ul class="note">{notes}</ul></details>\n'


def _heads(*words: str) -> str:
    """Of columns of numbers."""
    return "".join(f'<th class="number">{_text(word)}</th>' for word in words)


def _cells(one: Mapping[str, Any] | None, signed: bool) -> str:
    if one is None:
        return "<td></td>" * 3
    sign = "+" if signed else ""
    paper = "" if one["paper"] is None else f"{one['paper']:{sign}.1f}"
    paper += "" if one["spread"] is None else f" ± {one['spread']:.1f}"
    measured, ends = ("–", "") if one["measured"] is None else measured_cells(one, sign)
    return "".join(f'<td class="number">{_text(cell)}</td>' for cell in (paper, measured, ends))


# -- tests -------------------------------------------------------------------------------------------------------------


def _test(path: str, found: Mapping[str, Any]) -> Iterator[str]:
    yield _section("test", f"Test: {path}")
    for net in found.get("nets", ()):
        yield f'<p class="note">{_text(", ".join(f"{key}: {value}" for key, value in net.items()))}</p>\n'
    yield "<table class='errors'><tr><th></th><th>error, %</th><th>95 %</th></tr>\n"
    for name, key, ends in (("top-1", "top1_error", "interval"), ("top-5", "top5_error", "top5_interval")):
        low, high = found[ends]
        yield f'<tr><td>{name}</td><td class="number">{100 * found[key]:.2f}</td>'
        yield f'<td class="number">{100 * low:.2f} to {100 * high:.2f}</td></tr>\n'
    yield f"</table>\n<p class='note'>{found['images']:,} images</p>\n"
    yield from _pictures(found, found.get("data"), found.get("root"), "")


def _localisation(path: str, found: Mapping[str, Any]) -> Iterator[str]:
    yield _section("localisation", f"Localisation: {path}")
    low, high = found["interval"]
    yield f"<p>{found['images']:,} images, mean IoU {found['mean_iou']:.3f}; "
    for key in ("ground_truth_class_error", "top1_localisation_error", "top5_localisation_error"):
        if key in found:
            yield f"{key.replace('_', ' ')} {100 * found[key]:.2f} %; "
    yield f"interval of the last {100 * low:.2f} to {100 * high:.2f} %</p>\n"
    yield from _pictures(found, found.get("data"), None, "")


def _pictures(found: Mapping[str, Any], data: str | None, root: str | None, about: str) -> Iterator[str]:
    """Confusions, mistakes and boxes, with the pictures where these are still where they were."""
    if not any(found.get(key) for key in ("confusions", "mistakes", "boxes")):
        return
    pictures = Pictures(data, root)
    of = f": {about}" if about else ""
    if about:
        yield f"<details><summary>Pictures of {_text(about)}</summary>\n"
    if pairs := found.get("confusions"):
        yield f"<h3>Classes taken for others{_text(of)}</h3>\n<table class='confusions'>"
        yield "<tr><th>images</th><th>class</th><th>taken for</th><th></th></tr>\n"
        for pair in pairs[:MOST_PAIRS]:
            shown = "".join(pictures.figure(index, "") for index in pair.get("pictures", ()))
            names = "".join(f"<td>{_text(_name(pair, key))}</td>" for key in ("true", "taken_for"))
            yield f'<tr><td class="number">{pair["images"]}</td>{names}<td>{shown}</td></tr>\n'
        yield "</table>\n"
    if wrong := found.get("mistakes"):
        yield f"<h3>Most confident mistakes{_text(of)}</h3>\n<div class='mistakes'>\n"
        for one in wrong[:MOST_MISTAKES]:
            words = f"{_name(one, 'true')}, taken for {_name(one, 'taken_for')} ({100 * one['probability']:.1f} %)"
            yield pictures.figure(one["index"], words)
        yield "</div>\n"
    if boxes := found.get("boxes"):
        yield f"<h3>Boxes{_text(of)}</h3>\n<p class='note'>White: the record's. Coloured: the net's.</p>\n"
        yield "<div class='boxes'>\n" + "".join(pictures.boxed(one) for one in boxes) + "</div>\n"
    if pictures.why:
        yield f'<p class="note">Without pictures: {_text(pictures.why)}</p>\n'
    pictures.close()
    if about:
        yield "</details>\n"


def _name(one: Mapping[str, Any], key: str) -> str:
    return one.get(f"{key}_name") or f"class {one[key]}"


class Pictures:
    """The pictures of a source by their places. `why`: why they are not shown."""

    def __init__(self, data: str | None, root: str | None) -> None:
        self._source: Source | None = None
        self.why = "" if data else "the result does not say where they are"
        try:
            self._source = open_source(data, root) if data else None
        except NetcError as error:
            self.why = error.message

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _pixels(self, index: int) -> Any:
        if self._source is None or not 0 <= index < len(self._source):
            return None
        try:
            return self._source.record(index).pixels(True)
        except NetcError as error:
            self.why = error.message
            return None

    def figure(self, index: int, words: str) -> str:
        """A thumbnail with what is to be said of it."""
        pixels = self._pixels(index)
        image = "" if pixels is None else _image(_thumbnail(Image.fromarray(pixels)), f"picture {index}")
        caption = f"<figcaption>{_text(words)}</figcaption>" if words else ""
        return f"<figure>{image}{caption}</figure>\n" if image or caption else ""

    def boxed(self, one: Mapping[str, Any]) -> str:
        pixels = self._pixels(one["index"])
        words = f"picture {one['index']}" + (f", IoU {one['overlap']:.2f}" if "overlap" in one else "")
        if pixels is None:
            return f"<figure><figcaption>{_text(words)}</figcaption></figure>\n"
        image = _image(_thumbnail(drawing(pixels, [Drawn(one["box"], "")], one["truth"]), 2 * THUMBNAIL), words)
        return f"<figure>{image}<figcaption>{_text(words)}</figcaption></figure>\n"


def _thumbnail(image: Image.Image, size: int = THUMBNAIL) -> Image.Image:
    image.thumbnail((size, size))
    return image


def _image(image: Image.Image, alt: str, css: str = "", width: int | None = None) -> str:
    """Inside the page: PNG for filters, whose pixels count, else JPEG."""
    file, kind = io.BytesIO(), "PNG" if css else "JPEG"
    image.convert("RGB").save(file, kind)
    data = base64.b64encode(file.getvalue()).decode()
    own = f' class="{css}"' if css else ""
    size = f' width="{width}"' if width else f' width="{image.width}" height="{image.height}"'
    return f'<img{own}{size} alt="{_text(alt)}" src="data:image/{kind.lower()};base64,{data}">'
