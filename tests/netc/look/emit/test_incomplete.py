"""A plug-in's function that is not complete by itself is refused, and says what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.errors import NetcError
from netc.look.emit.functions import needed, table

FILE = """
from math import ceil as c
import numpy as np
from netc.layers.functions import scales
K = 2
short = lambda x: x

def constant(x): return x * K
def default(x, k=K): return x * k
def imported(x): return x * c(1.5)
def module(x): return x + np.pi
def style(x): return scales.spread(x, 2)
def anonymous(x): return short(x)

def whole(x, n: int = 3):
    import numpy as np
    def inner(y): return y.sum()
    try:
        return torch.stack([inner(x) * i for i in range(n)]) * float(np.pi) + F.relu(x) + math.pi
    except ValueError as error:
        raise TypeError(error)
"""


@pytest.mark.parametrize(
    "name, lacks",
    [
        ("constant", "K"),
        ("default", "K"),
        ("imported", "c"),
        ("module", "np"),
        ("style", "scales"),
        ("anonymous", "short"),
    ],
)
def test_what_a_function_lacks_is_named(tmp_path: Path, name: str, lacks: str) -> None:
    file = tmp_path / "layers.py"
    file.write_text(FILE)
    with pytest.raises(NetcError) as caught:
        needed(f"y = {name}(x)", table(frozenset({str(file)})))
    assert (caught.value.code, caught.value.path) == ("L393", str(file))
    assert f"def {name}" in FILE.splitlines()[caught.value.line - 1]
    assert f"it reads {lacks}" in caught.value.message


def test_a_whole_function_is_copied(tmp_path: Path) -> None:
    file = tmp_path / "layers.py"
    file.write_text(FILE)
    assert [function.name for function in needed("y = whole(x)", table(frozenset({str(file)})))] == ["whole"]
