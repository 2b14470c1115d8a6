"""safetensors: the arrays of a net under the keys of its state_dict, "<layer>.weight" and "<layer>.bias"."""

from __future__ import annotations

import json
from typing import Any

from netc.errors import NetcError, Place
from netc.weights.arrays import Weights

_POSITION = {"weight": 0, "bias": 1}


def read_safetensors(path: str, buffer: Any) -> Weights:
    """Layer name → arrays, ordered weight, bias; "<layer>.<i>" gives other blobs their place.
    Raises NetcError W702 (damaged), W706 (keys that no net of ours writes)."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, dict[int, Any]] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                layer, position = _split(path, key)
                found.setdefault(layer, {})[position] = file.get_tensor(key)
    except (SafetensorError, json.JSONDecodeError, TypeError) as error:
        raise NetcError("W702", f"the safetensors file is damaged: {error}", Place(path), "get it again") from None
    return Weights({layer: _in_order(path, layer, blobs) for layer, blobs in found.items()}, path)


def _split(path: str, key: str) -> tuple[str, int]:
    layer, _, blob = key.rpartition(".")
    if layer and blob in _POSITION:
        return layer, _POSITION[blob]
    if layer and blob.isdecimal() and len(blob) < 4:
        return layer, int(blob)
    raise NetcError(
        "W706",
        f'the key "{key}" does not say which blob of which layer it is',
        Place(path),
        "expected <layer>.weight, <layer>.bias or <layer>.<number of the blob>",
    )


def _in_order(path: str, layer: str, blobs: dict[int, Any]) -> list[Any]:
    if sorted(blobs) != list(range(len(blobs))):
        raise NetcError("W706", f'layer "{layer}" has blobs {sorted(blobs)}; some are missing', Place(path))
    return [blobs[index] for index in range(len(blobs))]
