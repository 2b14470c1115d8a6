"""Text that is Python whatever it was made of."""

from __future__ import annotations

import ast
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.layers.code import number, quoted
from netc.look.emit.text import class_name, docstring, identifier, is_attribute, laid_out, shown


@given(st.text(st.characters(), max_size=20) | st.text("ab'\"\\\n{}\u2028\udc80", max_size=9))
def test_any_text_is_a_literal_a_comment_and_a_name(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert len(f"# {shown(text)}\n".splitlines()) == 1
    assert shown(text).isprintable()
    assert ast.literal_eval(f'"""{docstring(shown(text))} """') is not None
    assert is_attribute(identifier(text))
    assert is_attribute(class_name(text))


@given(st.floats(width=32))
def test_a_number_is_the_same_in_float32(value: float) -> None:
    found = eval(number(value))
    assert struct.pack("f", found) == struct.pack("f", value) or (value != value and found != found) or value == found


@pytest.mark.parametrize(
    "name, expected",
    [("vgg_E", "VggE"), ("ResNet-50", "ResNet50"), ("", "Net"), ("3d", "Net3d"), ("none", "Net")],
)
def test_class_names(name: str, expected: str) -> None:
    assert class_name(name) == expected


@pytest.mark.parametrize(
    "name, attribute", [("conv1", True), ("class", False), ("__x", False), ("a/b", False), ("ﬁ", False), ("1x1", False)]
)
def test_attributes_are_found_under_their_very_names(name: str, attribute: bool) -> None:
    assert is_attribute(name) == attribute


STATEMENTS = [
    "x = F.relu(self.conv1(x))",
    f"x = torch.cat(({', '.join(f'inception_{i}_output' for i in range(4))}), dim=1)",
    f"x = torch.cat(({', '.join(f'inception_{i}_output' for i in range(9))}), dim=1)",
    "return {" + ", ".join(f'"prob_{i}": prob_{i}' for i in range(9)) + "}",
    "return " + " + ".join(f'0.3 * outputs["loss_number_{i}"]' for i in range(9)),
    "first_" + "a" * 60 + ", second = torch.tensor_split(" + "b" * 60 + ", (2, 5), dim=1)",
    f"x = self[{quoted('a' * 60)}](F.pad({'c' * 40}, (0, 1, 0, 1)))",
    f"{'a' * 100} = {'b' * 30}",
    f"first = function_of_several({'a' * 50}, {'b' * 50})[0]",
    f"first, second = function_of_several({'a' * 60}, {'b' * 60}, third[:, None])[:2]",
]


def test_lines_fit_and_formatters_keep_them(tmp_path: Path) -> None:
    lines = ["def f():"]
    for statement in STATEMENTS:
        for comment in ("", "(1, 2, 3); line 4"):
            lines += laid_out(statement, 1, comment)
    assert all(len(line) <= 120 or line.endswith("# noqa: E501") for line in lines)
    file = tmp_path / "lines.py"
    file.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "--diff", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
