"""Broken nets and solvers beside the exact message netc answers with: NAME.prototxt → NAME.txt.

A newcomer must learn from the message alone where the fault is, what it is and how to mend it. After a deliberate
change of wording, `NETC_UPDATE=1 python -m pytest tests/broken` writes the messages anew; read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import netc
from netc.compile import locate_solver
from netc.runtime.solver.settings import check

HERE = Path(__file__).parent
READERS = {"nets": netc.compile_net, "solvers": lambda path: check(*locate_solver(path))}
CASES = [path.relative_to(HERE) for folder in READERS for path in sorted((HERE / folder).glob("*.prototxt"))]


def message(case: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(HERE / case.parent)  # so that the message names the bare file
    with pytest.raises(netc.NetcError) as caught:
        READERS[case.parent.name](Path(case.name))
    return str(caught.value) + "\n"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_message(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = (HERE / case).with_suffix(".txt")
    found = message(case, monkeypatch)
    if os.environ.get("NETC_UPDATE"):
        expected.write_text(found)
    assert found == expected.read_text()


def test_every_message_has_its_input() -> None:
    texts = {path.relative_to(HERE).with_suffix(".prototxt") for path in HERE.glob("*/*.txt")}
    assert texts <= set(CASES)
