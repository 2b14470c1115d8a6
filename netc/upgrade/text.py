"""An old-format file written anew in the current format, with the comments where the things they are about went.

The result is built from the upgraded message. A field that stands unchanged in the old file is taken from its page as
it is; one that moved or changed is written anew and takes its comments along; comments on what is gone go to what
follows.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from netc import proto
from netc.errors import NetcError, Place
from netc.errors.remark import Advice
from netc.prototxt.ast import Message
from netc.prototxt.bind import bind
from netc.prototxt.draft import Draft, locate, origins_of
from netc.prototxt.layout import layout
from netc.prototxt.parse import parse
from netc.prototxt.source import Source
from netc.prototxt.tidy import tidy
from netc.upgrade import upgrade_net, upgrade_solver
from netc.upgrade.page import Find, Writer

NETS = ("net_param", "train_net_param", "test_net_param")
"""Fields of a solver that hold nets."""


class Upgraded(NamedTuple):
    """A file in the current format. `text`: None where it is in that format already; `remarks`: what was dropped, as
    Caffe drops it."""

    text: str | None
    remarks: list[Advice]


def upgraded_net(draft: Draft) -> Upgraded:
    """The text of a net in the current format, read from a text. Raises NetcError O150 where the result would not be
    read to the same net, which is a fault of netc."""
    assert draft.source is not None
    text = None if draft.param == draft.original else _written(draft.source, draft.param, _finder(draft))
    return Upgraded(text, draft.remarks)


def upgraded_solver(source: Source, tree: Message) -> Upgraded:
    """The same of a solver, and of the nets in it. Raises NetcError as reading them."""
    given = bind(tree, proto.SolverParameter, source)
    param = upgrade_solver(given, lambda path: locate(source, tree, path) or Place(source.path))
    drafts = _upgrade_inner_nets(param, source, tree)
    finders = {name: _finder(draft) for name, draft in drafts.items()}

    def find(path: str) -> Place | None:
        head, _, rest = path.partition(".")
        if rest and head in finders:
            return finders[head](rest)
        return locate(source, tree, path) or (locate(source, tree, "solver_type") if path == "type" else None)

    text = None if param == given else _written(source, param, find)
    return Upgraded(text, [remark for draft in drafts.values() for remark in draft.remarks])


def _written(source: Source, message: Any, find: Find) -> str:
    """The text of the upgraded message, proved to say what the message says and to have every comment."""
    writer = Writer(source)
    text = tidy(writer.page(message, find))
    again = Source(text, source.path)
    found = bind(parse(again), type(message), again)
    same = found.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
    if not same or Counter(layout(again).comments()) != Counter(layout(source).comments()):
        what = "lose comments" if same else "say something else"
        hint = "the file is untouched; please report it, with the file"
        raise NetcError("O150", f"the upgraded text would {what}: a fault of netc", Place(source.path), hint)
    return text


def _upgrade_inner_nets(param: Any, source: Source, tree: Message) -> dict[str, Draft]:
    drafts = {}
    for name in NETS:
        trees = [value for item in tree.named(name) for value in item.values() if isinstance(value, Message)]
        nets = getattr(param, name)
        repeated = name == "test_net_param"
        for index, inner in enumerate(trees):
            net = nets[index] if repeated else nets
            draft = upgrade_net(Draft(net, origins_of(source, inner), source, inner))
            net.CopyFrom(draft.param)
            drafts[f"{name}[{index}]" if repeated else name] = draft
    return drafts


_LAYER = re.compile(r"layer\[(\d+)\](?:\.(.+))?")


def _finder(draft: Draft) -> Find:
    def find(path: str) -> Place | None:
        if (match := _LAYER.fullmatch(path)) is None:
            return draft.find(path)
        origin = draft.origins[int(match[1])]
        return origin.locate(match[2]) if match[2] else origin.start

    return find
