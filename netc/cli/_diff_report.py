"""What `netc diff` found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netc.errors import Place, counted, printable
from netc.layers.base import Shape, format_shape
from netc.look.diff.compare import Effect, FieldChange, LayerChange, NetDiff
from netc.look.diff.files import Comparison

SIGNS = {"added": "+", "removed": "-", "renamed": "~", "changed": "~"}
MOST_EFFECTS = 8

# -- text --------------------------------------------------------------------------------------------------------------


def lines(found: Comparison) -> Iterator[str]:
    """The verdict, then what differs: layers by sign (+ added, - removed, ~ changed), settings with both places."""
    yield printable(f"{found.paths[0]} and {found.paths[1]} {_verdict(found)}")
    yield from (f"  note: {printable(note)}" for note in found.notes)
    for change in found.fields:
        yield f"  {_field(change)}"
    said: dict[str, str] = {}
    named: set[tuple[str, str]] = set()
    for net in found.nets:
        text = "\n".join(_net(net))
        if net.paths != found.paths and net.paths not in named:
            named.add(net.paths)
            yield printable(f"{net.paths[0]} and {net.paths[1]}:")
        if text in said.values():
            same = next(phase for phase, other in said.items() if other == text)
            yield f"{net.phase}: as {same}"
        elif text or len(found.nets) > 1:
            yield f"{net.phase}:" if text else f"{net.phase}: the same"
            yield from text.split("\n") if text else ()
        said.setdefault(net.phase, text)


def _verdict(found: Comparison) -> str:
    if found.same:
        return "mean the same"
    settings = len(found.fields)
    layers = max((len(net.changes) for net in found.nets), default=0)
    parts = [counted(settings, "setting")] if settings else []
    parts += [counted(layers, "layer")] if layers else []
    return f"differ in {' and '.join(parts) or 'settings of the net'}"


def _net(net: NetDiff) -> Iterator[str]:
    for change in net.net_fields:
        yield f"  {_field(change)}"
    for layer in net.changes:
        yield from _layer(layer)
    if net.effects:
        yield "  as a consequence:"
        yield from (f"    {_effect(effect)}" for effect in net.effects[:MOST_EFFECTS])
        if len(net.effects) > MOST_EFFECTS:
            yield f"    … and {len(net.effects) - MOST_EFFECTS} layers more"
    yield from _weights(net)


def _layer(layer: LayerChange) -> Iterator[str]:
    place = _places(layer.old_place, layer.new_place)
    name = layer.name if layer.kind != "renamed" else f"{layer.name} → {layer.new_name}"
    yield f"  {SIGNS[layer.kind]} {printable(name)} ({printable(layer.type)})  {place}".rstrip()
    for change in layer.fields:
        yield f"      {_field(change)}"


def _field(change: FieldChange) -> str:
    places = _places(change.old_place, change.new_place)
    return f"{change.field}: {_value(change.old)} → {_value(change.new)}  {places}".rstrip()


def _value(value: Any) -> str:
    if value is None:
        return "(not set)"
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return printable(value or '""') if isinstance(value, str) else str(value)


def _places(old: Place | None, new: Place | None) -> str:
    """ "line 12 → 15"; the files are named above."""
    numbers = [str(place.line) for place in (old, new) if place is not None and place.line]
    return f"(line {' → '.join(dict.fromkeys(numbers))})" if numbers else ""


def _effect(effect: Effect) -> str:
    parts = []
    if effect.old_shape[1:] != effect.new_shape[1:]:
        parts.append(f"gives {_shape(effect.new_shape)}, not {_shape(effect.old_shape)}")
    if effect.old_params != effect.new_params:
        parts.append(f"{effect.old_params:,} → {effect.new_params:,} parameters")
    return f"{printable(effect.name)} {'; '.join(parts)}"


def _shape(shape: Shape) -> str:
    """Without the batch."""
    return format_shape(shape[1:])


def _weights(net: NetDiff) -> Iterator[str]:
    """Whether the weights of one fit the other, where anything differs at all."""
    if net.reordered:
        yield "  the layers with weights stand in another order: a .solverstate of one does not fit the other"
    if net.params is None or net.same or not any(net.weighted):
        return
    old, new = net.params
    yield f"  parameters: {old:,}" + (f" → {new:,}" if new != old else " in both")
    if net.fitting == net.weighted[0] == net.weighted[1]:
        yield f"  weights of one fit the other: all {counted(net.fitting, 'layer')} with weights have the same shapes"
        return
    layers = f"{net.weighted[0]} and {net.weighted[1]} layers with weights"
    yield f"  weights: of {layers}, {net.fitting} fit by name and shape"
    if net.unfit:
        yield f"  weights do not fit: {printable(', '.join(net.unfit))}"


# -- JSON --------------------------------------------------------------------------------------------------------------


def as_dict(found: Comparison) -> dict[str, Any]:
    return {
        "same": found.same,
        "kind": found.kind,
        "paths": list(found.paths),
        "notes": found.notes,
        "fields": [_field_dict(change) for change in found.fields],
        "nets": [_net_dict(net) for net in found.nets],
    }


def _net_dict(net: NetDiff) -> dict[str, Any]:
    return {
        "phase": net.phase,
        "paths": list(net.paths),
        "same": net.same,
        "fields": [_field_dict(change) for change in net.net_fields],
        "layers": [_layer_dict(layer) for layer in net.changes],
        "effects": [
            {
                "layer": effect.name,
                "shape": [list(effect.old_shape), list(effect.new_shape)],
                "parameters": [effect.old_params, effect.new_params],
            }
            for effect in net.effects
        ],
        "parameters": list(net.params) if net.params else None,
        "weights": {"fitting": net.fitting, "unfit": net.unfit, "layers": list(net.weighted)},
        "reordered": net.reordered,
    }


def _layer_dict(layer: LayerChange) -> dict[str, Any]:
    return {
        "kind": layer.kind,
        "name": layer.name,
        "new_name": layer.new_name or layer.name,
        "type": layer.type,
        "old": _place_dict(layer.old_place),
        "new": _place_dict(layer.new_place),
        "fields": [_field_dict(change) for change in layer.fields],
    }


def _field_dict(change: FieldChange) -> dict[str, Any]:
    old, new = ({"value": value, **(_place_dict(place) or {})} for value, place in _sides(change))
    return {"field": change.field, "old": old, "new": new}


def _sides(change: FieldChange) -> list[tuple[Any, Place]]:
    return [(change.old, change.old_place), (change.new, change.new_place)]


def _place_dict(place: Place | None) -> dict[str, Any] | None:
    return None if place is None else {"path": place.path, "line": place.line, "column": place.column}
