"""Every command that is given --json prints one document on stdout, also where it fails."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from netc.cli import _main
from netc.errors import NetcError

COMMANDS = [
    name
    for name in _main.MODULES
    if any("--json" in param.opts for param in _main.load(name).params if isinstance(param, click.Option))
]
KEYS = {"code", "message", "path", "line", "column", "hint"}
FAILING = {
    "test": (["nowhere.prototxt", "--weights", "nowhere.caffemodel"], 66),
    "reproduce": (["table5", "--data", "nowhere_lmdb", "--weights-dir", "nowhere"], 66),
    "localise": (["a.jpg", "--net", "nowhere.prototxt", "--weights", "no.caffemodel", "-o", "out"], 66),
    "classify": (["nowhere.jpg", "--weights", "nowhere.caffemodel"], 66),
    "features": (["nowhere.prototxt", "pictures", "--weights", "no.caffemodel", "-o", "out.npz"], 66),
    "svm": (["folder", "nowhere", "--features", "no.npz"], 66),
    "convert-imageset": (["nowhere", "list.txt", "out_lmdb"], 66),
    "image-mean": (["nowhere_lmdb"], 66),
    "pack": (["nowhere_lmdb", "-o", "out_lmdb", "--short-side", "9"], 66),
    "check": (["nowhere.prototxt"], 66),
    "diff": (["nowhere.prototxt", "vgg_A"], 66),
    "explain": (["X999"], 2),
    "time": (["nowhere.prototxt"], 66),
    "prove-parallel": (["nowhere.prototxt"], 66),
    "device-query": (["--gpu", "x"], 2),
    "weights": (["nowhere.caffemodel"], 66),
    "cache": (["nonsense"], 2),
    "optimise": (["nowhere.prototxt", "--weights", "nowhere.caffemodel"], 66),
    "convert-caffemodel": (["nowhere.caffemodel", "-o", "out.npz"], 66),
}


def document(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    status = _main.run(list(words))
    return status, json.loads(capsys.readouterr().out)


def test_every_command_with_json_is_tried() -> None:
    assert sorted(FAILING) == sorted(COMMANDS)


@pytest.mark.parametrize("name", FAILING)
def test_a_missing_file(name: str, capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, wanted = FAILING[name]
    status, found = document(capsys, name, *words, "--json")
    assert (status, found["ok"]) == (wanted, False)
    errors = found["files"][0]["errors"] if name == "check" else found["errors"]
    assert [one.keys() >= KEYS for one in errors] == [True]
    assert errors[0]["code"][0] in "FC"


@pytest.mark.parametrize("words", [["--nonsense"], ["--debug=x"]])
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--json", "-json", "--json=true"])
def test_a_wrong_command_line(name: str, words: list[str], flag: str, capsys) -> None:
    status, found = document(capsys, name, flag, *words)
    assert (status, found["ok"], found["errors"][0]["code"]) == (2, False, "C100")


@pytest.mark.parametrize("words", [["chekc", "--json"], ["train", "--json", "x"], ["--json"], ["--json", "weights"]])
def test_where_no_command_reads_the_option(words: list[str], capsys) -> None:
    status, found = document(capsys, *words)
    assert (status, found["errors"][0]["code"]) == (2, "C100")


def test_several_errors_each_with_its_place(tmp_path: Path, capsys) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "a" typ: "ReLU" }\nlayer { nme: "b" }\n')
    status, found = document(capsys, "diff", str(net), str(net), "--json")
    assert status == 65
    assert [(one["code"], one["line"], one["path"]) for one in found["errors"]] == [
        ("S201", 1, str(net)),
        ("S201", 2, str(net)),
    ]


def test_check_names_each_file_also_where_a_name_means_none(capsys) -> None:
    status, found = document(capsys, "check", "vgg_Q", "mini_vgg_A", "--json")
    assert status == 66
    assert [[one["code"] for one in file["errors"]] for file in found["files"]] == [["F103"], []]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("x"), MemoryError(), SystemExit("no")])
def test_what_has_no_code_is_a_document_too(error: BaseException, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> int:
        raise error

    monkeypatch.setattr(_main, "_invoke", fails)
    status, found = document(capsys, "explain", "--json")
    assert status
    assert [one["code"] for one in found["errors"]] == [None]


def test_without_json_stdout_stays_empty(capsys) -> None:
    assert _main.run(["explain", "X999", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_an_error_after_the_document_adds_no_second_one(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(words: object, frame: _main.Frame) -> int:
        click.echo("{}")
        return 0

    def full(*words: object, **options: object) -> None:
        raise NetcError("O900", "full")

    monkeypatch.setattr(_main, "_invoke", written)
    monkeypatch.setattr(_main, "print", full, raising=False)
    status, found = document(capsys, "explain", "--json")
    assert (status, found) == (73, {})
