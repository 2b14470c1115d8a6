"""The older formats: Caffe's own results of upgrading, and places that still point into the old file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc import NetcError, compile_net, proto, read_net, read_solver
from netc.errors import Place
from netc.graph.read import draft_net
from netc.prototxt.format import canonical
from netc.upgrade.v0 import OWN, TYPES, paths
from netc.upgrade.v1 import PARALLEL

GOLDENS = Path(__file__).parents[2] / "goldens" / "upgrade"


def upgraded(path: Path, kind: str) -> str | NetcError:
    try:
        return canonical((read_net if kind == "net" else read_solver)(path))
    except NetcError as error:
        return error


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*.in.prototxt")), ids=lambda path: path.name)
def test_small_files(path: Path) -> None:
    found = upgraded(path, "solver" if path.name.startswith("solver") else "net")
    expected = path.with_name(path.name.replace(".in.", ".out."))
    if expected.exists():
        assert found == expected.read_text()
    else:
        assert isinstance(found, NetcError)


def test_the_history_of_caffe(shared: Path) -> None:
    """Every version of Caffe's own nets and solvers in its first two years: the text that Caffe's tools write, or
    refused where they refuse the file, and then with a place in it."""
    folder = shared / "goldens/upgrade"
    counts = {"equal": 0, "refused": 0}
    for name, case in json.loads((folder / "upgrade.json").read_text()).items():
        found = upgraded(folder / name, case["kind"])
        if case["rc"] == 0:
            assert found == (folder / name.replace(".in.", ".out.")).read_text(), name
            counts["equal"] += 1
        else:
            assert isinstance(found, NetcError), name
            assert all(error.line and error.message for error in found.errors), name
            counts["refused"] += 1
    assert counts == {"equal": 214, "refused": 32}


def test_every_old_name_is_in_the_schema() -> None:
    """The tables of names against caffe.proto: nothing misspelt, and no field or type forgotten."""
    v0, v1, now = (
        proto.message(name).DESCRIPTOR for name in ("V0LayerParameter", "V1LayerParameter", "LayerParameter")
    )
    assert {old for kind in TYPES for old in paths(kind)} == set(v0.fields_by_name) - {
        "new_num",
        "new_channels",
    }, "reshape alone had those two, and Caffe has dropped it"
    for kind in TYPES:
        for path in paths(kind).values():
            message = v1
            for step in path.split("."):
                field = message.fields_by_name[step]
                message = field.message_type
    assert set(OWN) <= set(TYPES)
    assert set(TYPES.values()) <= set(v1.enum_types_by_name["LayerType"].values_by_name)
    for field in v1.fields:
        if field.name not in (*PARALLEL.values(), "layer", "type"):
            same = now.fields_by_name[field.name]
            assert (same.type, same.is_repeated, same.message_type) == (
                field.type,
                field.is_repeated,
                field.message_type,
            )


# -- places ------------------------------------------------------------------------------------------------------------

V0 = """name: "old"
input: "image"
input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 9
layers {
  layer { name: "pad1" type: "padding" pad: 2 }
  bottom: "image" top: "padded"
}
layers {
  layer {
    name: "conv1"
    type: "conv"
    num_output: 4
    kernelsize: 3
    weight_filler { type: "gaussian" std: 0.1 }
    blobs_lr: 1
    blobs_lr: 2
    weight_decay: 0.5
  }
  bottom: "padded"
  top: "conv1"
}
layers { layer { name: "lrn" type: "lrn" local_size: 4 meanfile: "m" } bottom: "conv1" top: "lrn" }
"""


def under(place: Place) -> tuple[int, str]:
    """The line and the text that the caret shows."""
    return place.line, place.text[place.column - 1 : place.column - 1 + place.length]


def places(text: str, layer: int, *fields: str) -> list[tuple[int, str]]:
    origin = draft_net(text).origins[layer]
    return [under(origin.place(field)) for field in fields]


def test_places_in_a_v0_file() -> None:
    fields = ("name", "convolution_param.kernel_size", "convolution_param.kernel_size[0]", "convolution_param.pad[0]")
    assert places(V0, 1, *fields) == [(10, '"conv1"'), (13, "3"), (13, "3"), (5, "2")]
    fields = ("convolution_param.weight_filler.std", "param[1].lr_mult", "param[0].decay_mult", "param[1]")
    assert places(V0, 1, *fields) == [(14, "0.1"), (16, "2"), (17, "0.5"), (16, "2")]
    fields = ("bottom[0]", "top[0]", "type", "convolution_param", "convolution_param.group")
    assert places(V0, 1, *fields) == [(6, '"image"'), (20, '"conv1"'), (11, '"conv"'), (12, "4"), (12, "4")]
    assert places(V0, 2, "lrn_param.local_size", "transform_param.mean_file") == [(22, "4"), (22, '"m"')]


def test_places_of_inputs() -> None:
    fields = ("top[0]", "input_param.shape[0].dim[2]", "input_param.shape[0]", "name")
    assert places(V0, 0, *fields) == [(2, '"image"'), (3, "8"), (3, "1"), (2, '"image"')]
    text = 'input: "a" input: "b"\ninput_shape { dim: 2 dim: 3 }\ninput_shape { dim: 4\n dim: 5 }'
    fields = ("top[1]", "input_param.shape[1].dim[1]", "input_param.shape[1]")
    assert places(text, 0, *fields) == [(1, '"b"'), (4, "5"), (3, "input_shape")]


def test_places_in_a_v1_file() -> None:
    text = """layers { name: "d" type: DATA top: "d"
  transform_param { scale: 2 crop_size: 7 } data_param { source: "s"
    mean_file: "m" batch_size: 2
    scale: 3 } }
layers { name: "c" type: CONVOLUTION bottom: "d" top: "c" param: "w"
  blob_share_mode: PERMISSIVE
  convolution_param { num_output: 2 kernel_size: 3 } }"""
    fields = ("transform_param.scale", "transform_param.crop_size", "transform_param.mean_file", "data_param.source")
    assert places(text, 0, *fields) == [(4, "3"), (2, "7"), (3, '"m"'), (2, '"s"')]
    fields = ("param[0].name", "param[0].share_mode", "convolution_param.kernel_size[0]", "type", "param[0]")
    assert places(text, 1, *fields) == [(5, '"w"'), (6, "PERMISSIVE"), (7, "3"), (5, "CONVOLUTION"), (5, '"w"')]


def test_an_error_after_the_upgrade_points_into_the_old_file() -> None:
    with pytest.raises(NetcError) as caught:
        compile_net(V0, "TEST")
    assert caught.value.place
    assert (caught.value.code, under(caught.value.place)) == ("L301", (22, "4"))
    assert "local_size" in str(caught.value)


def test_places_in_a_message() -> None:
    message = proto.NetParameter()
    layer = message.layers.add(name="c", bottom=["a"], top=["c"], type="LRN")
    layer.lrn_param.local_size = 4
    message.input.append("a")
    message.input_dim.extend([1, 2, 3, 4])
    with pytest.raises(NetcError) as caught:
        compile_net(message, "TEST")
    assert str(caught.value.place) == '<NetParameter>, layer "c", lrn_param.local_size'
    assert str(draft_net(message).origins[0].place("top[0]")) == "<NetParameter>, input[0]"


# -- what is refused, and what is dropped ------------------------------------------------------------------------------

RELU = 'layers { layer { name: "r" type: "relu" } bottom: "d" top: "d" }'
PADDING = 'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "d" top: "p" }'
INPUT = 'input: "d" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 '


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        (INPUT + RELU + ' layer { name: "x" }', "U101", "layers"),
        (INPUT + RELU + " layers { name: 'v1' type: RELU }", "U111", "layers"),
        (INPUT + RELU.replace('"relu"', '"rellu"'), "U112", '"rellu"'),
        (INPUT + RELU.replace('bottom: "d"', 'bottom: "e"'), "G402", '"e"'),
        (INPUT + PADDING + RELU.replace('bottom: "d"', 'bottom: "p"'), "U113", '"p"'),
        ('input: "a" input: "b" input_dim: 1 input_dim: 2', "U103", "1"),
        ('input: "a" input: "b" input_shape { dim: 1 }', "U103", "input_shape"),
    ],
)
def test_refused(text: str, code: str, shown: str) -> None:
    with pytest.raises(NetcError) as caught:
        read_net(text)
    assert caught.value.place
    assert (caught.value.code, under(caught.value.place)) == (code, (1, shown)), str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (INPUT + RELU.replace('"r"', '"r" pad: 1'), '"pad" has no effect on a layer of type "relu"; Caffe drops it'),
        (
            INPUT + RELU.replace("bottom", "blobs_lr: 1 bottom"),
            '"blobs_lr" beside a `layer { … }` of the format of 2013 (V0) has no effect; Caffe drops it',
        ),
        (INPUT + RELU + " state { level: 1 }", '"state" is not known in files of 2013 (V0), and Caffe drops it'),
        ('input: "a" input_shape { dim: 1 } input_dim: 3', '"input_dim" has no effect beside "input_shape"'),
        (
            'input: "a" input_shape { dim: 1 } input_shape { dim: 3 }',
            "2 input shapes for 1 inputs: those without an input have no effect",
        ),
        (
            'input: "a" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5',
            "2 input shapes for 1 inputs: those without an input have no effect",
        ),
    ],
)
def test_what_caffe_drops_is_remarked_on(text: str, said: str) -> None:
    remarks = draft_net(text).remarks
    assert [remark.message for remark in remarks] == [said]
    assert all(remark.place.line for remark in remarks)


def test_only_what_the_stage_is_for_changes() -> None:
    """A net of the current format comes out as it went in."""
    text = (GOLDENS / "v2_current.in.prototxt").read_text()
    assert canonical(read_net(text)) == (GOLDENS / "v2_current.out.prototxt").read_text()


def test_batch_norm_with_three_param_blocks() -> None:
    text = 'layer { type: "BatchNorm" param { lr_mult: 1 } param { name: "x" } param { } }'
    specs = read_net(text).layer[0].param
    assert [(spec.lr_mult, spec.decay_mult, spec.name) for spec in specs] == [(0, 0, ""), (0, 0, "x"), (0, 0, "")]
    two = read_net('layer { type: "BatchNorm" param { lr_mult: 1 } param { } }').layer[0].param
    assert [spec.lr_mult for spec in two] == [1, 1]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("version: 0", "it says nothing: delete it"),
        ("layers { layer { can_clobber: true } }", "nothing reads it: delete it"),
        ("layers { layer { context_pad: 1 } }", "write det_context_pad"),
        ("layers { layer { crop_mode: 'warp' } }", "write det_crop_mode"),
        ("layers { type: LRN_MAP }", "LRN with lrn_param { norm_region: WITHIN_CHANNEL }"),
        ("layers { lrn_map_param { } }", "lrn_param { norm_region: WITHIN_CHANNEL … }"),
        ("layers { data_param { transform_param { } } }", "move it out of this block"),
        ("layer { image_data_param { transform_param { } } }", "move it out of this block"),
    ],
)
def test_what_caffe_has_given_up_is_explained(text: str, remedy: str) -> None:
    with pytest.raises(NetcError) as caught:
        read_net(text)
    assert caught.value.hint
    assert remedy in caught.value.hint


def test_one_old_field_gives_every_data_layer_its_blocks() -> None:
    """UpgradeNetDataTransformation makes both blocks of each layer of those types before it looks for the fields."""
    new = 'layers { name: "a" type: DATA data_param { source: "s" } } layers { name: "b" type: WINDOW_DATA }\n'
    assert not any(layer.HasField("transform_param") for layer in read_net(new).layer)
    old = (
        'layers { name: "c" type: IMAGE_DATA image_data_param { mirror: false } } layers { name: "d" type: HDF5_DATA }'
    )
    upgraded = {layer.name: [field.name for field, _ in layer.ListFields()][2:] for layer in read_net(new + old).layer}
    assert upgraded == {
        "a": ["transform_param", "data_param"],
        "b": ["transform_param", "window_data_param"],
        "c": ["transform_param", "image_data_param"],
        "d": [],
    }
