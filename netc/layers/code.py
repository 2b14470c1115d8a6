"""What a layer becomes in the module that `netc emit` writes: expressions, as text. Nothing here needs torch.

    def emit(self, site: Site) -> Code:
        return Code(f"F.elu({site.x}, {number(self.options.alpha)})")

Where torch has no call with Caffe's meaning, the expression calls a function or class of netc.layers.functions, which
`forward` calls as well; its text is copied into the emitted file. A plug-in has them in its own file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_LARGEST = 3.4e38


@dataclass(frozen=True, slots=True)
class Site:
    """The names and sizes that a layer has in the emitted code."""

    bottoms: tuple[str, ...]
    """An expression for each bottom."""
    shapes: tuple[tuple[int, ...], ...]
    """The shape of each bottom."""
    tops: int
    """How many tops the layer has."""
    module: str = ""
    """The expression of the layer's own submodule ("self.conv1"), "" where it has no parameters."""

    @property
    def x(self) -> str:
        return self.bottoms[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of bottom 0."""
        return self.shapes[0]

    def call(self, *arguments: str) -> str:
        """A call of the layer's own submodule."""
        return f"{self.module}({', '.join(arguments or self.bottoms)})"


@dataclass(frozen=True, slots=True)
class Code:
    """What a layer becomes: an expression for each top (or, `together`, one that gives all of them), and how its
    submodule is made, where it has parameters. A top that is a bottom's own expression needs no statement."""

    tops: str | tuple[str, ...]
    module: str = ""
    together: bool = False
    starts: Mapping[str, float] = field(default_factory=dict)
    """Parameters of the submodule that are made as constants."""

    def expressions(self, count: int) -> tuple[str, ...]:
        """One expression for each of `count` tops; one for all of them where they come together."""
        tops = (self.tops,) if isinstance(self.tops, str) else self.tops
        assert len(tops) == (1 if self.together else count), (tops, count)
        return tops


def call(function: str, *arguments: object, **settings: object) -> str:
    """A call's expression. `arguments` are expressions, `settings` are values."""
    given = [f"{name}={literal(value)}" for name, value in settings.items()]
    return f"{function}({', '.join([*map(str, arguments), *given])})"


# -- literals ----------------------------------------------------------------------------------------------------------


def literal(value: object) -> str:
    """A setting's value as code: a number, text, a truth value, or a list or tuple of such."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return tuple_of([literal(item) for item in value]) if isinstance(value, tuple) else repr(value)


def quoted(text: str) -> str:
    """`text` as a string literal, in double quotes where that costs no escapes."""
    single = repr(text + '"')[1:-2]  # repr takes single quotes where both kinds are inside
    single = single if "'" in text else single.replace("\\'", "'")
    body = repr("'" + text + '"')[3:-2]
    plain = body.replace("\\'", "'").replace('"', '\\"')
    return f"'{single}'" if text.count('"') > text.count("'") else f'"{plain}"'


def number(value: float) -> str:
    """The shortest literal that is the same number in Caffe's float32."""
    if value != value or value in (float("inf"), float("-inf")):
        return f'float("{value}")'
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    if abs(value) > _LARGEST:  # a product of settings: netc computes it in double precision
        return repr(value)
    packed = struct.pack("f", value)
    (single,) = struct.unpack("f", packed)
    shortest = next(
        text for digits in range(1, 10) if struct.pack("f", float(text := f"{single:.{digits}g}")) == packed
    )
    return repr(float(shortest))


def tuple_of(items: Sequence[object]) -> str:
    """A tuple's literal."""
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(map(str, items))})"


def same_or_tuple(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number where all are equal, as torch takes them, else the tuple."""
    return sizes[0] if len(set(sizes)) == 1 else sizes
