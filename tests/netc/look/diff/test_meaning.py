"""Settings that mean the same come out the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import text_format

from netc import NetcError, proto
from netc.layers import registry
from netc.look.diff.meaning import settings
from netc.runtime.net.conformance import layer_text, make
from tests.netc.layers.cases import CASES, Case

CONSTANTS = (0, 0.25, 1, 7)


def fillers() -> Iterator[tuple[str, Case, str]]:
    """(type, case without that filler, field) of every filler of the settings of every type."""
    for kind, cases in CASES.items():
        block = registry()[kind].param_field
        options = getattr(proto.LayerParameter(), block or "", None)
        for field in options.DESCRIPTOR.fields if options is not None else ():
            if field.message_type is not None and field.message_type.name == "FillerParameter":
                yield from ((kind, with_filler(kind, case, field.name), field.name) for case in cases)


def parsed(text: str) -> Any:
    return text_format.Parse(text, proto.LayerParameter())


def with_filler(kind: str, case: Case, field: str, value: float | None = None) -> Case:
    """The case with a constant, or without it."""
    param = parsed(case.text)
    options = getattr(param, registry()[kind].param_field or "")
    options.ClearField(field)
    if value is not None:
        getattr(options, field).value = value
    return replace(case, text=text_format.MessageToString(param, as_one_line=True))


def starts(kind: str, case: Case) -> list[Any]:
    """The parameters, and what each starts at."""
    blobs = make(kind, case)[0].blobs
    return [(b.name, b.shape, ("constant", 0) if b.filler is None else (b.filler.type, b.filler.value)) for b in blobs]


def table(kind: str, case: Case) -> dict[str, Any]:
    return settings(parsed(layer_text(kind, case, len(case.shapes), case.tops)))


def test_a_filler_that_is_written_out_differs_where_the_parameters_start_otherwise() -> None:
    """Over the registry. A filler that no parameter takes (a bias that is switched off) is left out."""
    seen: set[str] = set()
    for kind, case, field in fillers():
        if registry()[kind].is_source:
            continue
        written = {value: with_filler(kind, case, field, value) for value in CONSTANTS}
        plain = starts(kind, case)
        try:
            alike = {value: starts(kind, other) == plain for value, other in written.items()}
        except NetcError:  # a filler of another fork's layer of that name
            continue
        if all(alike.values()):
            continue
        seen.add(kind)
        for value, other in written.items():
            assert (table(kind, other) == table(kind, case)) is alike[value], (kind, case.text, field, value)
    assert seen >= {"BatchNorm", "Bias", "BN", "Convolution", "InnerProduct", "LSTM", "Normalize", "PReLU", "Scale"}


@pytest.mark.parametrize("value", CONSTANTS)
def test_the_scale_of_a_normalize_layer_starts_at_1(value: float) -> None:
    case = CASES["Normalize"][0]
    text = f'type: "Normalize" norm_param {{ scale_filler {{ type: "constant" value: {value} }} }}'
    assert ("norm_param.scale_filler" in settings(parsed(text))) is (value != 1)
    assert starts("Normalize", replace(case, text=""))[0][2] == ("constant", 1)


ALIKE = {
    "no filler and zeros": ("", 'dummy_data_param { data_filler { type: "constant" value: 0 } data_filler { } }'),
    "a pair of kernels": (
        "convolution_param { kernel_size: 3 pad: 1 }",
        "convolution_param { kernel_h: 3 kernel_w: 3 pad_h: 1 pad_w: 1 }",
    ),
    "one stride and one for each axis": (
        "convolution_param { stride: 2 }",
        "convolution_param { stride: 2 stride: 2 dilation: 1 }",
    ),
    "DeepLab's word for dilation": ("convolution_param { dilation: 2 }", "convolution_param { hole: 2 }"),
    "a pair of pooling kernels": ("pooling_param { kernel_size: 3 }", "pooling_param { kernel_h: 3 kernel_w: 3 }"),
    "the older name of an axis": ("concat_param { axis: 2 }", "concat_param { concat_dim: 2 }"),
}


@pytest.mark.parametrize("one, other", ALIKE.values(), ids=ALIKE)
def test_spellings_that_mean_the_same(one: str, other: str) -> None:
    assert settings(parsed(one)) == settings(parsed(other))


@pytest.mark.parametrize(
    "kind, text",
    [
        ("Data", "data_param { scale: 0.5 mirror: true }"),
        ("ImageData", "image_data_param { scale: 0.5 crop_size: 3 }"),
        ("WindowData", "window_data_param { mirror: true }"),
    ],
)
def test_fields_that_moved_to_transform_param_say_nothing_in_their_old_place(kind: str, text: str) -> None:
    assert settings(parsed(f'type: "{kind}" {text}')) == {}


def test_the_scale_of_window_data_counts_in_its_old_place() -> None:
    assert settings(parsed('type: "WindowData" window_data_param { scale: 0.5 }')) == {"window_data_param.scale": 0.5}
