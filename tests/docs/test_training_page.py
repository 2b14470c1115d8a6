"""docs/training.md: its commands run, the log line is the one that it shows, its options exist."""

from __future__ import annotations

import json
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import torch

from netc.cli import main
from netc.cli.train import command
from tests.runtime.solver.conftest import write_run

PAGE = (Path(__file__).resolve().parents[2] / "docs/training.md").read_text()
COMMANDS = [
    pytest.param(text, marks=[pytest.mark.slow] if "--compile" in text else [])  # seconds for torch's tracing
    for text in re.findall(r"^\$ netc (.*)$", PAGE, re.M)
]


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    arguments = shlex.split(text)
    assert main([*arguments, "--iterations", "2"]) == 0
    said = capsys.readouterr().err
    (line,) = re.findall(r"Computing with (.*)", said)
    (shown,) = re.findall(r"^Computing with (.*)$", PAGE, re.M)
    assert re.findall(r"[a-z]+ ", line)[0] == "precision "
    names = [part.split()[0] for part in shown.split(", ")]
    assert [part.split()[0] for part in line.split(", ")] == names
    assert ("precision bf16" in line) == ("bf16" in text)
    assert ("compiled yes" in line) == ("--compile" in text)
    records = [json.loads(row) for row in (tmp_path / "tiny.metrics.jsonl").read_text().splitlines()]
    (options,) = [row for row in records if row["kind"] == "options"]
    assert set(names) <= set(options)


def test_its_options_exist() -> None:
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= known
