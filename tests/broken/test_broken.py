"""Broken nets and solvers beside the exact message netc answers with: NAME.prototxt → NAME.txt.

    nets/      faults that compiling a net finds       runs/     nets whose data is at fault, found by training
    solvers/   faults of the solver itself             weights/  nets given the weights their first line names

A newcomer must learn from the message alone where the fault is, what it is and how to mend it. After a deliberate
change of wording, `NETC_UPDATE=1 python -m pytest tests/broken` writes the messages anew; read the difference.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import netc
from netc.graph.read import locate_solver
from netc.solver.settings import check

HERE = Path(__file__).parent


def train(net: Path) -> None:
    netc.load_solver(f'net: "{net}" base_lr: 0.01 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "s"').step(2)


def load(net: Path) -> None:
    first = net.read_text().partition("\n")[0]
    netc.load_net(net, weights=first.removeprefix("# weights: "))


READERS = {
    "nets": netc.compile_net,
    "solvers": lambda path: check(*locate_solver(path)),
    "runs": train,
    "weights": load,
}
CASES = [path.relative_to(HERE) for folder in READERS for path in sorted((HERE / folder).glob("*.prototxt"))]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_message(case: Path, materials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(HERE / case, materials / case.name)
    monkeypatch.chdir(materials)  # so that the message names the bare file
    with pytest.raises(netc.NetcError) as caught:
        READERS[case.parent.name](Path(case.name))
    found = str(caught.value).replace(str(materials), "…") + "\n"
    expected = (HERE / case).with_suffix(".txt")
    if os.environ.get("NETC_UPDATE"):
        expected.write_text(found)
    assert found == expected.read_text()


def test_every_message_has_its_input() -> None:
    texts = {path.relative_to(HERE).with_suffix(".prototxt") for path in HERE.glob("*/*.txt")}
    assert texts <= set(CASES)
