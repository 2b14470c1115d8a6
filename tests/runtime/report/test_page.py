"""`netc report`: one page with all its parts, that asks nothing of a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netc.cli._main import run as main

CHROMIUM = shutil.which("chromium")
VOID = {"meta", "img", "br", "link", "input"}


class Parsed(HTMLParser):
    """The tags of a page with their attributes; whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def count(self, tag: str, **attributes: str) -> int:
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return sum(name == tag and wanted.items() <= found.items() for name, found in self.tags)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run with weights, a test, a localisation and a reproduction, of three pictures."""
    root = tmp_path_factory.mktemp("report")
    draws = np.random.default_rng(3)
    for number in range(3):
        (root / "photos" / f"c{number}").mkdir(parents=True)
        pixels = draws.integers(0, 256, (80, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"c{number}" / "one.png")
    records = [{"netc_metrics": 1, "run": "small", "kind": "start", "iter": 0, "id": "a"}]
    for at in range(0, 50, 10):
        rate = 0.01 if at < 30 else 0.001
        records.append({"run": "small", "kind": "train", "iter": at, "loss": 2.3 - at / 50, "lr": rate, "outputs": {}})
    outputs = {"accuracy": 0.625, "loss": 1.5}
    records.append({"run": "small", "kind": "test", "iter": 40, "net": 0, "loss": 1.5, "outputs": outputs})
    (root / "small.metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    from netc import proto

    weights = proto.NetParameter(name="small")
    blob = weights.layer.add(name="conv1", type="Convolution").blobs.add(data=draws.normal(size=16 * 27).tolist())
    blob.shape.dim.extend((16, 3, 3, 3))
    (root / "small_iter_40.caffemodel").write_bytes(weights.SerializeToString())
    pair = {"true": 0, "taken_for": 1, "images": 2, "true_name": "<cat>", "taken_for_name": "dog", "pictures": [0, 1]}
    mistake = {
        "index": 2,
        "probability": 0.875,
        "true": 2,
        "taken_for": 0,
        "true_name": "ü & o",
        "taken_for_name": None,
    }
    test = {"images": 3, "top1_error": 0.5, "top5_error": 0.25, "interval": [0.4, 0.6], "top5_interval": [0.2, 0.3]}
    data = str(root / "photos")
    (root / "test.json").write_text(json.dumps({**test, "data": data, "confusions": [pair], "mistakes": [mistake]}))
    box = {"index": 0, "box": [5, 5, 60, 60], "truth": [[10, 10, 70, 70]], "overlap": 0.5625}
    local = {"images": 3, "mean_iou": 0.6, "ground_truth_class_error": 0.25, "interval": [0.1, 0.4]}
    (root / "local.json").write_text(json.dumps({**local, "data": data, "boxes": [box]}))
    figure = {"measure": "top1_error", "paper": 24.8, "spread": None, "measured": 26.53, "interval": [25.1, 28.0]}
    figure |= {"p": None, "note": None}
    lacking = {**figure, "measured": None, "interval": None}
    row = {"missing": [], "why": None, "above": None}
    rows = [{"name": "D, dense", "figures": [figure], **row}]
    rows += [{"name": "E, dense", "figures": [lacking], **row, "missing": ["vgg_E_jitter.caffemodel"]}]
    deviation = {"number": "T3", "text": "pooling rounds up"}
    table = {"table": "table5", "title": "Techniques", "rows": rows, "deviations": [deviation]}
    finding = {"about": "crops", "says": "E: crops < dense", "first": "a", "second": "b", "expects": "fewer errors"}
    seen = {**finding, "paper": -0.2, "measured": -4.25, "interval": [-6.5, -2.0], "p": 0.00125, "verdict": "seen"}
    absent = {**finding, **dict.fromkeys(("measured", "interval", "p")), "paper": -0.4, "verdict": "not measured"}
    whole = {"format": "netc reproduction", "miniature": ["small nets"], "data": data, "tables": [table]}
    whole["findings"] = [seen, absent]
    (root / "tables.json").write_text(json.dumps(whole))
    return root


@pytest.fixture(scope="module")
def written(folder: Path) -> Path:
    path = folder / "report.html"
    sources = [str(folder / name) for name in ("small.metrics.jsonl", "test.json", "local.json", "tables.json")]
    assert main(["report", *sources, "-o", str(path), "--title", "a <b> & c"]) == 0
    return path


def test_the_parts_of_the_page(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    page = Parsed(text)
    assert page.open == []
    assert page.count("h1") == 1
    assert "a <b> & c" in page.text
    assert [page.count("h2", class_=kind) for kind in ("run", "reproduction", "test", "localisation")] == [1, 1, 1, 1]
    for words in (
        "First-layer filters",
        "Most confident mistakes",
        "Classes taken for others",
        "Boxes",
        "A miniature.",
        "What the paper found",
        "1 seen, 1 not measured",
        "E: crops < dense",
        "-6.5 to -2.0",
    ):
        assert words in page.text, words
    for words in (
        "24.8",
        "26.53",
        "25.10 to 28.00",
        "T3: pooling rounds up",
        "50.00",
        "40.00 to 60.00",
        "mean IoU 0.600",
    ):
        assert words in page.text, words
    lacking = "these weights are not there: vgg_E_jitter.caffemodel"
    for words in (
        "<cat>",
        "ü & o, taken for class 0 (87.5 %)",
        f"E, dense is not measured: {lacking}",
    ):
        assert words in page.text, words
    assert page.count("img") == 1 + 2 + 1 + 1  # filters, a pair's, a mistake, a box
    assert all(found["alt"] for tag, found in page.tags if tag == "img")


def test_it_asks_nothing_of_a_network_and_runs_nothing(written: Path) -> None:
    page = Parsed(written.read_text(encoding="utf-8"))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    named = [value for _, found in page.tags for key, value in found.items() if key in ("src", "href", "srcset")]
    assert named
    assert all(value.startswith("data:image/") for value in named)
    assert not [key for _, found in page.tags for key in found if key.startswith("on")]


def test_the_curves_are_svg_with_loss_rate_and_outputs(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    tree = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    texts = ["".join(one.itertext()) for one in tree.iter() if one.tag.endswith("text")]
    for words in ("loss", "learning rate", "validation"):
        assert words in texts
    assert len([one for one in tree.iter() if one.tag.endswith("polyline")]) > 3


def test_what_is_no_result(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ["not json", "[]", "{}", '{"top5_error": 1}', '{"mean_iou": "x"}', '{"tables": [{}]}']
    texts.append('{"images": 3, "mean_iou": 0.5, "ground_truth_class_error": 0.1, "interval": [1]}')
    for text in texts:
        Path("a.json").write_text(text)
        assert main(["report", "a.json"]) == 2, text
        assert "C311" in capsys.readouterr().err
    assert main(["report", "missing.json"]) == 66
    (tmp_path / "empty").mkdir()
    assert main(["report", "empty"]) == 2
    assert not Path("report.html").exists()


def test_a_page_is_not_replaced_without_force_and_pictures_may_be_gone(folder: Path, tmp_path: Path, capsys) -> None:
    found = json.loads((folder / "test.json").read_text())
    (tmp_path / "test.json").write_text(json.dumps({**found, "data": str(tmp_path / "gone")}))
    words = ["report", str(tmp_path / "test.json"), "-o", str(tmp_path / "page.html")]
    assert main(words) == 0
    page = Parsed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.count("img") == 0
    assert "Without pictures: there is no" in page.text
    assert main(words) == 73
    assert main([*words, "--force"]) == 0


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_shows_it(written: Path, tmp_path: Path) -> None:
    """The page without scripts, in the DOM that a browser makes, and as a picture of it."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1100,3000",
    ]
    flags += [f"--user-data-dir={tmp_path / 'profile'}"]
    shot = tmp_path / "shot.png"
    command = [str(CHROMIUM), *flags]
    dom = subprocess.run([*command, "--dump-dom", written.as_uri()], capture_output=True, timeout=240, check=True)
    page = Parsed(dom.stdout.decode())
    assert [page.count("h2", class_=kind) for kind in ("run", "reproduction", "test", "localisation")] == [1, 1, 1, 1]
    assert page.count("img") == 5
    subprocess.run([*command, f"--screenshot={shot}", written.as_uri()], capture_output=True, timeout=240, check=True)
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert pixels.shape[0] >= 2500
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500  # curves, tables and photos, not a blank page
