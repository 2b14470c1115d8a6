"""caffe.net_spec: nets written in Python.

    from netc.pycaffe import layers as L, params as P

    n = caffe.NetSpec()
    n.data, n.label = L.Data(batch_size=64, source="train_lmdb", backend=P.Data.LMDB, ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    print(n.to_proto())

A keyword that ends in "param" is a field of the layer; others are fields of the type's own message, or else of the
layer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from functools import cache
from typing import Any

from netc import proto


class Top:
    """A top of a layer: what later layers take as their bottom. `fn` makes it, as number `n` of its tops."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn, self.n = fn, n

    def to_proto(self) -> Any:
        """The NetParameter with all that leads to this top."""
        return to_proto(self)

    def _to_proto(self, layers: Layered, names: Names, autonames: Counter[str]) -> None:
        self.fn._to_proto(layers, names, autonames)


class Function:
    """A layer: its type, the tops that it takes, and its fields."""

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: dict[str, Any]) -> None:
        for index, given in enumerate(inputs):
            if not isinstance(given, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(given)})")
        self.type_name, self.inputs = type_name, inputs
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _name(self, names: Names, autonames: Counter[str]) -> str:
        if self not in names:
            names[self] = self._top_name(self.tops[0], names, autonames) if self.tops else self._next(autonames)
        return names[self]

    def _top_name(self, top: Top, names: Names, autonames: Counter[str]) -> str:
        if top not in names:
            names[top] = self._next(autonames)
        return names[top]

    def _next(self, autonames: Counter[str]) -> str:
        autonames[self.type_name] += 1
        return f"{self.type_name}{autonames[self.type_name]}"

    def _to_proto(self, layers: Layered, names: Names, autonames: Counter[str]) -> None:
        if self in layers:
            return
        layer = proto.LayerParameter(type=self.type_name)
        for top in self.inputs:
            top._to_proto(layers, names, autonames)
            layer.bottom.append(layers[top.fn].top[top.n])
        tops = layer.bottom if self.in_place else [self._top_name(top, names, autonames) for top in self.tops]
        layer.top.extend(tops)
        layer.name = self._name(names, autonames)
        for key, value in self.params.items():
            self._assign(layer, key, value)
        layers[self] = layer

    def _assign(self, layer: Any, key: str, value: Any) -> None:
        own = _block(self.type_name)
        if not key.endswith("param") and own and key in getattr(layer, own).DESCRIPTOR.fields_by_name:
            assign_proto(getattr(layer, own), key, value)
        else:
            assign_proto(layer, key, value)


_ENDING = "Parameter"
"""Of the messages with a type's settings."""

Names = dict[Top | Function, str]
Layered = OrderedDict[Function, Any]


@cache
def _blocks() -> dict[str, str]:
    """Type → the field with its settings, by the names of the messages: Convolution → convolution_param."""
    fields = [field for field in proto.LayerParameter.DESCRIPTOR.fields if field.name.endswith("_param")]
    return {field.message_type.name.removesuffix(_ENDING): field.name for field in fields if field.message_type}


def param_name_dict() -> dict[str, str]:
    """Type → what its message's field is called without "_param": {"InnerProduct": "inner_product", …}."""
    return {kind: field.removesuffix("_param") for kind, field in _blocks().items()}


def _block(type_name: str) -> str:
    return _blocks().get(type_name, "")


def assign_proto(message: Any, name: str, val: Any) -> None:
    """Write a value of Python's into a field: a dict into a message, a list into a repeated field, to which a single
    value is added too. Raises AttributeError for a field that is not there, TypeError for a value that does not fit."""
    field = getattr(message, name)
    values = val if isinstance(val, list | tuple) else [val]
    if hasattr(field, "extend"):
        for value in values:
            if isinstance(value, dict):
                _assign_all(field.add(), value)
            else:
                field.append(value)
    elif isinstance(val, dict):
        field.SetInParent()
        _assign_all(field, val)
    else:
        setattr(message, name, val)


def _assign_all(message: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        assign_proto(message, key, value)


def to_proto(*tops: Top | Function) -> Any:
    """The NetParameter with all that leads to these tops, with names of netc's making."""
    layers: Layered = OrderedDict()
    names: Names = {}
    autonames: Counter[str] = Counter()
    for top in tops:
        top._to_proto(layers, names, autonames)
    return proto.NetParameter(layer=list(layers.values()))


class NoTop(AttributeError, KeyError):
    """A NetSpec has no top of that name: pycaffe raises KeyError, and Python asks an attribute for AttributeError."""


class NetSpec:
    """A net: each top that is set as an attribute (or an item) gets that name, and its layer that of its first top."""

    tops: OrderedDict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self.tops[name]
        except KeyError:
            raise NoTop(f"the net has no top {name!r}") from None

    def __delattr__(self, name: str) -> None:
        del self.tops[name]

    def __setitem__(self, key: str, value: Any) -> None:
        self.tops[key] = value

    def __getitem__(self, item: str) -> Any:
        return self.tops[item]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def keys(self) -> list[str]:
        return list(self.tops)

    def vals(self) -> list[Any]:
        return list(self.tops.values())

    def update(self, name: str, params: dict[str, Any]) -> None:
        """More fields, or other values, for the layer of the top `name` (SSD's Caffe has this)."""
        self.tops[name].fn.params.update(params)

    def to_proto(self) -> Any:
        """The NetParameter."""
        names: Names = {top: name for name, top in self.tops.items()}
        layers: Layered = OrderedDict()
        autonames: Counter[str] = Counter()
        for top in self.tops.values():
            top._to_proto(layers, names, autonames)
        return proto.NetParameter(layer=list(layers.values()))


class Layers:
    """`L.Type(tops…, fields…)`: the top of a new layer; a tuple of `ntop` tops; the layer itself if that is 0."""

    def __getattr__(self, name: str) -> Any:
        def layer(*args: Any, **kwargs: Any) -> Any:
            fn = Function(name, args, kwargs)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        return layer


class _Values:
    """The values of one message's enums by their names."""

    def __init__(self, name: str) -> None:
        self._message = proto.message(f"{name}{_ENDING}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)


class Parameters:
    """`P.Pooling.MAX`: the values of enums."""

    def __getattr__(self, name: str) -> _Values:
        try:
            return _Values(name)
        except KeyError:
            raise AttributeError(f"there is no message {name}{_ENDING}") from None


layers = Layers()
params = Parameters()
