"""At a prompt: what Tab shows, what a net looks like, examples in docstrings, names of shipped nets, errors."""

from __future__ import annotations

import base64
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import netc
import netc.pycaffe
from netc.check.examine import check
from netc.errors import NetcError
from netc.graph.page import LINES
from tests.runtime.pycaffe.nets import DEPLOY

PUBLIC = [
    *("average_precision", "check", "compile_net", "features", "load_net", "load_plugin", "load_solver", "merge_boxes"),
    *("posteriors", "read_net", "read_solver"),
]
"""Functions; the other public names are errors."""

LONG = DEPLOY + "".join(
    f'layer {{ name: "r{n}" type: "ReLU" bottom: "prob" top: "r{n}" }}' for n in range(100)
)  # fmt: skip


# -- names -------------------------------------------------------------------------------------------------------------


def test_tab_shows_the_public_names_and_nothing_else() -> None:
    assert dir(netc) == sorted([*PUBLIC, "NetcError", "NetcErrors", "__version__"])
    code = "import netc; print(dir(netc), 'torch' in __import__('sys').modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == f"{dir(netc)} False\n"
    with pytest.raises(AttributeError):
        _ = netc.nothing


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_have_full_types_and_say_what_they_do(name: str) -> None:
    function = check if name == "check" else getattr(netc, name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Parameter.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL), parameter
    assert len(inspect.getdoc(function) or "") > 60


@pytest.mark.parametrize("name", ["load_net", "load_solver", "read_net", "read_solver", "compile_net"])
def test_the_examples_in_docstrings_run(name: str) -> None:
    function = getattr(netc, name)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(function, name, globs={"netc": netc, "torch": torch}):
        runner.run(example)
    tried = runner.summarize()
    assert tried.failed == 0
    assert tried.attempted >= 1


# -- what a net looks like ---------------------------------------------------------------------------------------------


def test_a_net_and_its_graph_are_a_table() -> None:
    rows = [
        '"", TEST: 5 layers, 197 parameters>',
        "data  Input         data 2×3×4×4",
        "conv  Convolution   conv 2×4×2×2; 112 parameters",
        "relu  ReLU          conv 2×4×2×2",
        "fc    InnerProduct  fc 2×5; 85 parameters",
        "prob  Softmax       prob 2×5",
    ]
    assert repr(netc.compile_net(DEPLOY, "TEST")) == "\n".join(["<Graph " + rows[0], *rows[1:]])
    assert repr(netc.load_net(DEPLOY)) == str(netc.load_net(DEPLOY)) == "\n".join(["<Net " + rows[0], *rows[1:]])


def test_a_page_is_enough() -> None:
    tops = " ".join(f'top: "{"t" * 200}{n}"' for n in range(5))
    slices = f'layer {{ name: "s" type: "Slice" bottom: "fc" {tops} slice_param {{ axis: 1 }} }}'
    for text in (LONG, DEPLOY.replace('"prob"', f'"long\\033[31m name {"x" * 500}"'), DEPLOY + slices):
        for shown in (repr(netc.compile_net(text, "TEST")), repr(netc.pycaffe.Net(text, netc.pycaffe.TEST))):
            assert len(shown.splitlines()) <= LINES + 2
            assert max(map(len, shown.splitlines())) < 300
            assert "\033" not in shown
    assert "… 2 more tops" in shown
    assert "…" in repr(netc.load_net(LONG)).splitlines()


@pytest.mark.parametrize("load", [netc.load_net, lambda text: netc.pycaffe.Net(text, netc.pycaffe.TEST)])
def test_a_notebook_shows_a_table_and_a_picture(load: Any) -> None:
    html = load(DEPLOY.replace('"fc"', '"<fc>"'))._repr_html_()
    table = ElementTree.fromstring(html)
    rows = [[cell.text for cell in row] for row in table.iter("tr")]
    assert rows[0] == ["layer", "type", "tops", "parameters"]
    assert rows[4] == ["<fc>", "InnerProduct", "<fc> 2×5", "85"]
    assert table.find("details").get("open") is not None
    kind, _, content = table.find(".//img").get("src").partition(",")
    assert kind == "data:image/svg+xml;base64"
    words = re.findall(r">([^<>]+)</t", base64.b64decode(content).decode())
    assert "conv" in words
    assert "+ ReLU" in words
    assert "2×4×2×2" in words


def test_a_long_net_is_whole_in_a_notebook_and_its_picture_folded() -> None:
    table = ElementTree.fromstring(netc.compile_net(LONG, "TEST")._repr_html_())
    assert len(list(table.iter("tr"))) == 106
    assert table.find("details").get("open") is None


def test_pycaffes_net_is_shown_as_it_is_now() -> None:
    net = netc.pycaffe.Net(DEPLOY.partition('layer { name: "fc"')[0], netc.pycaffe.TEST)
    net.blobs["data"].reshape(7, 3, 9, 9)
    net.reshape()
    assert "7×4×7×7" in repr(net)
    source = ElementTree.fromstring(net._repr_html_()).find(".//img").get("src")
    drawn = base64.b64decode(source.partition(",")[2]).decode()
    assert "7×4×7×7" in drawn
    assert "2×4×2×2" not in drawn


# -- names of nets -----------------------------------------------------------------------------------------------------


def test_shipped_names_are_those_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert netc.load_net("mini_vgg_A").graph.path.endswith("models/mini_vgg_A/deploy.prototxt")
    assert netc.compile_net("vgg_D").path.endswith("models/vgg_D/train_val.prototxt")
    assert netc.compile_net("vgg_D", "TEST").path.endswith("models/vgg_D/deploy.prototxt")
    assert netc.read_net("vgg_D").name == "vgg_D"
    assert netc.read_solver("vgg_D").net
    assert netc.check("vgg_D").kind == "solver"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "deploy.prototxt").write_text(DEPLOY)
    assert list(netc.load_net("mine").outputs) == ["prob"]
    assert list(netc.load_net(Path("mine")).outputs) == ["prob"]
    (tmp_path / "vgg_D").write_text(DEPLOY)  # a file goes before a name
    assert list(netc.load_net("vgg_D").graph.shapes) == ["data", "conv", "fc", "prob"]


def test_a_shipped_solver_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its databases are not here, which is what it says, and not that there is no such file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetcError, match="_lmdb") as caught:
        netc.load_solver("mini_vgg_A")
    assert caught.value.code != "F103"


@pytest.mark.parametrize("call", [netc.load_net, netc.load_solver, netc.read_net, netc.read_solver, netc.compile_net])
def test_names_that_mean_nothing(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source, code, said in (("vgg_Z", "F103", "did you mean"), (5, "C252", "a int is")):
        with pytest.raises(NetcError, match=said) as caught:
            call(source)
        assert caught.value.code == code


# -- devices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [lambda **kw: netc.load_net(DEPLOY, **kw), lambda **kw: netc.load_solver("x", **kw)])
def test_devices_that_are_not_here(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    wrong = [("banana", "C251"), (None, "C251"), ("cuda", "C201"), ("cuda:0", "C201"), ("cuda:x", "C251")]
    for device, code in [*wrong, (torch.device("cuda"), "C201"), ("mps", "C201"), ("cuda:-1", "C251")]:
        with pytest.raises(NetcError) as caught:
            call(device=device)
        assert caught.value.code == code, device
        assert caught.value.hint
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(NetcError, match="torch sees 2") as caught:
        call(device="cuda:2")
    assert caught.value.code == "C201"


def test_devices_that_are_here() -> None:
    assert netc.load_net(DEPLOY, device=torch.device("cpu")).clock.step.device.type == "cpu"


# -- errors ------------------------------------------------------------------------------------------------------------

WRONG = 'layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { kernel_sise: 3 } }'


def in_a_cell(call: Any) -> NetcError:
    """The error of a call, as it comes out of code that is not netc's."""
    cell: dict[str, Any] = {}
    exec(compile("def cell(call, text):\n    call(text)\n", "<cell 1>", "exec"), cell)
    with pytest.raises(NetcError) as caught:
        cell["cell"](call, WRONG)
    return caught.value


@pytest.mark.parametrize("call", [netc.load_net, lambda text: netc.pycaffe.Net(text, 1)])
def test_a_notebook_shows_the_users_line_and_the_caret(call: Any) -> None:
    """IPython calls this method where there is one."""
    error = in_a_cell(call)
    shown = error._render_traceback_()
    assert "\n".join(shown).endswith(str(error))
    assert len(shown) < 8
    assert shown[0].startswith("  File ")
    caret = next(line for line in shown if "^" in line)
    above = shown[shown.index(caret) - 1]
    assert above[caret.index("^") : caret.rindex("^") + 1] == "kernel_sise"
    if call is netc.load_net:
        assert shown[0] == '  File "<cell 1>", line 2, in cell'


def test_a_plain_traceback_stays_as_python_prints_it() -> None:
    code = f"import netc; netc.load_net({WRONG!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "error[S201]" in done.stderr
    assert done.returncode == 1


def test_in_ipython() -> None:
    pytest.importorskip("IPython")
    code = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("import netc")
shell.run_cell({f"netc.load_net({WRONG!r})"!r})
shell.Completer.use_jedi = False
print(shell.Completer.complete("netc.")[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    *shown, completed = done.stdout.strip().splitlines()
    assert len(shown) < 10
    assert any("^^^" in line for line in shown)
    names = [name for name in dir(netc) if not name.startswith("_")]
    assert completed in (str([f"netc.{name}" for name in names]), str([f".{name}" for name in names]))  # by its version
