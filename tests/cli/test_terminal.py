"""What reaches a terminal: no control character, whichever name it comes from; and streams that are closed."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from netc import proto, weights
from netc.cli import main
from netc.errors import NetcError, Place
from netc.errors.terminal import clean
from tests.runtime.solver.conftest import write_run

ROOT = Path(__file__).resolve().parents[2]
EVIL = "a\x1b[2J\x1b]0;t\x07\r\x08\x7f\x9b31m\u202eb\u2066"
"""Clear the screen, set a title, go back, CSI in one byte (C1), turn the text round."""

NAME = "a\\033[2J\\033]0;t\\007\\r\\010\\177\u009b31m\u202eb\u2066"
"""The same, as a prototxt says it."""

NET = f"""name: "{NAME}"
layer {{ name: "in" type: "Input" top: "{NAME}" input_param {{ shape {{ dim: 1 dim: 2 dim: 4 dim: 4 }} }} }}
layer {{ name: "{NAME}" type: "InnerProduct" bottom: "{NAME}" top: "fc" inner_product_param {{ num_output: 3 }} }}
"""


def harmful(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, a changed one, broken ones and weights, all of evil names inside and out."""
    monkeypatch.chdir(tmp_path)
    net = EVIL + ".prototxt"
    Path(net).write_text(NET)
    Path("other" + net).write_text(NET.replace("num_output: 3", "num_output: 4"))
    Path("broken" + net).write_text(
        NET.replace("InnerProduct", NAME).replace("num_output: 3", f'bias_filler {{ "{EVIL}')
    )
    Path("fields" + net).write_text(NET.replace("num_output: 3", f'{"x" * 3}: "{NAME}"'))
    Path("twice" + net).write_text(NET + NET.partition("\n")[2])
    param = proto.NetParameter(name=EVIL, layer=[{"name": EVIL, "type": "InnerProduct"}])
    chunks = weights.formats.caffemodel.caffemodel_chunks(param, {EVIL: [np.ones((3, 32), "f4"), np.zeros(3, "f4")]})
    Path(EVIL + ".caffemodel").write_bytes(b"".join(bytes(chunk) for chunk in chunks))
    return tmp_path


F, W = EVIL + ".prototxt", EVIL + ".caffemodel"
COMMANDS = [
    *(["check", name + F] for name in ("", "broken", "fields", "twice", "missing")),
    ["check", F, "--phase", EVIL],
    ["diff", F, "other" + F],
    ["draw", F, "-o", "-"],
    ["draw", F, "-o", EVIL + "/no.svg"],
    ["draw", F, "--format", "dot", "-o", "-"],
    ["emit", F],
    ["emit", F, "-o", EVIL + ".py"],
    ["emit", F, "-o", EVIL + "/no.py"],
    ["fmt", "--diff", F],
    ["fmt", "--check", F],
    ["upgrade", "broken" + F],
    ["weights", W],
    ["weights", W, "--layer", EVIL],
    ["weights", W, EVIL],
    ["weights", F],
    ["explain", EVIL],
    [EVIL],
    ["check", "--" + EVIL],
    ["check", F, "--shape", EVIL],
    ["check", F, "--plugin", EVIL],
    ["device_query", "--gpu", EVIL],
    ["convert-imageset", EVIL, EVIL, EVIL],
    ["image-mean", EVIL],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: clean(" ".join(words)))
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_no_control_character_is_printed(evil: Path, words: list[str], more: list[str], capfdbinary) -> None:
    """Of any command, result or error, text or JSON; into a pipe as well (but for the text of a file itself)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", os.fdopen(os.dup(1), "w"))
        patch.setattr(sys, "stderr", os.fdopen(os.dup(2), "w"))
        main([*words, *more])
        sys.stdout.close()
        sys.stderr.close()
    out, err = (text.decode() for text in capfdbinary.readouterr())
    assert out + err
    assert harmful(err) == set()
    if "fmt" not in words:
        assert harmful(out) == set()


def test_errors_and_places_are_clean_in_python_too() -> None:
    place = Place(EVIL, 1, 1, 1, EVIL)
    error = NetcError("S201", EVIL, place, EVIL, [(place, EVIL), (Place(EVIL, part=EVIL), EVIL)])
    assert harmful(str(error)) == set()
    assert harmful(str(Place(EVIL, part=EVIL))) == set()


def test_what_is_cleaned() -> None:
    assert clean("plain ünïcödé 漢字 \t\n") == "plain ünïcödé 漢字 \t\n"
    assert clean("\x1b[0m\x9b\u202e\u2028\udc80\r") == "\\x1b[0m\\x9b\\u202e\\u2028\\x80\\x0d"


def on_a_terminal(*words: str) -> str:
    """What a terminal gets of both streams."""
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "netc", *words], stdin=slave, stdout=slave, stderr=slave, env=env)
    os.close(slave)
    seen = b""
    try:
        while piece := os.read(master, 1 << 16):
            seen += piece
    except OSError:  # its end
        pass
    process.wait(60)
    os.close(master)
    return seen.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


@pytest.mark.parametrize("words", [["fmt", "--diff", F], ["check", F], ["fmt", "other" + F, "--diff"]])
def test_on_a_terminal(evil: Path, words: list[str]) -> None:
    assert harmful(on_a_terminal(*words)) == set()


def test_progress_lines_of_a_training_run_are_netcs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rich moves the cursor; what a net is called does not."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    net = Path("net.prototxt")
    net.write_text(net.read_text().replace('name: "tiny"', f'name: "{NAME}"').replace('"loss" }', f'"{NAME}" }}'))
    solver = Path("solver.prototxt")
    solver.write_text(solver.read_text().replace("plateau", "fixed").replace("fixed_param", "# "))
    seen = on_a_terminal("train", "solver.prototxt", "--iterations", "3")
    assert "Iteration 2" in seen
    own = re.sub(r"\x1b\[[\d;?]*[A-Zhlm]|\r", "", seen)  # rich's: colours, up a line, erase, hide and show the cursor
    assert "\x1b[2J" not in seen
    assert harmful(own) == set()


# -- closed streams ----------------------------------------------------------------------------------------------------


def shell(command: str, folder: Path) -> int:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = command.replace("netc ", f"'{sys.executable}' -m netc ")
    return subprocess.run(["bash", "-c", line], cwd=folder, env=env, timeout=120).returncode


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "streams",
    [
        "<&- >&- 2>&-",
        pytest.param("2>&-", marks=SLOW),
        pytest.param(">&-", marks=SLOW),
        pytest.param("<&-", marks=SLOW),
        pytest.param("2> /dev/full > /dev/full", marks=SLOW),
        pytest.param("2>&1 | true", marks=SLOW),
        pytest.param("2>&1 | head -n 3", marks=SLOW),
    ],
)
def test_training_goes_on_whatever_its_streams_are(tmp_path: Path, streams: str) -> None:
    """And no file of the run gets what was meant for them."""
    write_run(tmp_path)
    databases = {path: path.read_bytes() for path in tmp_path.glob("*_lmdb/data.mdb")}
    status = shell(f"set -o pipefail; netc train solver.prototxt {streams}", tmp_path)
    assert status == 0
    assert (tmp_path / "tiny_iter_12.caffemodel").exists()
    records = (tmp_path / "tiny.metrics.jsonl").read_text().splitlines()
    assert '"kind": "end"' in records[-1]
    assert '"reason": "done"' in records[-1]
    assert {path: path.read_bytes() for path in databases} == databases


def test_a_result_without_a_stdout_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text('layer { name: "a" type: "Input" top: "a" }')
    assert shell("netc check net.prototxt >&-", tmp_path) == 74
    assert shell("netc check net.prototxt 2>&- > /dev/null", tmp_path) == 0
    assert shell("netc check missing.prototxt 2>&-", tmp_path) == 66


# -- the working directory ---------------------------------------------------------------------------------------------


def test_python_m_netc_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    """A folder from the net, with files named like everything that netc and Python import."""
    (tmp_path / "net.prototxt").write_text('layer { name: "a" type: "Input" top: "a" }')
    for name in {*sys.stdlib_module_names, "click", "lark", "google", "rich", "numpy", "torch", "h5py", "lmdb", "PIL"}:
        (tmp_path / f"{name}.py").write_text("open('sprung', 'a').write(__name__)\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "netc", "check", "net.prototxt"], cwd=tmp_path, env=env)
    assert done.returncode == 0
    assert not (tmp_path / "sprung").exists(), (tmp_path / "sprung").read_text()
