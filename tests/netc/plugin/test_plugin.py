"""Plug-ins: what is refused, where it is said, and that a refused one leaves nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import netc
from netc import NetcError, plugin, proto
from netc.cli import main
from netc.layers import registry
from netc.runtime.net.conformance import Case, check

HEAD = "from netc.plugin import *\n"
TYPE = """
@layer("Mine")
class Mine(Layer):
    param_field = "mine_param"
    def setup(self, bottoms):
        return [bottoms[0]]
    def forward(self, run, bottoms, params):
        return [bottoms[0] * self.options.gain]
"""
MESSAGE = 'message("mine_param", "MineParameter", gain=Field(1, "float", default=2.5))\n'
NET = """layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "m" type: "Mine" bottom: "x" top: "y" mine_param { gain: 4 } }"""

Write = Callable[[str], str]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The schema and the types are this process's: they are put back."""
    types, schema, cls = dict(registry()), dict(proto._schema()), proto.LayerParameter
    yield
    plugin._loaded.clear()
    plugin._forget(types)
    proto._use(schema)
    assert proto.LayerParameter is cls


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str, name: str = "mine.py") -> str:
        (tmp_path / name).write_text(HEAD + text)
        return str(tmp_path / name)

    return make


def refused(path: str) -> NetcError:
    types, schema = dict(registry()), proto.pool()
    with pytest.raises(NetcError) as caught:
        netc.load_plugin(path)
    assert dict(registry()) == types
    assert proto.pool() is schema
    return caught.value


def test_a_type_with_a_message_of_its_own(write: Write) -> None:
    path = write(MESSAGE + TYPE)
    module = netc.load_plugin(path)
    assert netc.load_plugin(path) is module
    assert netc.load_net(NET)(x=torch.ones(2, 3))["y"].unique().tolist() == [4]
    number = proto.LayerParameter.DESCRIPTOR.fields_by_name["mine_param"].number
    assert number == plugin._number("mine_param") >= 20000
    assert proto.message("MineParameter")().gain == 2.5
    check("Mine", Case("mine_param { gain: 3 }", shapes=((2, 3, 4),)))


def test_what_others_ask_of_a_type(write: Write) -> None:
    """Its class tells pictures, comparisons, keys of weights and remarks."""
    from netc.check.advice import advise
    from netc.look.diff.meaning import settings
    from netc.look.draw.words import kind_of, settings_of
    from netc.weights.keys import all_blob_names, blob_names, in_caffes_order

    gate = TYPE.replace(
        "    def setup(self, bottoms):\n",
        """    kind = "activation"
    keeps_zeros = backward_reads_top = True
    blob_lists = (("gate",), ("gate", "offset"))
    starts = {"filler": 1.0}
    def summary(self):
        return f"times {self.options.gain:g}"
    def setup(self, bottoms):
        self.add_param("gate", bottoms[0][1:], "mine_param.filler")
""",
    )
    field = MESSAGE.replace("default=2.5)", 'default=2.5), filler=Field(2, "FillerParameter")')
    netc.load_plugin(write(field + gate))
    assert netc.load_net(NET).params["m"][0].tolist() == [1, 1, 1]
    assert (kind_of("Mine"), settings_of(netc.read_net(NET).layer[1])) == ("activation", "times 4")
    plain, one, two = (
        settings(netc.read_net(NET.replace("gain: 4", text)).layer[1])
        for text in ("gain: 4", "gain: 4 filler { value: 1 }", "gain: 4 filler { value: 2 }")
    )
    assert plain == one != two
    assert blob_names("Mine", 2) == ["gate", "offset"] == in_caffes_order(["offset", "gate"])
    assert {"gate", "offset"} <= set(all_blob_names())
    tail = """
    layer { name: "r" type: "ReLU" bottom: "y" top: "y" }
    layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "l" }"""
    assert [remark.code for remark in advise(netc.compile_net(NET + tail, "TRAIN"))] == ["A827"]


def test_threads_load_plug_ins_one_after_the_other(write: Write) -> None:
    other = (MESSAGE + TYPE).replace("mine", "yours").replace("Mine", "Yours")
    slow = "import time\ntime.sleep(0.05)\n"
    paths = [write(MESSAGE + slow + TYPE), write(slow + other, "yours.py")]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(netc.load_plugin, paths))
    assert {"mine_param", "yours_param"} <= set(proto.LayerParameter.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("fails", [False, True])
def test_a_plug_in_may_load_another(write: Write, fails: bool) -> None:
    other = (MESSAGE + TYPE).replace("mine", "yours").replace("Mine", "Yours")
    inner = write(other, "yours.py")
    outer = write(f"import netc\n{MESSAGE}netc.load_plugin({inner!r})\n{TYPE}{'1 / 0' if fails else ''}")
    if fails:
        with pytest.raises(NetcError, match="ZeroDivisionError"):
            netc.load_plugin(outer)
    else:
        netc.load_plugin(outer)
        assert registry()["Mine"].plugin == outer
    assert registry()["Yours"].plugin == inner
    assert ("Mine" in registry()) != fails
    assert ("mine_param" in proto.LayerParameter.DESCRIPTOR.fields_by_name) != fails
    assert "yours_param" in proto.LayerParameter.DESCRIPTOR.fields_by_name


def test_several_plug_ins_live_side_by_side(write: Write) -> None:
    netc.load_plugin(write(MESSAGE + TYPE))
    other = (MESSAGE + TYPE).replace("mine", "yours").replace("Mine", "Yours")
    netc.load_plugin(write(other, "yours.py"))
    net = f'{NET}\nlayer {{ name: "n" type: "Yours" bottom: "y" top: "z" yours_param {{ gain: 4 }} }}'
    assert len(netc.compile_net(net).nodes) == 3


def test_a_net_from_before_can_be_saved_and_recompiled(write: Write, tmp_path: Path) -> None:
    from netc.weights.formats.caffemodel import caffemodel_chunks, trained_net

    param = netc.read_net(NET.replace("Mine", "Power").replace("mine_param { gain: 4 }", ""))
    net = netc.load_net(param)
    netc.load_plugin(write(MESSAGE + TYPE))
    assert netc.compile_net(param).nodes[1].type == "Power"
    saved = b"".join(bytes(part) for part in caffemodel_chunks(trained_net(net.graph.param), {}))
    assert proto.NetParameter.FromString(saved).layer[1].type == "Power"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('message("mine_param", "MineParameter", 20)', "the number of mine_param is 20; it lies between 20000"),
        ('message("pooling_param", "MineParameter")', "LayerParameter has the field pooling_param = 121 already"),
        ('message("mine_param", "PoolingParameter")', "there is a message PoolingParameter already"),
        ('message("a b", "MineParameter")', '"a b" is not a name for a field'),
        ('message("mine_param", "Mine", a=Field(1, "int"))', 'a is a "int"; there are double, float,'),
        ('message("mine_param", "Mine", a=Field(1, "float"), b=Field(1, "float"))', "a and b have the same number, 1"),
        ('message("mine_param", "Mine", a=Field(19001, "float"))', "a cannot have the number 19001"),
        ('message("mine_param", "Mine", a=Field(1, "int32", default=1.5))', "a cannot have the default 1.5"),
        ('message("mine_param", "Mine", a=Field(1, ["X"], default="Y"))', "a cannot have the default 'Y'"),
        ('message("mine_param", "Mine", a=Field(1, "bool", default=True, repeated=True))', "a is repeated"),
    ],
)
def test_a_message_that_cannot_be_is_told_at_its_line(write: Write, text: str, part: str) -> None:
    error = refused(write(f"\n{text}\n{TYPE}"))
    assert (error.code, error.line) == ("C212", 3)
    assert part in error.message


def test_declarations_at_odds_with_each_other(write: Write) -> None:
    twice = MESSAGE.replace('"MineParameter"', '"MineParameter", 30000') + MESSAGE.replace("mine_param", "other_param")
    error = refused(write(twice + TYPE))
    assert error.code == "C212"
    assert "MineParameter" in error.message
    assert refused(write(TYPE, "b.py")).message.endswith(
        'the type Mine has param_field = "mine_param", which no message is declared for'
    )
    same = MESSAGE.replace('"MineParameter"', '"A", 30000') + MESSAGE.replace(
        '"mine_param", "MineParameter"', '"b", "B", 30000'
    )
    assert refused(write(same + TYPE, "c.py")).code == "C212"


def test_code_that_fails_is_told_at_its_line(write: Write) -> None:
    error = refused(write("\n\n" + TYPE + "\n1 / 0\n"))
    assert (error.code, error.line) == ("C211", 13)
    assert "ZeroDivisionError: division by zero" in error.message
    error = refused(write("class A(:\n", "syntax.py"))
    assert (error.code, error.line) == ("C211", 2)


def test_a_type_that_exists_is_refused(write: Write) -> None:
    for number, name in enumerate(("Pooling", "Input")):
        text = TYPE.replace("Mine", name).replace("mine_param", "pooling_param")
        error = refused(write(text, f"{number}.py"))
        assert error.code == "C213"
        assert f'"{name}"' in error.message


def test_what_is_not_there(tmp_path: Path) -> None:
    assert refused(str(tmp_path / "none.py")).code == "C210"
    assert refused(str(tmp_path)).code == "C210"


def test_faults_in_setup_and_forward_name_the_plug_ins_line(write: Write) -> None:
    path = write(MESSAGE + TYPE.replace("return [bottoms[0]]", "return [bottoms[0]] if len(bottoms[0]) < 3 else [][0]"))
    netc.load_plugin(path)
    with pytest.raises(NetcError) as caught:
        netc.compile_net(NET.replace("dim: 3", "dim: 3 dim: 4"))
    assert (caught.value.code, caught.value.line) == ("L334", 2)
    assert caught.value.related[0][0].line == 8
    net = netc.load_net(NET)
    type(net.graph.nodes[1].layer).forward = lambda self, run, bottoms, params: []  # type: ignore[method-assign]
    with pytest.raises(NetcError) as caught:
        net(x=torch.ones(2, 3))
    assert caught.value.code == "R603"


def test_a_fault_in_forward_names_the_plug_ins_line(write: Write) -> None:
    netc.load_plugin(write(MESSAGE + TYPE.replace("options.gain", "options.gone")))
    with pytest.raises(NetcError) as caught:
        netc.load_net(NET)(x=torch.ones(2, 3))
    error = caught.value
    assert (error.code, error.line) == ("R603", 2)
    assert (Path(error.related[0][0].path).name, error.related[0][0].line) == ("mine.py", 10)


def test_commands_take_the_option(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tmp_path / "n.prototxt"
    net.write_text(NET)
    assert main(["check", str(net)]) == 65
    assert main(["check", str(net), "--plugin", write(MESSAGE + TYPE)]) == 0
    assert "Mine" in capsys.readouterr().out
    assert main(["check", str(net), "--plugin", str(tmp_path / "no.py")]) == 2
    assert main(["device_query", "--plugin", "x.py"]) == 2  # it reads no net


def test_what_is_installed_goes_before_what_lies_beside_a_plugin(write: Write, tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("open('sprung', 'w').close()")
    (tmp_path / "beside_a_plugin.py").write_text("X = 1")
    before = list(sys.path)
    netc.load_plugin(write("import colorsys, beside_a_plugin\nassert colorsys.rgb_to_hsv\n", "imports.py"))
    assert sys.path == before
