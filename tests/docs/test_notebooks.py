"""docs/notebooks: they are kept without outputs, their code compiles, what they use of netc is there, and they run.

Running them needs the extra `notebooks` (or `dev`) and, for two of them, the shared zoo: `-m slow`.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
BOOKS = sorted(FOLDER.glob("*.ipynb"))
MINUTES = 30
"""What a notebook may take before it counts as hung."""


def read(book: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(book.read_text(encoding="utf-8"))
    return found


def code_of(book: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in read(book)["cells"] if cell["cell_type"] == "code"]


def test_there_are_four() -> None:
    assert [book.stem for book in BOOKS] == ["classify_a_photo", "dense_evaluation", "fine_tune", "train_a_net"]
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for book in BOOKS:
        assert f"({book.name})" in readme


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_it_is_kept_without_outputs(book: Path) -> None:
    """So that a change shows as what was changed; `jupyter nbconvert --clear-output --inplace FILE` brings it there."""
    notebook = read(book)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert "".join(notebook["cells"][0]["source"]).startswith("# ")
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert book.stat().st_size < 30_000


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_its_code_is_plain_python_and_what_it_uses_is_there(book: Path) -> None:
    trees = [ast.parse(code, f"{book.name}[{number}]") for number, code in enumerate(code_of(book))]
    names = dict(pair for tree in trees for pair in imported(tree))
    assert names
    for tree in trees:
        for chain in chains(tree):
            if chain[0] in names:
                resolve(names[chain[0]], chain)


def imported(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """Name → what it is, of all that comes from netc."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "netc":
                    module = importlib.import_module(alias.name)
                    yield (alias.asname, module) if alias.asname else ("netc", importlib.import_module("netc"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "netc":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                yield alias.asname or alias.name, getattr(module, alias.name)


def chains(tree: ast.AST) -> Iterator[list[str]]:
    """a.b.c as ["a", "b", "c"]."""
    for node in ast.walk(tree):
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name):
            yield [node.id, *parts]


def resolve(found: Any, chain: list[str]) -> None:
    for part in chain[1:]:
        assert hasattr(found, part), f"{'.'.join(chain)}: {found!r} has no {part}"
        found = getattr(found, part)


def test_a_name_that_is_not_there_is_found() -> None:
    names = dict(imported(ast.parse("import netc.pycaffe as caffe")))
    with pytest.raises(AssertionError, match="has no Nett"):
        resolve(names["caffe"], ["caffe", "Nett"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebooks, where they leave their files: one goes on from another's."""
    left = shutil.ignore_patterns("small_vgg", "fine_tune", ".*")
    return Path(shutil.copytree(FOLDER, tmp_path_factory.mktemp("notebooks") / "copies", ignore=left))


def run(book: str, folder: Path) -> list[Any]:
    """The outputs of a notebook's cells, run as Jupyter runs them."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("matplotlib")
    pytest.importorskip("ipykernel")
    nbformat = importlib.import_module("nbformat")
    notebook = nbformat.read(folder / f"{book}.ipynb", as_version=4)
    options = {"timeout": 60 * MINUTES, "resources": {"metadata": {"path": str(folder)}}}
    nbclient.NotebookClient(notebook, kernel_name="python3", **options).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output.text for output in outputs if output.get("name") == "stderr"], "nothing is complained of"
    return outputs


def text_of(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") for output in outputs)


def pictures(outputs: list[Any]) -> int:
    return sum("image/png" in output.get("data", ()) for output in outputs)


@pytest.mark.slow
def test_train_a_net_and_evaluate_it_densely(folder: Path) -> None:
    outputs = run("train_a_net", folder)
    assert pictures(outputs) == 4
    assert percent(text_of(outputs), "accuracy ") > 70
    outputs = run("dense_evaluation", folder)
    assert pictures(outputs) == 1
    told = text_of(outputs)
    centre, dense, several = (percent(told, way) for way in ("crop, Q = 56", "dense, Q = 56", "52, 56, 64"))
    assert centre > 70
    assert min(dense, several) > centre - 5
    assert float(told.split("largest difference ")[1].split()[0]) < 1e-4


@pytest.mark.slow
def test_classify_a_photo(folder: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_SHARED", str(shared))
    outputs = run("classify_a_photo", folder)
    assert pictures(outputs) == 6
    assert "tiger cat" in text_of(outputs)


@pytest.mark.slow
def test_fine_tune(folder: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_SHARED", str(shared))
    outputs = run("fine_tune", folder)
    assert pictures(outputs) == 3
    assert percent(text_of(outputs), "\n", "") > 80


def percent(text: str, before: str, after: str = "") -> float:
    """The first number with a % sign behind `before`."""
    found = re.search(re.escape(before) + r"\s*([\d.]+)%", "\n" + text)
    assert found, text
    return float(found[1])
