"""Every command in README.md works as it is written there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from netc.errors import NetcError
from netc.graph.compile import compile_net

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
INSTALL = ["python3 tools/dev.py demo", "python3 tools/dev.py test"]
"""Run by the slow test alone: they make a venv, and the demo trains for minutes."""

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# file: (\S+)\n")


def steps() -> list[tuple[str, str]]:
    """("run", command) and ("write", text) in the README's order."""
    found = []
    for language, text in BLOCK.findall(README):
        if language == "console":
            found += [("run", line[2:]) for line in text.splitlines() if line.startswith("$ ")]
        elif FILE.match(text):
            found.append(("write", text))
    return found


def photos(folder: Path) -> None:
    """What the README says the reader has: photos/{train,val}/<class>/*.jpg, of different sizes."""
    for part, count in (("train", 6), ("val", 3)):
        for label, colour in enumerate([(200, 40, 30), (30, 160, 60), (20, 60, 190)]):
            place = folder / part / ["cherry", "leaf", "sky"][label]
            place.mkdir(parents=True)
            for n in range(count):
                Image.new("RGB", (90 + 7 * n, 80 + 5 * label), colour).save(place / f"{n}.jpg")


@pytest.fixture
def path_with_netc(tmp_path: Path) -> str:
    """A PATH whose `netc` is this checkout's, run by this Python."""
    place = tmp_path / "bin"
    place.mkdir()
    script = f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m netc "$@"\n'
    (place / "netc").write_text(script)
    (place / "netc").chmod(0o755)
    return f"{place}{os.pathsep}{os.environ['PATH']}"


def test_the_readme_opens_with_the_two_install_commands() -> None:
    commands = [text for kind, text in steps() if kind == "run"]
    assert [command for command in commands if command in INSTALL] == INSTALL
    assert set(commands[:2]) <= set(INSTALL)


def test_every_command_works_in_the_order_it_is_given(tmp_path: Path, path_with_netc: str) -> None:
    home = tmp_path / "home"
    photos(home / "photos")
    for kind, text in steps():
        if kind == "write":
            target = home / FILE.match(text)[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        elif text not in INSTALL:
            environment = {**os.environ, "PATH": path_with_netc}
            done = subprocess.run(text, shell=True, cwd=home, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"$ {text}\n{done.stdout}{done.stderr}"


def test_the_error_it_shows_is_the_error_netc_gives() -> None:
    (shown,) = [text for language, text in BLOCK.findall(README) if language == "text" and "error[" in text]
    (net,) = [text for kind, text in steps() if kind == "write" and text.startswith("# file: my/train_val.prototxt")]
    with pytest.raises(NetcError) as caught:
        compile_net(net.replace("kernel_size: 3 pad", "kernel_sise: 3 pad", 1), phase="TRAIN")
    assert re.sub("^<text>", "my/train_val.prototxt", str(caught.value)) == shown.strip()


def test_every_folder_it_names_exists() -> None:
    tree = [text for language, text in BLOCK.findall(README) if language == "text"][-1]
    named = [line.split()[0] for line in tree.splitlines()]
    assert set(named) >= {"netc/", "runtime/", "proto/", "models/"}
    assert [name for name in named if not (ROOT / name).is_dir()] == []


def test_every_link_in_the_documents_leads_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/**/*.md")]:
        targets = re.findall(r"\]\(([^)#\s]+)", BLOCK.sub("", page.read_text()))
        broken += [(page.name, t) for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert broken == []


@pytest.mark.slow
@pytest.mark.parametrize("command", INSTALL)
def test_install_commands_in_a_fresh_clone(command: str, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    clone = tmp_path / "netc"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environment = {**os.environ, "NETC_SHARED": os.environ.get("NETC_SHARED", str(ROOT.parent / "shared"))}
    words = [sys.executable, *command.split()[1:]]
    done = subprocess.run(words, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
