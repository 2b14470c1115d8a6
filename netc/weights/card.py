"""The card of a converted file: which net the weights belong to, and what its input looks like."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.weights.files import WeightSource, open_source
from netc.weights.reader import read_text

CARD = "netc"
"""The key of the card in a file's metadata."""


@dataclass(slots=True)
class Preprocessing:
    """How an image becomes the net's input: y = (x - mean) · scale / std for each channel, x from 0 to `range`.

    Attributes:
        channels: their order, "BGR" or "RGB"; "" where the input has not three channels.
        mean: one value a channel, in that order and in units of x; None where it is not known.
        mean_file: the mean image that the net names, where its values are not known.
        scale: Caffe's factor. std: one value a channel. crop: side of the input in pixels, None where not known.
    """

    channels: str = "BGR"
    range: float = 255.0
    mean: list[float] | None = None
    mean_file: str | None = None
    scale: float = 1.0
    std: list[float] | None = None
    crop: int | None = None

    def __str__(self) -> str:
        mean = f"mean {_listed(self.mean)}" if self.mean else f"mean image {self.mean_file}" if self.mean_file else ""
        parts = [
            f"{self.channels or 'channels as they are'} from 0 to {self.range:g}",
            mean or "mean not known",
            f"std {_listed(self.std)}" if self.std else "",
            f"scale {self.scale:g}" if self.scale != 1 else "",
            f"crop {self.crop}" if self.crop else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(slots=True)
class Card:
    """What a converted file says of itself.

    Attributes:
        net: the net's name. prototxt: its definition in the current format, "" where it is not known.
        preprocessing: of its input. classes: names in the order of the scores.
        source: name of the file that was converted. sha256: of its bytes.
        netc: the version that converted it. layers: Caffe's layer name → the keys of its blobs, in Caffe's order.
        notes: what else there is to know.
    """

    net: str = ""
    prototxt: str = ""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: list[str] = field(default_factory=list)
    source: str = ""
    sha256: str = ""
    netc: str = ""
    layers: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str, path: str) -> Card:
        """Raises NetcError W761 where the text is not a card."""
        try:
            data = checked_json.parse(text)
            checked_json.check(data, _CARD)
            shown = Preprocessing(**_known(data.pop("preprocessing", {}), Preprocessing))
            card = Card(**_known(data, Card), preprocessing=shown)
        except ValueError as error:
            message = f"the card in this file cannot be read: {error}"
            raise NetcError("W761", message, Place(path), "convert the original file again") from None
        return card


_PREPROCESSING = checked_json.Record(
    {},
    {
        "channels": str,
        "range": float,
        "mean": (None, [float]),
        "mean_file": (None, str),
        "scale": float,
        "std": (None, [float]),
        "crop": (None, int),
    },
)
_CARD = checked_json.Record(
    {},
    {
        **dict.fromkeys(("net", "prototxt", "source", "sha256", "netc"), str),
        "classes": [str],
        "notes": [str],
        "preprocessing": _PREPROCESSING,
        "layers": {str: [str]},
    },
)
"""What is read is formatted and computed with later."""


def read_card(source: WeightSource) -> Card | None:
    """The card of a .safetensors, .npz or .caffemodel.h5 that netc converted; None where the file has none.

    Raises NetcError F110, X110 (no such file, unreadable), W702 (damaged), W707, W761 (a card that is none).
    """
    name, buffer = open_source(source)
    text = read_text(buffer, CARD)
    return None if text is None else Card.from_json(text, name)


def _known(data: Any, kind: type[Any]) -> dict[str, Any]:
    """The fields that this version knows; a later one may write more."""
    names = {entry.name for entry in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def _listed(values: list[float] | None) -> str:
    return ", ".join(f"{value:.6g}" for value in values or ())
