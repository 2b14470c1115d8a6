"""tools/dev.py: installs once, says what is wrong, passes on words and exit statuses."""

from __future__ import annotations

import builtins
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools/dev.py"


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module that runs nothing: `dev.calls` lists what it would, each ends with `dev.status`."""
    spec = importlib.util.spec_from_file_location("netc_dev", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.calls, module.status = [], 0
    monkeypatch.delenv("NETC_TORCH", raising=False)

    def call(command: list[str]) -> int:
        module.calls.append(list(command))
        if command[1:3] == ["-m", "venv"]:
            python = Path(command[3]) / "bin/python"
            python.parent.mkdir(parents=True)
            python.write_text('#!/bin/sh\necho ran "$@"\nexit 7\n')
            python.chmod(0o755)
        return module.status

    module.call = module.become = call
    return module


def run(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> list[list[str]]:
    """The commands of one run of the script, without the path of the Python in front."""
    dev.calls.clear()
    monkeypatch.setattr(sys, "argv", ["dev.py", *map(str, words)])
    dev.result = dev.main()
    return [command[2:] for command in dev.calls]


def test_the_first_run_installs_and_the_next_does_not(dev, monkeypatch, tmp_path: Path) -> None:
    home = tmp_path / "v"
    made, installed, ran = run(dev, monkeypatch, "--venv", home, "demo", "--quick")
    assert made == ["venv", str(home)]
    assert installed[:2] == ["pip", "install"]
    assert installed[-4:-2] == ["-c", str(dev.ROOT / "constraints.txt")]
    assert installed[-1] == f"{dev.ROOT}[fast]"
    assert ran == ["netc", "demo", "--quick"]
    assert run(dev, monkeypatch, "--venv", home, "demo") == [["netc", "demo"]]


def test_a_task_that_needs_more_adds_it(dev, monkeypatch, tmp_path: Path) -> None:
    run(dev, monkeypatch, "--venv", tmp_path / "v", "demo")
    installed, ran = run(dev, monkeypatch, "--venv", tmp_path / "v", "test", "-k", "x")
    assert installed[-1].endswith("[dev,fast]")
    assert ran == ["pytest", "-k", "x"]
    assert len(run(dev, monkeypatch, "--venv", tmp_path / "v", "demo")) == 1


def test_all_tests_run_on_every_core(dev, monkeypatch, tmp_path: Path) -> None:
    assert run(dev, monkeypatch, "--venv", tmp_path / "v", "test")[-1] == ["pytest", *dev.EVERY_CORE]


def test_dev_covers_the_demo(dev, monkeypatch, tmp_path: Path) -> None:
    run(dev, monkeypatch, "--venv", tmp_path / "v", "test")
    assert run(dev, monkeypatch, "--venv", tmp_path / "v", "demo") == [["netc", "demo"]]


def test_changed_requirements_install_again(dev, monkeypatch, tmp_path: Path) -> None:
    run(dev, monkeypatch, "--venv", tmp_path / "v", "test")
    monkeypatch.setattr(dev, "fingerprint", lambda gpu: "another")
    assert run(dev, monkeypatch, "--venv", tmp_path / "v", "test")[0][:2] == ["pip", "install"]


@pytest.mark.parametrize("asked", ["--gpu", "NETC_TORCH"])
def test_gpu_goes_without_the_constraints(dev, monkeypatch, tmp_path: Path, asked: str) -> None:
    if asked == "NETC_TORCH":
        monkeypatch.setenv(asked, "gpu")
    options = [asked] if asked.startswith("-") else []
    installed = run(dev, monkeypatch, "--venv", tmp_path / "v", *options, "install")[1]
    assert "-c" not in installed


def test_a_failed_install_is_tried_again(dev, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "v/bin").mkdir(parents=True)
    (tmp_path / "v/bin/python").touch()
    dev.status = 3
    for _ in range(2):
        assert [words[0] for words in run(dev, monkeypatch, "--venv", tmp_path / "v", "test")] == ["pip"]
        assert dev.result == 3


def test_lint_runs_every_linter_and_fails_with_any(dev, monkeypatch, tmp_path: Path) -> None:
    run(dev, monkeypatch, "--venv", tmp_path / "v", "install")
    dev.status = 1
    linters = run(dev, monkeypatch, "--venv", tmp_path / "v", "lint")
    assert linters == [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
    assert dev.result == 1


def test_an_old_python_is_told(dev, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert run(dev, monkeypatch, "demo") == []
    assert dev.result == 1
    assert "netc needs Python 3.11 or newer" in capsys.readouterr().err


def test_a_python_without_venv_is_told(dev, monkeypatch, capsys, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object) -> object:
        if name == "ensurepip":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert run(dev, monkeypatch, "--venv", tmp_path / "v", "demo") == []
    assert dev.result == 1
    assert "apt-get install python3-venv" in capsys.readouterr().err


def test_the_exit_status_is_the_childs(dev, monkeypatch, tmp_path: Path) -> None:
    run(dev, monkeypatch, "--venv", tmp_path / "v", "install")
    assert json.loads((tmp_path / "v/netc-installed.json").read_text())["extras"] == [
        "dev",
        "fast",
        "features",
        "hdf5",
        "onnx",
    ]
    command = [sys.executable, str(SCRIPT), "--venv", str(tmp_path / "v"), "test", "-k", "x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 7
    assert done.stdout.splitlines()[-1] == "ran -m pytest -k x"
