"""The page of an upgraded message, made out of the page of the old file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netc.errors import NetcError, Place
from netc.prototxt.bind import bind
from netc.prototxt.format import scalar_text
from netc.prototxt.layout import Node, comment_in, layout
from netc.prototxt.parse import parse
from netc.prototxt.source import Source
from netc.prototxt.tidy import tidy

Find = Callable[[str], Place | None]
"""The place in the old file of a dotted path of the upgraded message."""

SHORT = ("param", "layer", "shape", "input_param")
"""Blocks that the old file did not have and that fit on a line."""

FIRST = ("name", "type", "bottom", "top")
"""What a layer begins with, by custom; the rest keeps the order of the old file."""


class Writer:
    """One old file, and what has been taken from its page so far."""

    def __init__(self, source: Source) -> None:
        self.source, self.old = source, layout(source)
        nodes = list(self.old.walk())[1:]
        self.at = {node.value_at: node for node in nodes} | {node.offset: node for node in nodes}
        self.list_of = {id(item): node for node in nodes if node.kind == "list" for item in node.items}
        self.made: dict[int, Node] = {}
        """id of an old node → the node its comments went to: itself where it was taken whole."""

        self.short: list[Node] = []
        """New blocks to be written on one line."""

        self.tight = False
        """Whether the layer at hand stands on one line in the old file."""

    def page(self, message: Any, find: Find) -> Node:
        root = Node("", items=[node for _, node in self.fields(message, "", find)])
        rest = self._left_over(self.old, [])
        root.below = [*rest, *self.old.below]
        for node in self.short:
            _hoist(node)
        return root

    def fields(self, message: Any, prefix: str, find: Find) -> list[tuple[int, Node]]:
        """The nodes of all fields that are set, with their places in the old text (-1: none), in the old order."""
        found: list[tuple[int, Node]] = []
        for field, value in message.ListFields():
            last = -1
            for index in range(len(value) if field.is_repeated else 1):
                path = f"{prefix}{field.name}[{index}]" if field.is_repeated else f"{prefix}{field.name}"
                offset, node = self.node(message, field, index, path, find)
                if not any(node is one for _, one in found[-1:]):  # values of a list come as one node
                    last = max(offset if offset >= 0 else last if index else found[-1][0] if found else -1, last)
                    found.append((last, node))
        return sorted(found, key=lambda pair: pair[0])

    def node(self, message: Any, field: Any, index: int, path: str, find: Find) -> tuple[int, Node]:
        value = getattr(message, field.name)[index] if field.is_repeated else getattr(message, field.name)
        old = self._old_node(find(path))
        whole = self._unchanged(old, message, field, index) if old else None
        if whole is not None:
            return whole.offset, whole
        if field.message_type is None:
            return self._scalar(old, message, field, value)
        return self._block(old, field, value, path, find)

    def _old_node(self, place: Place | None) -> Node | None:
        if place is None or not place.line:
            return None
        return self.at.get(self.source.offset(place))

    def _unchanged(self, old: Node, message: Any, field: Any, index: int) -> Node | None:
        """The old node, or the list it is in, where it says just this; None otherwise, or if it is taken already."""
        node = old if old.kind == "list" else self.list_of.get(id(old), old)
        if node.kind == "list" and index and self.made.get(id(node)) is node:
            return node
        if node.name != field.name or id(node) in self.made or not self._says(node, message, field, index):
            return None
        self.made.update((id(one), one) for one in node.walk())
        return node

    def _says(self, node: Node, message: Any, field: Any, index: int) -> bool:
        """Whether a node, read as a field of this message, gives its value (a list: its next values)."""
        source = Source(tidy(Node("", items=[node])))
        try:
            found = getattr(bind(parse(source), type(message), source), field.name)
        except NetcError:
            return False
        wanted = getattr(message, field.name)
        if not field.is_repeated:
            return bool(found == wanted)
        return bool(list(found) == list(wanted[index : index + len(found)]))

    def _scalar(self, old: Node | None, message: Any, field: Any, value: Any) -> tuple[int, Node]:
        node = Node(field.name, kind="scalar", value=[scalar_text(field, value)])
        if old is None:
            return -1, node
        if old.kind == "scalar":
            single = type(message)()
            getattr(single, field.name).append(value) if field.is_repeated else setattr(single, field.name, value)
            written = Node(field.name, kind="scalar", value=old.value)
            node = written if self._says(written, single, field, 0) else node
        self._take_comments(old, node)
        return old.offset, node

    def _block(self, old: Node | None, field: Any, value: Any, path: str, find: Find) -> tuple[int, Node]:
        block = old if old is not None and old.kind == "block" and id(old) not in self.made else None
        if block is not None and block.name.startswith("layer"):
            self.tight = block.one_line
        if block is None:
            node = Node(field.name, one_line=self.tight or field.name in SHORT)
        else:
            node = Node(field.name, one_line=block.one_line)
            self._take_comments(block, node)
        pairs = self.fields(value, f"{path}.", find)
        node.items = [item for _, item in pairs]
        if block is None:
            self.short += [node] if node.one_line else []
            return min((offset for offset, _ in pairs if offset >= 0), default=-1), node
        if block.name == "layers":
            node.items.sort(key=lambda item: FIRST.index(item.name) if item.name in FIRST else len(FIRST))
        return block.offset, node

    # -- comments ------------------------------------------------------------------------------------------------------

    def _take_comments(self, old: Node, node: Node) -> None:
        if id(old) not in self.made:
            self.made[id(old)] = node
            node.above, node.opening, node.below, node.beside = (
                list(old.above),
                old.opening,
                list(old.below),
                old.beside,
            )
            if node.value != old.value:
                node.above += filter(None, map(comment_in, old.value))

    def _left_over(self, old: Node, pending: list[str]) -> list[str]:
        """Give the comments of what is gone to what follows; those that are left at the end are returned."""
        node = self.made.get(id(old))
        if node is not None:
            node.above = [*pending, *node.above] if any(pending) else node.above
            pending = []
        if node is old:
            return []
        gone = node is None and old is not self.old
        pending = [*pending, *old.above, *filter(None, [old.opening])] if gone else pending
        for item in old.items:
            pending = self._left_over(item, pending)
        return [*pending, *old.below, *filter(None, [old.beside])] if gone else pending


def _hoist(block: Node) -> None:
    """Comments inside a block that is to stand on one line move above it, or beside it."""
    for node in list(block.walk())[1:]:
        beside = [node.beside] if node.beside else []
        if beside and not block.beside:
            block.beside, beside = node.beside, []
        opening = [node.opening] if node.opening else []
        block.above += [*node.above, *opening, *node.below, *beside]
        node.above, node.below, node.opening, node.beside = [], [], "", ""
