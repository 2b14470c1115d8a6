"""What a layer type is: arity, parameters, a shape rule, a forward function and its emitted code, in one class.

A layer file needs this module only. A class registers itself when it is defined:

    @layer("Sigmoid")
    class Sigmoid(Layer):
        '''y = 1 / (1 + exp(-x)). Shapes: any → the same. Source: sigmoid_layer.cpp.'''

        def setup(self, bottoms):
            return [bottoms[0]]

        def forward(self, run, bottoms, params):
            return [bottoms[0].sigmoid()]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

from netc.errors import NetcError, Place, did_you_mean
from netc.errors.origin import Origin
from netc.layers.blob import ParamBlob as ParamBlob
from netc.layers.blob import Shape as Shape
from netc.layers.code import Code, Site
from netc.layers.facts import Facts

if TYPE_CHECKING:
    from torch import Tensor

Probe = Callable[[Any, int], Sequence[Shape]]
"""(LayerParameter, phase) → the top shapes of a data layer, found by looking at its source."""

FILLERS = ("constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear")
FILLER_NUMBERS = {"constant": ("value",), "uniform": ("min", "max"), "gaussian": ("mean", "std")}
MAX_AXES = 32
MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Arity:
    """How many bottoms or tops a layer takes: at least `low`, at most `high` (None: no limit)."""

    low: int
    high: int | None

    def accepts(self, count: int) -> bool:
        return self.low <= count and (self.high is None or count <= self.high)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"exactly {self.low}"
        return f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"


def exactly(count: int) -> Arity:
    return Arity(count, count)


def at_least(count: int) -> Arity:
    return Arity(count, None)


def between(low: int, high: int) -> Arity:
    return Arity(low, high)


@dataclass(frozen=True, slots=True)
class Window:
    """Geometry of a sliding-window layer over the two last axes, for receptive fields: (height, width) pairs."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)


class Run(Protocol):
    """What the machine tells a layer while it runs (implemented by netc.runtime)."""

    training: bool
    """True in a TRAIN-phase net."""

    def uniform(self, layer: Layer, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of `like`'s shape and device, a pure function of (seed, iteration, the layer's
        key, position of each sample in the global batch): the same for any number of processes."""
        ...

    def state(self, layer: Layer) -> dict[str, Any]:
        """What the layer wants to keep from one forward pass to the next (LSTM's hidden state)."""
        ...

    def write(self, layer: Layer, rows: Mapping[str, Tensor]) -> None:
        """Add rows to the datasets of the layer's `output_file`; the first call starts it (HDF5Output)."""
        ...


class Layer(Facts):
    """One layer of a net. Class attributes declare the type, what others ask of it included (`Facts`); an instance is
    one configured layer.

    `setup` sees shapes only and must not import torch; `forward` is a pure function of its arguments that works for
    any legal bottom shapes (batch and image size may differ from those `setup` saw) and returns the tops, in order.
    Gradients are torch's autograd of `forward`; where Caffe's differ, forward uses a torch.autograd.Function.
    """

    type: ClassVar[str] = ""
    fork: ClassVar[str | None] = None
    """The fork of Caffe that defines this type, None for BVLC's own."""

    plugin: ClassVar[str | None] = None
    """The file of the plug-in that defines this type, None for netc's own."""

    bottoms: ClassVar[Arity] = exactly(1)
    tops: ClassVar[Arity] = exactly(1)
    same_count: ClassVar[bool] = False
    """As many tops as bottoms."""

    param_field: ClassVar[str | None] = None
    """The LayerParameter field with this type's own settings ("convolution_param")."""

    also_reads: ClassVar[frozenset[str]] = frozenset()
    """Further blocks of settings that this type looks at ("transform_param")."""

    is_loss: ClassVar[bool] = False
    """A loss: the top may be left out (named "(automatic)"), and its loss_weight is 1 by default."""

    copies_bottom: ClassVar[bool] = False
    """Each top is the bottom (Split): what reads a top reads what the bottom is."""

    effect: bool = False
    """Does more than make its tops (HDF5Output): it runs whichever blobs are asked for."""

    no_gradient: ClassVar[tuple[int, ...] | None] = ()
    """Bottoms that cannot receive a gradient (labels, indices); None: no bottom can (Accuracy, ArgMax)."""

    lenient: ClassVar[bool] = False
    """Asking for a gradient of a bottom that has none is not an error: the backward pass leaves that bottom alone."""

    parallel: ClassVar[bool] = False
    """Each top comes from the bottom of its place alone: a label among them stays one that needs no gradient."""

    force_backward_skips: ClassVar[tuple[int, ...]] = ()
    """Bottoms that force_backward leaves alone (the labels of losses)."""

    informative_tops: ClassVar[tuple[int, ...]] = ()
    """Tops that only tell something (probabilities, positions): as in Caffe, no gradient goes back through them."""

    in_place: ClassVar[bool] = True
    """May write its top over its bottom."""

    no_code: ClassVar[str] = ""
    """Why `netc emit` cannot write this type ("it writes a file")."""

    inline: ClassVar[bool] = False
    """Its expression takes the bottom once, as an argument, so that the bottom may be a call itself."""

    ends_block: bool = False
    """A reader of emitted code wants a blank line behind it (branches meet, images become smaller)."""

    idle: ClassVar[str] = ""
    """Why emitted code has nothing to do where its top is its bottom ("in the TEST phase")."""

    def __init__(self, param: Any, phase: int, origin: Origin | None = None, probe: Probe | None = None) -> None:
        self.param, self.phase, self.probe = param, phase, probe
        self.origin = origin or Origin(Place("<net>"))
        self.name: str = param.name
        self.repeat = 0
        """How many layers of the net before this one have its name."""
        self.blobs: list[ParamBlob] = []

    @property
    def key(self) -> str:
        """What tells this layer from all others of its net (names may repeat, or be empty): its name where that does.

        Random numbers, state, feeds and initial weights go by it.
        """
        return f"{self.name}#{self.repeat}" if self.repeat else self.name

    @property
    def options(self) -> Any:
        """This type's own parameter message."""
        return getattr(self.param, self.param_field) if self.param_field else None

    def changed(self, **fields: str) -> dict[str, Any]:
        """Arguments for a function, argument=field: those whose field differs from its default, which is the function's
        too. An enum's value is its name in small letters."""
        default = type(self.options)()
        values = {name: _field_value(self.options, field) for name, field in fields.items()}
        return {name: value for name, value in values.items() if value != _field_value(default, fields[name])}

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        """The shape rule: check the settings against the bottom shapes, fill `self.blobs`, return the top shapes."""
        raise NotImplementedError

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        raise NotImplementedError

    def emit(self, site: Site) -> Code:
        """What the layer becomes in the module that `netc emit` writes (netc.layers.code). Raises NetcError L391 where
        the type has no form outside netc, L390 (`no_module`) where these settings have none."""
        if self.is_source:  # its tops are arguments
            return Code(())
        reason = self.no_code or "this type has no form outside netc"
        hint = "leave the layer out, or run the net with netc.load_net"
        self.fail(f"cannot be written as a module of its own: {reason}", "", hint, "L391")

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        """The tops as ONNX values; None where the type, or its settings, have no such form.

        `op.Conv(x, w, strides=[2, 2])` adds a node and gives its value (`outputs=2`: a tuple), `op.numbers(…)` and
        `op.ints(…)` are constants. `x`, `params`: the values of the bottoms and parameters. `shapes`: of the bottoms;
        they hold for every pass, but for the size of the batch. A layer that is `affine` or `hands_on` needs none.
        `op.any_size`: the form holds for any height and width too. `op.program`: for a file that is kept, not for an
        engine. Then it has any size, takes its numbers from `params`, and no NaN wins in MAX pooling.
        """
        return None

    has_operators: ClassVar[bool] = False
    """Its pass depends on values, so torch cannot trace it: ONNX has `operators` in place of `forward`."""

    def operators(self, op: Any, bottoms: Sequence[Any]) -> Sequence[Any]:
        """The tops as ONNX values (`op`: onnxscript's opset). Raises NetcError W773 where these settings have none."""
        raise NotImplementedError

    def traced_shapes(self, bottoms: Sequence[Shape], unknown: Callable[[], Any]) -> Sequence[Shape]:
        """The shapes of the tops for bottoms whose sizes may be symbols; `unknown()` makes the symbol of a size that is
        known only when it runs."""
        raise NotImplementedError

    def convention(self, top: int, shape: Shape) -> str:
        """What is known of the values of a source's top, in words; "" for nothing."""
        return ""

    def no_module(self, message: str, field: str = "", hint: str | None = None) -> NoReturn:
        """Raise NetcError L390: torch's modules have no such setting."""
        self.fail(f"cannot be written as a module of its own: {message}", field, hint, "L390")

    def check_net(self, net: Any, bottoms: Sequence[Shape]) -> None:
        """Refuse settings of the net itself (a NetParameter) that this layer, set up on `bottoms`, cannot follow."""

    @classmethod
    def variant(cls, param: Any) -> str:
        """Which of several layers the settings ask for, where a field that is there tells, whatever its value."""
        return ""

    def top_count(self) -> int | None:
        """The number of tops these settings ask for, where the class's arity does not say it; checked by build."""
        return None

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Multiply-adds of one forward pass (convolutions and inner products; the rest counts as 0)."""
        return 0

    def window(self) -> Window | None:
        """Sliding-window geometry, for the receptive field; None: the layer keeps it as it is."""
        return None

    def slid(self, plane: Shape) -> Any:
        """The LayerParameter of a layer that computes at each place of a larger plane what this one computes of a whole
        one of shape `plane` (channels, height, width), with the same parameters; None where the layer itself does.
        Raises NetcError L308 where there is none (netc.passes.convolutional)."""
        return None

    def sees_whole_plane(self) -> bool:
        """True where an output sees the whole input plane (InnerProduct, global pooling)."""
        return False

    def is_local(self) -> bool:
        """Whether a value of the tops depends on nothing but its window (`window`; without one, its place), so that a
        part of the bottoms' planes gives a part of the tops'."""
        if self.mixes_rows or self.sees_whole_plane():
            return False
        return not self.transposed if self.window() is not None else self.works_at_places()

    def works_at_places(self) -> bool:
        """Whether the tops' channels at a place are made from the bottoms' at that place."""
        joins = bool(self.passes == slice(None) and not self.keeps_values)
        return self.keeps_places or ((self.each_place or joins) and getattr(self, "axis", None) == 1)

    def choice(self, field: str) -> str:
        """The name of the value that an enum field of the settings has ("MAX")."""
        kinds = self.options.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
        return str(kinds[getattr(self.options, field)].name)

    def add_param(self, name: str, shape: Shape, filler: str) -> None:
        """Add a parameter blob. `filler` is the dotted path of its FillerParameter, checked against the shape; where
        the file does not give it, `starts` tells what the blob is filled with."""
        holder, _, last = filler.rpartition(".")
        options = getattr(self.param, holder)
        message = getattr(options, last)
        if options.HasField(last):
            self._check_filler(message, shape, filler)
        elif last in self.starts:
            message = type(message)(type="constant", value=self.starts[last])
        self.blobs.append(ParamBlob(name, shape, message))

    def _check_filler(self, filler: Any, shape: Shape, field: str) -> None:
        if filler.type not in FILLERS:
            self.fail(
                f'unknown filler "{filler.type}"{did_you_mean(filler.type, FILLERS)}',
                f"{field}.type",
                "known fillers: " + ", ".join(FILLERS),
                "L320",
            )
        if filler.type == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
            self.fail(
                f"the bilinear filler needs a square kernel on two axes; the blob is {format_shape(shape)}",
                f"{field}.type",
                "give kernel_h and kernel_w the same size, or take another filler",
                "L321",
            )
        self._check_filler_numbers(filler, shape, field)

    def _check_filler_numbers(self, filler: Any, shape: Shape, field: str) -> None:
        for name in FILLER_NUMBERS.get(filler.type, ()):
            if not isfinite(getattr(filler, name)):
                message = f"{name} of the {filler.type} filler is {getattr(filler, name):g}"
                self.fail(message, f"{field}.{name}", "give a finite number", "L321")
        if filler.type == "uniform" and filler.max < filler.min:
            message = f"the uniform filler's max {filler.max:g} is below its min {filler.min:g}"
            self.fail(message, f"{field}.max", "swap the two", "L321")
        if filler.type == "gaussian" and filler.std <= 0:
            hint = 'for values that are all the same take `type: "constant"`' if filler.std == 0 else None
            self.fail(f"the gaussian filler's std {filler.std:g} is not positive", f"{field}.std", hint, "L321")
        if filler.sparse != -1 and (filler.type != "gaussian" or filler.sparse < 0):
            hint = "only gaussian leaves weights out" if filler.type != "gaussian" else "-1 leaves no weight out"
            self.fail(f"sparse {filler.sparse} in a {filler.type} filler", f"{field}.sparse", hint, "L321")
        if filler.type == "gaussian" and filler.sparse > (shape[0] if shape else 0):
            message = f"the gaussian filler's sparse {filler.sparse} exceeds the first axis of {format_shape(shape)}"
            self.fail(message, f"{field}.sparse", "it is the number of outputs that each input keeps", "L321")

    def fail(self, message: str, field: str = "", hint: str | None = None, code: str = "L301") -> NoReturn:
        """Raise a NetcError at `field` (a dotted path inside the layer, "convolution_param.kernel_size")."""
        raise NetcError(code, f'layer "{self.name}" ({self.type}): {message}', self.origin.place(field), hint)


def _field_value(options: Any, field: str) -> Any:
    """A field's value; an enum's as text, "center_size"."""
    value, kind = getattr(options, field), options.DESCRIPTOR.fields_by_name[field].enum_type
    return kind.values_by_number[value].name.lower() if kind else value


# -- shape helpers that many layers share ------------------------------------------------------------------------------


def canonical_axis(layer: Layer, axis: int, shape: Shape, field: str = "") -> int:
    """`axis` counted from the end where negative, checked against `shape` (Blob::CanonicalAxisIndex)."""
    if not -len(shape) <= axis < len(shape):
        layer.fail(
            f"axis {axis} does not exist: the bottom is {format_shape(shape)}, axes 0 to {len(shape) - 1}", field
        )
    return axis % len(shape)


def check_planes(layer: Layer, shape: Shape, field: str = "bottom", which: str = "a bottom") -> None:
    """Fail where a bottom is not a batch of planes."""
    if len(shape) != 4:
        found = f"needs {which} of 4 axes (N, C, H, W), found {format_shape(shape)}"
        layer.fail(found, field, code="L302")


def count(shape: Shape, start: int = 0, end: int | None = None) -> int:
    """Product of the dimensions from `start` to `end` (1 for none)."""
    product = 1
    for size in shape[start:end]:
        product *= size
    return product


def format_shape(shape: Shape) -> str:
    return "×".join(map(str, shape)) if shape else "scalar"


# -- registry ----------------------------------------------------------------------------------------------------------

REGISTRY: dict[str, type[Layer]] = {}


def layer(*types: str) -> Callable[[type[Layer]], type[Layer]]:
    """Class decorator: register a layer class under its type name(s); a type is registered once."""

    def register(cls: type[Layer]) -> type[Layer]:
        for name in types:
            if name in REGISTRY and REGISTRY[name].__qualname__ != cls.__qualname__:
                raise ValueError(f"layer type {name} is registered by {REGISTRY[name].__module__} already")
            REGISTRY[name] = cls
        if not cls.__dict__.get("type"):  # not the one it inherits
            cls.type = types[0]
        return cls

    return register
