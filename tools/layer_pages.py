"""Write docs/layers.md, the reference of every layer type, from the classes' docstrings and the schema's comments.

python -m tools.layer_pages
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netc import proto
from netc.layers import Layer, registry

PAGES = Path(__file__).resolve().parent.parent / "docs" / "layers.md"
HEAD = """# Layer types

Written by `tools/layer_pages.py` from the docstrings in `netc/layers/` and the comments of `proto/caffe.proto`. What
all types share (name, bottom, top, param, loss_weight, include …) is in [prototxt.md](prototxt.md); where Caffe and
torch differ, in [numerics.md](numerics.md).
"""


def main() -> None:
    PAGES.write_text(text(), encoding="utf-8")
    print(f"{PAGES}: {len(registry())} types")


def text() -> str:
    types = sorted(registry().items())
    index = ", ".join(f"[{name}](#{name.lower()})" for name, _ in types)
    return "\n".join([HEAD, index, *(line for name, cls in types for line in page(name, cls))])


def page(name: str, cls: type[Layer]) -> Iterator[str]:
    yield f"\n## {name}\n"
    yield inspect.cleandoc(cls.__doc__ or "").replace("*", "\\*")
    yield f"\n{facts(cls)}"
    if cls.param_field:
        message = type(getattr(proto.LayerParameter(), cls.param_field)).DESCRIPTOR
        yield f"\n| `{cls.param_field}` | type | default | |\n|---|---|---|---|"
        yield from (row(field) for field in message.fields)


def facts(cls: type[Layer]) -> str:
    tops = f"Tops: {cls.tops}" + (", as many as bottoms" if cls.same_count else "")
    parts = [f"Bottoms: {cls.bottoms}.", f"{tops}."]
    if cls.is_loss:
        parts.append("A loss: loss_weight is 1 by default, the top may be left out.")
    if cls.no_gradient is None:
        parts.append("No gradient.")
    if cls.fork:
        parts.append(f"Of {cls.fork}, not of BVLC Caffe.")
    return " ".join(parts)


def row(field: Any) -> str:
    kind = field.message_type or field.enum_type
    types = {1: "double", 2: "float", 3: "int", 4: "int", 5: "int", 8: "bool", 9: "string", 12: "bytes", 13: "int"}
    shown = kind.name if kind else types[field.type]
    default = "" if field.is_repeated or field.message_type or not field.has_default_value else _default(field)
    comment = proto.comment(f"{field.containing_type.name}.{field.name}").replace("|", "\\|")
    return f"| `{field.name}` | {shown}{' …' if field.is_repeated else ''} | {default} | {comment} |"


def _default(field: Any) -> str:
    value = field.default_value
    if field.enum_type:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
