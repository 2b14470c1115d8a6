"""`netc check`: every error of every stage, remarks, sizes; quick, and without torch."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from netc.cli._main import run
from netc.errors.words import in_bytes, scaled, table
from tests.models.nets import FULL, NETS, starts_from_a

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 5 dim: 3 dim: 31 dim: 40 } shape { dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""

SOLVER = """
net: "net.prototxt"
base_lr: 0.1
lr_policy: "fixed"
max_iter: 1000
test_interval: 10
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """check(text, *options, name=…): exit status, parsed JSON of that one file."""
    monkeypatch.chdir(tmp_path)

    def checked(text, *options, name="net.prototxt"):
        Path(name).write_text(text)
        status = run(["check", name, "--json", *options])
        return status, json.loads(capsys.readouterr().out)["files"][0]

    return checked


def messages(found, kind="warnings"):
    return [entry["message"] for entry in found[kind]]


def test_names_do_not_drive_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = 'data_param { source: "nope" batch_size: 2 } transform_param { crop_size: 8 }'
    Path("net.prototxt").write_text(f'layer {{ name: "a\\033[31m" type: "Data" top: "x" top: "y" {data} }}')
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *args: False)  # as on a terminal
    run(["check", "net.prototxt"])
    printed = capsys.readouterr()
    assert 'the data of layer "a\\x1b[31m" are not here' in printed.out
    assert "\x1b" not in printed.out + printed.err


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_numbers_of_a_small_net(check):
    status, found = check(NET)
    assert status == 0
    assert [net["phase"] for net in found["nets"]] == ["TRAIN", "TEST"]
    net = found["nets"][0]
    ip = 4 * 16 * 20 * 7
    assert net["parameters"] == 4 * 3 * 9 + 4 + ip + 7
    assert net["multiply_adds_per_image"] == 4 * 31 * 40 * 27 + ip
    assert net["outputs"] == {"loss": []}
    layers = {layer["name"]: layer for layer in net["layers"]}
    assert layers["pool"]["tops"] == {"pool": [5, 4, 16, 20]}
    assert layers["pool"]["receptive_field"] == {"size": [4, 4], "stride": [2, 2], "start": [-1, -1]}
    assert layers["ip"]["receptive_field"]["size"] == [34, 42]


def test_table_for_a_reader(check, capsys):
    check(NET)
    assert run(["check", "net.prototxt", "--phase", "TRAIN", "--batch", "10"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "net.prototxt: a net, no errors, 1 warning"
    assert out[2] == "small (TRAIN), 10 images"
    rows = [line.split() for line in out[3:9]]
    assert rows[0] == [
        "layer",
        "type",
        "output",
        "parameters",
        "multiply-adds",
        "receptive",
        "field",
        "stride",
        "memory",
    ]
    assert rows[2] == ["conv", "relu", "Convolution", "5×4×31×40", "112", "133.9", "k", "3", "1", "193.8", "KiB"]
    assert rows[5] == ["loss", "SoftmaxWithLoss", "scalar"]
    assert len({line.index("Convolution") for line in out if "Convolution" in line}) == 1


@pytest.mark.parametrize(
    "number, text",
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.00 k"),
        (19_632_062_464, "19.63 G"),
        (999_999, "1000 k"),
        (7 * 10**13, "70.00 T"),
    ],
)
def test_scaled(number, text):
    assert scaled(number) == text


@pytest.mark.parametrize(
    "count, text", [(12, "12 B"), (1024, "1.0 KiB"), (574_668_960, "548.0 MiB"), (2**41, "2.0 TiB")]
)
def test_in_bytes(count, text):
    assert in_bytes(count) == text


def test_table_aligns_and_leaves_empty_columns_out():
    assert table(("a", "b", "long"), [("x", "", "1"), ("yyy", "", "22")], right=[2]) == [
        "a    long",
        "x       1",
        "yyy    22",
    ]


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_fault_of_one_stage_hides_no_other(check):
    text = NET.replace('bottom: "label"', 'bottom: "lable"').replace('type: "Pooling"', 'type: "Poling"')
    status, found = check(text.replace("num_output: 4", "num_output: 0"), "--phase", "TRAIN")
    assert status == 65
    assert found["nets"] == []
    assert sorted(error["code"] for error in found["errors"]) == ["G402", "G410", "L301"]
    assert all(error["line"] for error in found["errors"])


def test_an_error_of_both_phases_is_told_once(check):
    status, found = check(NET.replace("num_output: 7", ""))
    assert (status, len(found["errors"])) == (65, 1)


def test_errors_of_several_files(tmp_path, capsys):
    for name in "ab":
        (tmp_path / f"{name}.prototxt").write_text(f'nane: "{name}"')
    assert run(["check", str(tmp_path / "a.prototxt"), str(tmp_path / "b.prototxt")]) == 65
    captured = capsys.readouterr()
    assert captured.err.count("error[S201]") == 2
    assert "Traceback" not in captured.err


def test_missing_file_and_unknown_net(capsys):
    assert run(["check", "vgg_F"]) == 66
    assert 'did you mean "vgg_' in capsys.readouterr().err
    assert run(["check", "no/such.prototxt"]) == 66
    assert "error[F101]" in capsys.readouterr().err


def test_solver_with_its_nets(check):
    check(NET)
    status, found = check(SOLVER, name="solver.prototxt")
    assert (status, found["kind"]) == (0, "solver")
    assert [net["phase"] for net in found["nets"]] == ["TRAIN", "TEST"]


def test_errors_of_the_solver_and_of_its_net_together(check):
    check(NET.replace("num_output: 7", ""))
    status, found = check(SOLVER.replace("fixed", "fixd"), name="solver.prototxt")
    assert status == 65
    assert [(error["code"], error["path"]) for error in found["errors"]] == [
        ("R612", "solver.prototxt"),
        ("L301", "net.prototxt"),
    ]


def test_solver_without_a_net(check):
    status, found = check("base_lr: 0.1 max_iter: 3 lr_policy: 'fixed'", name="solver.prototxt")
    assert (status, [error["code"] for error in found["errors"]]) == (65, ["R610"])


# -- data --------------------------------------------------------------------------------------------------------------

DATA = """
layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { %s } data_param { source: "there_lmdb" batch_size: 6 backend: LMDB } }
"""


def test_data_that_are_not_there_are_assumed(check):
    status, found = check(DATA % "crop_size: 9")
    assert status == 0
    assert found["nets"][0]["layers"][0]["tops"] == {"data": [6, 3, 9, 9], "label": [6]}
    assert found["nets"][0]["notes"] == ['the data of layer "data" are not here: its images are taken to be 3×9×9']


def test_data_of_unknown_size_must_be_there(check):
    status, found = check(DATA % "")
    assert status == 66
    assert "there_lmdb" in messages(found, "errors")[0]


def test_data_that_are_there_are_looked_at(check, shared):
    database = next((shared / "goldens/data").rglob("data.mdb"), None)
    if database is None:
        pytest.skip("no database among the goldens")
    status, found = check(DATA.replace("there_lmdb", str(database.parent)) % "")
    assert (status, found["nets"][0]["notes"]) == (0, [])
    assert found["nets"][0]["layers"][0]["tops"]["data"][0] == 6


# -- remarks -----------------------------------------------------------------------------------------------------------


def test_pooling_that_depends_on_rounding(check):
    _, found = check(NET)
    assert messages(found) == [
        'layer "pool" gives 16×20: Caffe rounds the size of a pooling up, where rounding down would give 15×20'
    ]
    assert messages(check(NET.replace("dim: 31", "dim: 32"))[1]) == []
    assert messages(check(NET.replace("stride: 2", "stride: 2 round_mode: FLOOR"))[1]) == []


def test_net_without_a_loss(check):
    _, found = check(NET[: NET.index('layer { name: "loss"')], "--phase", "TRAIN")
    assert any("has no loss" in message for message in messages(found))


def test_blob_that_nothing_reads(check):
    spare = 'layer { name: "spare" type: "ReLU" bottom: "pool" top: "spare" }'
    _, found = check(NET.replace("dim: 31", "dim: 32") + spare)
    assert messages(found) == ['nothing reads the blob "spare" of layer "spare"']


def test_the_papers_words_do_not_train(check):
    """docs/numerics.md, T1, measured scores of 6e7 in net A with std 0.1, 6e-4 with 0.01, and 1e-7 in E."""
    root = Path(__file__).resolve().parents[2]
    texts = {
        std: (root / "models/vgg_A/train_val.prototxt").read_text().replace("0.01 }", f"{std} }}")
        for std in (0.1, 0.01)
    }
    (message,) = messages(check(texts[0.1])[1])
    assert "will explode" in message
    assert 6e6 < float(message.split("about ")[1].split()[0]) < 6e8
    assert messages(check(texts[0.01])[1]) == []
    (message,) = messages(check((root / "models/vgg_E/train_val.prototxt").read_text())[1])
    assert "will die out" in message
    assert 1e-8 < float(message.split("about ")[1].split()[0]) < 1e-6


def test_transplants_that_cannot_be(check):
    check(NET.replace("dim: 31", "dim: 32"))
    extra = 'transplant_param { weights: "a.caffemodel" copy { layer: "conv" } copy { layer: "cov" } }'
    status, found = check(SOLVER + extra, name="solver.prototxt")
    assert status == 0
    assert messages(found)[0].startswith("these weights are not here:")
    assert messages(found)[1] == 'the net has no layer "cov"; did you mean "conv"?'


# -- shipped nets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_shipped_nets_are_without_errors(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["check", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["files"][0]
    assert [net["phase"] for net in found["nets"]] == ["TRAIN", "TEST"]
    weights = [message for message in messages(found) if "weights" in message]
    assert messages(found) == weights
    assert len(weights) == starts_from_a(name)


def test_full_nets_answer_at_once_without_torch():
    """Far under two seconds of processor time, interpreter and imports included: a limit that a busy machine keeps. The
    figure, 0.2 to 0.4 s, is measured by tools/bench_start.py."""
    for name in FULL:
        assert seconds_of_check(name) < 2


def seconds_of_check(name):
    root = Path(__file__).resolve().parents[2]
    code = "import sys; from netc.cli import main; s = main(sys.argv[1:]); sys.exit(9 if 'torch' in sys.modules else s)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, "check", name], cwd=root, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# -- settings without effect -------------------------------------------------------------------------------------------


def test_old_fields_of_a_data_layer_are_remarked_on(check):
    data = 'layer { name: "d" type: "Data" top: "x" transform_param { crop_size: 5 mean_value: [1, 2, 3] } data_param {'
    _, found = check(f'{data} source: "none" batch_size: 2 backend: LMDB\nmirror: true }} }}', "--phase", "TEST")
    remark = next(entry for entry in found["warnings"] if "data_param.mirror" in entry["message"])
    assert "has no effect in the current format" in remark["message"]
    assert remark["line"] == 2


def test_settings_of_another_type_are_remarked_on(check):
    shape = "input_param { shape { dim: 2 dim: 3 } }"
    blocks = "pooling_param { pad: 1 } transform_param { scale: 2 }"
    _, found = check(f'layer {{ name: "x" type: "Input" top: "x" {shape} {blocks} }}', "--phase", "TEST")
    assert [f'layer "x" (Input) does not read {name}' for name in ("transform_param", "pooling_param")] == [
        message for message in messages(found) if "does not read" in message
    ]
    assert not [message for message in messages(check(NET)[1]) if "does not read" in message]
