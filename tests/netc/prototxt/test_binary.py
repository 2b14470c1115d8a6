"""Binary nets and solvers: told from text, read without their blobs, with places that name the layer."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc import NetcError, compile_net, proto, read_net, read_solver
from netc.files.wire import Wire, field_head
from netc.graph.read import draft_net
from netc.prototxt import Source, parse
from netc.prototxt.binary import BLOBS, blobs_of, kind_of, open_binary
from netc.prototxt.bind import bind
from netc.prototxt.format import canonical
from netc.prototxt.source import may_be_binary
from tests.effort import at_most

GOLDENS = Path(__file__).parents[2] / "goldens" / "upgrade"

NET = """name: "n" layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 7 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 2 kernel_size: 3 } }"""


def bound(path: Path, message: Any) -> Any:
    """A text file's message as it is, in its old format."""
    source = Source.read(path)
    return bind(parse(source), message, source)


def write(folder: Path, message: Any) -> Path:
    path = folder / "file.bin"
    path.write_bytes(message.SerializeToString())
    return path


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*.out.prototxt")), ids=lambda path: path.name)
def test_a_binary_file_is_read_as_its_text(path: Path, tmp_path: Path) -> None:
    solver = path.name.startswith("solver")
    old = bound(
        path.with_name(path.name.replace(".out.", ".in.")), proto.SolverParameter if solver else proto.NetParameter
    )
    found = (read_solver if solver else read_net)(write(tmp_path, old))
    assert canonical(found) == path.read_text()


def test_every_net_and_solver_of_the_history(shared: Path, tmp_path: Path) -> None:
    """V0, V1 and current, serialised: what Caffe's own upgrade makes of the text."""
    count = 0
    for expected in sorted((shared / "goldens/upgrade").glob("[ht]*/*.out.prototxt")):
        solver = "base_lr" in expected.read_text()
        old = bound(
            expected.with_name(expected.name.replace(".out.", ".in.")),
            proto.SolverParameter if solver else proto.NetParameter,
        )
        found = (read_solver if solver else read_net)(write(tmp_path, old))
        assert canonical(found) == expected.read_text(), expected.name
        count += 1
    assert count == 214


def test_text_stays_text(shared: Path) -> None:
    """No text of the zoo, whatever its encoding, is taken for a binary message."""
    for path in sorted((shared / "zoo/prototxt").glob("*.prototxt"))[::5]:
        assert not may_be_binary(path) or open_binary(path) is None, path.name
        wire = Wire(path.read_bytes())
        assert kind_of(wire, strict=True) is None, path.name


@pytest.mark.parametrize("text", ["", "\n" * 12, " \n ", "# only a comment\n", "\n\t" * 40])
def test_blank_text_is_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "blank.prototxt"
    path.write_text(text)
    assert canonical(read_net(path)) == ""


def test_a_solver_without_one_control_character(tmp_path: Path) -> None:
    solver = proto.SolverParameter(
        train_net="a/folder/of/some/length/and/a/name", base_lr=float(np.float32(0.01)), lr_policy="fix" * 11
    )
    path = write(tmp_path, solver)
    assert not any(byte < 9 or 13 < byte < 32 for byte in path.read_bytes())
    assert read_solver(path) == solver


# -- blobs -------------------------------------------------------------------------------------------------------------


def with_blobs() -> list[tuple[Any, Any]]:
    """Nets of each format with blobs, and the message of the blob in each of their layers."""
    blob = proto.BlobProto(data=[1, 2, 3], num=3)
    now, v1, v0 = (proto.NetParameter(name="n", input=["d"], input_dim=[1, 2, 3, 4]) for _ in range(3))
    now.layer.add(name="c", type="ReLU", bottom=["d"], top=["e"]).blobs.extend([blob, blob])
    v1.layers.add(name="c", type="RELU", bottom=["d"], top=["e"]).blobs.extend([blob, blob])
    v0.layers.add(bottom=["d"], top=["e"]).layer.MergeFrom(
        proto.V0LayerParameter(name="c", type="relu", blobs=[blob, blob])
    )
    return [(net, blob) for net in (now, v1, v0)]


def test_blobs_are_left_out(tmp_path: Path) -> None:
    for net, blob in with_blobs():
        path = write(tmp_path, net)
        found = read_net(path)
        assert [(layer.name, layer.type, len(layer.blobs)) for layer in found.layer] == [
            ("input", "Input", 0),
            ("c", "ReLU", 0),
        ]
        wire = Wire(path.read_bytes())
        spans = [[bytes(wire.bytes[span.start : span.end]) for span in blobs] for blobs in blobs_of(wire)]
        assert spans == [[blob.SerializeToString()] * 2]


def test_the_numbers_are_those_of_the_schema() -> None:
    net, v1, v0 = (proto.message(name).DESCRIPTOR for name in ("NetParameter", "V1LayerParameter", "V0LayerParameter"))
    now = proto.LayerParameter.DESCRIPTOR

    def number(message: Any, name: str) -> int:
        return int(message.fields_by_name[name].number)

    assert {
        (number(net, "layer"),): number(now, "blobs"),
        (number(net, "layers"),): number(v1, "blobs"),
        (number(net, "layers"), number(v1, "layer")): number(v0, "blobs"),
    } == BLOBS


def test_half_a_gigabyte_of_weights_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "big.caffemodel"
    size = 1 << 29
    layer = proto.LayerParameter(name="c", type="ReLU", bottom=["x"], top=["x"]).SerializeToString()
    blob = field_head(5, size)
    blobs = field_head(7, len(blob) + size) + blob
    with path.open("wb") as file:
        file.write(proto.NetParameter(name="big").SerializeToString() + field_head(100, len(layer) + len(blobs) + size))
        file.write(layer + blobs)
        file.truncate(file.tell() + size)  # a hole: no space on the disk
    with at_most(10):  # the weights alone, read once, take some 10
        assert [layer.name for layer in read_net(path).layer] == ["c"]


# -- faults ------------------------------------------------------------------------------------------------------------


def test_places_name_the_layer(tmp_path: Path) -> None:
    net = read_net(NET)
    net.layer[1].convolution_param.kernel_size[0] = 100
    path = write(tmp_path, net)
    with pytest.raises(NetcError) as caught:
        compile_net(path)
    assert str(caught.value.place) == f'{path}, layer "c", convolution_param.kernel_size'


def test_a_v0_layer_in_a_binary_file(tmp_path: Path) -> None:
    net = with_blobs()[2][0]
    net.layers[0].layer.pad = 3
    draft = draft_net(write(tmp_path, net))
    assert [str(remark.place) for remark in draft.remarks] == [f'{tmp_path}/file.bin, layer "c", layer.pad']


def refused(path: Path, read: Any = read_net) -> str:
    with pytest.raises(NetcError) as caught:
        read(path)
    return caught.value.code


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    data = read_net(NET).SerializeToString()
    path = tmp_path / "short.caffemodel"
    codes = set()
    for size in range(6, len(data)):
        path.write_bytes(data[:size])
        try:
            read_net(path)
        except NetcError as error:
            codes.add(error.code)
    assert codes == {"U130"}


def test_noise_is_no_net(tmp_path: Path) -> None:
    rng = random.Random(5)
    path = tmp_path / "noise"
    for size in (1, 2, 7, 60, 500, 5000):
        for _ in range(40):
            path.write_bytes(rng.randbytes(size))
            with suppress(NetcError):
                read_net(path)


def test_damaged_nets_give_an_answer(tmp_path: Path) -> None:
    """One byte or several changed: a net, or a NetcError."""
    rng = random.Random(7)
    path = tmp_path / "damaged"
    whole = read_net(NET).SerializeToString()
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 5])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(NetcError):
            compile_net(path, "TEST")


def test_what_is_no_net(tmp_path: Path) -> None:
    solver = proto.SolverParameter(base_lr=0.01, max_iter=3)
    assert refused(write(tmp_path, solver)) == "S209"
    assert refused(write(tmp_path, read_net(NET)), read_solver) == "S209"
    assert refused(write(tmp_path, proto.BlobProto(num=1, channels=3, height=2, width=2, data=[0] * 12))) == "P105"
    assert refused(write(tmp_path, proto.SolverState(iter=3, learned_net="x"))) == "P105"


def test_a_string_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin1.caffemodel"
    path.write_bytes(read_net(NET).SerializeToString().replace(b"\x12\x0bConvolution", b"\x12\x0bConv\xe9lution"))
    with pytest.raises(NetcError) as caught:
        read_net(path)
    assert (caught.value.code, str(caught.value.place)) == ("U131", f'{path}, layer "c", type')


def test_fields_of_a_fork_are_remarked_on(tmp_path: Path) -> None:
    path = tmp_path / "fork.caffemodel"
    extra = b"\xaa\x40\x02\x08\x01"  # field 1029, a message
    layer = proto.LayerParameter(name="p", type="ReLU", bottom=["x"], top=["x"]).SerializeToString() + extra
    path.write_bytes(proto.NetParameter(name="n").SerializeToString() + b"\xa2\x06" + bytes([len(layer)]) + layer)
    draft = draft_net(path)
    assert [remark.message for remark in draft.remarks] == [
        "settings that netc does not know have no effect (fields 1029)"
    ]
    assert str(draft.remarks[0].place) == f'{path}, layer "p"'


def test_weights_as_a_net(shared: Path) -> None:
    """A .caffemodel is the net it was trained as, splits included; told from text, and read fast."""
    files = sorted((shared / "zoo/caffemodel").glob("*/*.caffemodel"))
    assert len(files) >= 15
    for file in files:
        binary = open_binary(file)
        assert binary is not None, file.name
        assert binary.kind == "net", file.name
        assert len(read_net(file).layer) >= 5, file.name
    assert len(compile_net(shared / "zoo/caffemodel/bvlc_googlenet/bvlc_googlenet.caffemodel", "TEST").nodes) == 152
