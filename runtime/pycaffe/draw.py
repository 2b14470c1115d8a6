"""caffe.draw: pictures of nets, drawn by netc. No Graphviz and no pydot is needed.

The names are pycaffe's. `rankdir` is Graphviz's word for the direction; it counts for DOT, netc's own pictures run from
top to bottom.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from netc import proto
from netc.errors import NetcError, Place
from netc.files.durable import write_whole
from netc.graph.filter import Layers, filter_net, state_of
from netc.graph.read import draft_net
from netc.look.draw import ENDINGS, FORMATS, Picture, picture
from netc.look.draw.png import png
from netc.look.draw.svg import COLOURS
from netc.look.draw.words import kind_of, settings_of
from netc.prototxt.draft import Draft, message_origins

RANKDIRS = ("LR", "TB", "BT", "RL")
PIXELS = {"jpg": "JPEG", "jpeg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "tiff": "TIFF", "pdf": "PDF"}
"""Format of Graphviz's → what Pillow, which writes the drawing's pixels in it, calls it."""


class Graph:
    """A drawn net: what pycaffe has of pydot's graph."""

    def __init__(self, drawn: Picture, rankdir: str = "LR") -> None:
        self.picture, self.rankdir = drawn, rankdir

    def create(self, prog: Any = None, format: str = "png") -> bytes:
        """The picture: one of netc's formats, or of `PIXELS`. Raises NetcError C222 for another format."""
        if format == "png":
            return png(self.picture)
        if format in PIXELS:
            return _saved(png(self.picture), PIXELS[format])
        kind = "dot" if format in ("raw", "gv") else format
        if kind not in FORMATS:
            known = ", ".join(["png", *PIXELS, *FORMATS])
            raise NetcError("C222", f'netc draws no "{format}"', None, f"formats: {known}")
        text = FORMATS[kind](self.picture, "")
        return self._turned(text).encode() if kind == "dot" else text.encode()

    def to_string(self) -> str:
        """The graph in DOT."""
        return self.create(format="dot").decode()

    def write(self, path: Any, prog: Any = None, format: str = "png") -> bool:
        """Write a file. Raises NetcError C222, O165."""
        write_whole(path, [self.create(format=format)])
        return True

    def __getattr__(self, name: str) -> Any:
        """pydot's `create_png()`, `write_svg(path)` and their like."""
        does, _, kind = name.partition("_")
        if does not in ("create", "write") or kind not in {"png", "raw", "gv", *PIXELS, *FORMATS}:
            raise AttributeError(f"a drawn net has no {name}")
        return partial(getattr(self, does), format=kind)

    def _turned(self, dot: str) -> str:
        return dot.replace("{\n", f"{{\n  rankdir={self.rankdir};\n", 1)


def _saved(pixels: bytes, kind: str) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(pixels)).convert("RGB").save(out, kind, quality=92)
    return out.getvalue()


def get_pydot_graph(
    caffe_net: Any, rankdir: str = "LR", label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> Graph:
    """The picture of a NetParameter: of all its layers, or of those of a phase (caffe.TRAIN, caffe.TEST).

    `label_edges` and `display_lrm` change nothing: there are no shapes in a NetParameter, and no room for rates.
    """
    if rankdir not in RANKDIRS:
        raise NetcError("C222", f'rankdir is "{rankdir}"', None, f"one of {', '.join(RANKDIRS)}")
    draft = _draft(caffe_net)
    state = state_of(draft, phase or 0, 0, ())
    layers = Layers(draft, state, list(draft.param.layer), list(draft.origins))
    return Graph(picture(layers if phase is None else filter_net(draft, state), None, ""), rankdir)


def _draft(caffe_net: Any) -> Draft:
    """The net in the current format. One that Caffe would not build is drawn as it stands."""
    try:
        return draft_net(caffe_net)
    except NetcError:
        given = proto.NetParameter()
        given.CopyFrom(proto.renewed(caffe_net))
        return Draft(given, message_origins(given.layer, "<NetParameter>"))


def draw_net(
    caffe_net: Any, rankdir: str = "LR", ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """The picture of a NetParameter as the bytes of a file."""
    return get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).create(format=ext)


def draw_net_to_file(
    caffe_net: Any, filename: Any, rankdir: str = "LR", phase: int | None = None, display_lrm: bool = False
) -> None:
    """Write the picture of a NetParameter; the ending of the name is the format."""
    ending = os.path.splitext(filename)[1].lower()
    if not ending:
        raise NetcError("C222", "the name has no ending, which is the format", Place(str(filename)), "say net.png")
    ext = ENDINGS.get(ending, ending[1:])
    write_whole(filename, [draw_net(caffe_net, rankdir, ext, phase, display_lrm)])


def get_pooling_types_dict() -> dict[int, str]:
    """The number of each way of pooling → its name."""
    return {value.number: value.name for value in proto.PoolingParameter.PoolMethod.DESCRIPTOR.values}


def get_edge_label(layer: Any) -> str:
    """The settings of a LayerParameter that matter most."""
    return settings_of(layer)


def get_layer_label(layer: Any, rankdir: str = "LR", display_lrm: bool = False) -> str:
    """What stands in the box of a LayerParameter."""
    return f"{layer.name}\n({layer.type})\n{settings_of(layer)}".rstrip()


def get_layer_lr_mult(layer: Any) -> list[float]:
    """The lr_mult of each parameter that a LayerParameter says it of."""
    return [spec.lr_mult for spec in layer.param]


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a type's box."""
    return COLOURS[kind_of(layertype)][0]
