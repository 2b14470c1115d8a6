"""Every command in README.md works as it is written there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from netc.errors import NetcError
from netc.graph.compile import compile_net

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
INSTALL = ["python3 tools/dev.py demo", "python3 tools/dev.py test"]
"""Run by the slow test alone: they make a venv, and the demo trains for minutes."""

ACTIVATE = ". .venv/bin/activate"
"""From here on, and not before, the shell finds `netc`."""

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


def write_venv(home: Path) -> None:
    """What the install commands leave: a .venv whose `netc` is this checkout's, run by this Python."""
    place = home / ".venv/bin"
    place.mkdir(parents=True)
    script = f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m netc "$@"\n'
    (place / "netc").write_text(script)
    (place / "netc").chmod(0o755)
    (place / "activate").write_text(f'PATH={shlex.quote(str(place))}:"$PATH"\n')


def path_without_netc() -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not os.path.exists(os.path.join(folder, "netc")))


def follow(home: Path, edit: Callable[[str], str] = str) -> dict[str, str]:
    """Do all that the README says in `home`, which has photos/; what each command printed. `edit` goes over commands
    and files."""
    write_venv(home)
    environment, active, said = {**os.environ, "PATH": path_without_netc()}, "", {}
    for kind, text in steps():
        if kind == "write":
            target = home / FILE.match(text)[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(edit(text))
        elif text not in INSTALL:
            active += f"{text}\n" if text == ACTIVATE else ""
            script = active if text == ACTIVATE else active + edit(text)
            done = subprocess.run(["sh", "-c", script], cwd=home, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"$ {text}\n{done.stdout}{done.stderr}"
            said[text] = done.stdout + done.stderr
    return said


def fewer_iterations(text: str) -> str:
    """A twentieth of the iterations, in the solver and in the names of its snapshots."""
    counts = r"(max_iter: |stepsize: |test_interval: |snapshot: |_iter_)(\d+)"
    return re.sub(counts, lambda match: match[1] + str(int(match[2]) // 20), text)


def test_the_readme_opens_with_the_two_install_commands() -> None:
    commands = [text for kind, text in steps() if kind == "run"]
    assert [command for command in commands if command in INSTALL] == INSTALL
    assert set(commands[:2]) <= set(INSTALL)


def test_every_command_works_in_the_order_it_is_given(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    follow(tmp_path, fewer_iterations)


PHOTOS = "zoo/images/imagenette"
"""300 photos of each of ten classes to train on, 50 to test on."""


def linked_photos(home: Path, shared: Path) -> None:
    if not (shared / PHOTOS).is_dir():
        pytest.skip("the photos are not here")
    (home / "photos").symlink_to((shared / PHOTOS).resolve())


def accuracy(log: str) -> float:
    return float(re.findall(r"accuracy = (\S+)", log)[-1])


@pytest.mark.slow
def test_its_net_learns_real_photos(tmp_path: Path, shared: Path) -> None:
    """As printed, iterations and all: 45 % of ten classes, where guessing gives 10 %."""
    linked_photos(tmp_path, shared)
    said = follow(tmp_path)
    (test,) = [log for command, log in said.items() if command.startswith("netc test")]
    assert accuracy(test) > 0.38
    train = next(log for command, log in said.items() if command.startswith("netc train"))
    assert float(re.search(r"Iteration 0.*, loss = (\S+)", train)[1]) < 4  # ln 10 is 2.3
    assert "warning[A8" not in said["netc check my/train_val.prototxt"].replace("warning[A830]", "")


def deeper(text: str) -> str:
    """The README's net with five convolutions: its blocks repeated, as it says."""
    block = re.search(r'layer \{\n  name: "conv2_2".*?^layer \{[^\n]*relu2_2[^\n]*\n', text, re.M | re.S)[0]
    more = [block.replace("2_2", f"2_{n}").replace('"conv2_1"', f'"conv2_{n - 1}"') for n in (3, 4)]
    text = text.replace('bottom: "conv2_2" top: "pool2"', 'bottom: "conv2_4" top: "pool2"')
    return text.replace('layer { name: "pool2"', "".join(more) + 'layer { name: "pool2"')


@pytest.mark.slow
def test_a_deeper_net_learns_them_too(tmp_path: Path, shared: Path) -> None:
    linked_photos(tmp_path, shared)
    said = follow(tmp_path, lambda text: deeper(text) if text.startswith("# file: my/train_val.prototxt") else text)
    assert accuracy(next(log for command, log in said.items() if command.startswith("netc test"))) > 0.35


@pytest.mark.slow
def test_the_small_net_of_the_paper_learns_them(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mini_vgg_A by its own solver, a tenth of its iterations: 24 %, where guessing gives 10 %."""
    linked_photos(tmp_path, shared)
    write_venv(tmp_path)
    netc = f"{ACTIVATE} && cd {tmp_path} && netc"
    for words in (
        "convert-imageset photos/train train_lmdb --short-side 96",
        "convert-imageset photos/val val_lmdb --short-side 80",
        "train mini_vgg_A --iterations 300",
    ):
        done = subprocess.run(["sh", "-c", f"{netc} {words}"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert accuracy(done.stderr) > 0.15  # of 500 photos: four standard deviations above guessing


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
