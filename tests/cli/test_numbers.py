"""Numbers in options: of any length, and always with an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from netc.cli._main import COMMANDS, load, run

WITHOUT_FILE = ("demo", "device_query", "train", "test")
NUMERIC = [
    (name, option.opts[-1], option.type)
    for group in COMMANDS.values()
    for name in group
    if (command := load(name))
    for option in command.params
    if isinstance(option, click.Option)
    and isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
]


def test_the_options_are_found() -> None:
    assert len(NUMERIC) >= 20
    assert {"--seed", "--threads", "--level", "--tolerance"} <= {option for _, option, _ in NUMERIC}


VALUES = {"real": ["1" * 5000, "9" * 400, "nan"], "whole": ["1" * 5000, "-" + "9" * 400, "1" * 30, "nan", "1.5"]}
CASES = [
    (command, option, value)
    for command, option, kind in NUMERIC
    for value in VALUES["real" if isinstance(kind, click.types.FloatParamType) else "whole"]
]


@pytest.mark.parametrize(
    "command, option, value", CASES, ids=lambda word: word if len(word) < 31 else f"{len(word)} digits"
)
def test_a_number_that_is_none(
    command: str, option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Wrong usage, before anything is opened."""
    monkeypatch.chdir(tmp_path)
    status = run([command, *["net"] * (command not in WITHOUT_FILE) * (3 if "image" in command else 1), option, value])
    said = capsys.readouterr().err
    assert status == 2
    assert "internal error" not in said
    assert len(said) < 1000
