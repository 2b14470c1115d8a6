"""What a layer type becomes in the emitted module: one small function a type, which writes text and imports no torch.

    @emits("AbsVal")
    def absval(site: Site) -> Code:
        return Code(f"{site.x}.abs()")

The files of `types/` hold them; each registers itself. Where torch has no call with Caffe's meaning, the expression
calls a function or class of `helpers/`, which is then copied into the emitted file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from netc.graph.ir import Node
from netc.layers.base import Layer, Shape
from netc.layers.code import Code as Code
from netc.layers.code import Site as NewSite


@dataclass(frozen=True, slots=True)
class Site:
    """A layer, and the names that it has in the emitted code."""

    node: Node
    bottoms: tuple[str, ...]
    """An expression for each bottom."""
    module: str = ""
    """The expression of the layer's own submodule ("self.conv1"), "" where it has no parameters."""

    @property
    def x(self) -> str:
        return self.bottoms[0]

    @property
    def layer(self) -> Any:
        """The layer, set up for the shapes of this net."""
        return self.node.layer

    @property
    def options(self) -> Any:
        return self.node.layer.options

    @property
    def shape(self) -> Shape:
        """The shape of bottom 0."""
        return self.node.bottom_shapes[0]

    def has_param(self, name: str) -> bool:
        return any(ref.blob.name == name for ref in self.node.params)

    def call(self, *arguments: str) -> str:
        """A call of the layer's own submodule."""
        return f"{self.module}({', '.join(arguments or self.bottoms)})"

    def fail(self, message: str, field: str = "", hint: str | None = None) -> NoReturn:
        """Raise NetcError L390 at a field of the layer."""
        layer: Layer = self.layer
        layer.fail(f"cannot be written as a module of its own: {message}", field, hint, "L390")


Emitter = Callable[[Site], Code]

WITHOUT = {
    "HDF5Output": "it writes a file",
    "Python": "it runs a Python module of your own",
}
"""Types that no emitted module can have, and why."""

EMITTERS: dict[str, Emitter] = {}
INLINE: set[str] = set()
"""Types whose expression takes the bottom once, as an argument, so that the bottom may be a call itself."""
JOINTS: set[str] = set()
"""Types after which a reader wants a blank line: a block of the net ends here."""


def emits(*types: str, inline: bool = False, joint: bool = False) -> Callable[[Emitter], Emitter]:
    """Register the function that writes layers of these types."""

    def register(emitter: Emitter) -> Emitter:
        for name in types:
            if name in EMITTERS:
                raise ValueError(f"two emitters for {name}")
            EMITTERS[name] = emitter
            INLINE.update([name] if inline else [])
            JOINTS.update([name] if joint else [])
        return emitter

    return register


@cache
def emitters() -> dict[str, Emitter]:
    """Type name → its emitter, from every file of `types/`."""
    from netc.look.emit import types

    for module in pkgutil.iter_modules(types.__path__):
        importlib.import_module(f"{types.__name__}.{module.name}")
    return EMITTERS


def is_inline(node: Node) -> bool:
    return node.type in INLINE or node.layer.inline


def ends_block(node: Node) -> bool:
    return node.type in JOINTS or node.layer.ends_block


def code_of(node: Node, bottoms: tuple[str, ...], module: str = "") -> Code:
    """What a node becomes, given an expression for each bottom. Raises NetcError L390, L391."""
    cls = type(node.layer)
    if cls.emit is Layer.emit and node.type in emitters():
        return emitters()[node.type](Site(node, bottoms, module))
    if node.type in WITHOUT:
        cls.no_code = WITHOUT[node.type]
    return node.layer.emit(NewSite(bottoms, node.bottom_shapes, len(node.tops), module))
