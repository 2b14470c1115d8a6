"""docs/cluster.md: its commands for one machine run as they stand; those for several have options that exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import netc
from netc.cli import _main
from tests.runtime.solver.conftest import write_run

ROOT = Path(netc.__file__).parents[1]
TEXT = (ROOT / "docs" / "cluster.md").read_text()
HERE = re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE)
ELSEWHERE = re.findall(r"torchrun (.*?-m netc .*?)$", TEXT.replace("\\\n", " "), re.MULTILINE)
PROGRAMS = {"netc": ["-m", "netc"], "torchrun": ["-m", "torch.distributed.run"]}


@pytest.mark.slow
def test_the_commands_for_one_machine(tmp_path: Path) -> None:
    write_run(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for line in HERE:
        program, *words = shlex.split(line)
        command = [sys.executable, *PROGRAMS[program], *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "proof.json").exists()
    assert "the same bits" in (tmp_path / "proof.md").read_text()


def test_the_commands_for_several_machines_have_options_that_exist() -> None:
    run = pytest.importorskip("torch.distributed.run")
    assert len(ELSEWHERE) == 3
    for line in ELSEWHERE:
        words = shlex.split(line)
        parsed = run.get_args_parser().parse_args(words)
        assert (parsed.module, parsed.training_script) == (True, "netc")
        name, *arguments = parsed.training_script_args
        command = _main.load(name)
        assert command is not None
        command.make_context(name, [word for word in arguments if word != "--force"])
