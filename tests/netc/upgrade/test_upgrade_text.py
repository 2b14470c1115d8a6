"""Old files written anew in the current format: what they say, and where their comments go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc import NetcError, proto, read_net, read_solver
from netc.graph.read import draft_net
from netc.prototxt import Source, parse
from netc.prototxt.format import canonical
from netc.prototxt.rewrite import formatted
from netc.upgrade.text import upgraded_net, upgraded_solver

V0 = """# An old net
name: "old"

# the picture
input: "image"   # BGR
input_dim: 1 # batch
input_dim: 3 input_dim: 8 input_dim: 9

# padding
layers {
  layer { name: "pad1" type: "padding" pad: 2 } # two
  bottom: "image" top: "padded"
}

# first
layers { # conv
  layer { # inner
    name: "conv1"
    # kind
    type: "conv"
    num_output: 4   # outputs
    # kernel
    kernelsize: 0x3
    weight_filler { type: "gaussian" std: 1e-2 }
    blobs_lr: 1  # w
    blobs_lr: 2  # b
    weight_decay: 0.5
    # after
  } # end inner
  bottom: "padded"
  top: "conv1"
} # end conv
layers { layer { name: "lrn" type: "lrn" local_size: 5 } bottom: "conv1" top: "lrn" }
# end
"""

V0_NOW = """# An old net
name: "old"

# the picture
# batch
layer { name: "input" type: "Input" top: "image" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } } }  # BGR

# first
layer {  # conv
  # inner
  name: "conv1"
  # kind
  type: "Convolution"
  # two
  bottom: "image"
  # after
  # end inner
  top: "conv1"
  convolution_param {
    # padding
    pad: 2
    num_output: 4  # outputs
    # kernel
    kernel_size: 0x3
    weight_filler { type: "gaussian" std: 1e-2 }
  }
  param { lr_mult: 1 decay_mult: 0.5 }  # w
  param { lr_mult: 2 }  # b
}  # end conv
layer { name: "lrn" type: "LRN" bottom: "conv1" top: "lrn" lrn_param { local_size: 5 } }
# end
"""

V1 = """layers { bottom: "x" top: "c" name: "c" type: CONVOLUTION blobs_lr: [1, 2] # rates
 weight_decay: 1 # d1
 weight_decay: 0 # d2
  convolution_param { num_output: 2 # n
    kernel_size: 3 } }

layers {
  name: "d"  # data
  type: DATA
  top: "d"
  data_param { # src
    source: 's'
    # mean
    mean_file: "m"
    batch_size: 2
    scale: 0.00390625 # 1/256
  }
  # why
  include: { phase: TRAIN }
}
"""

V1_NOW = """layer {
  name: "c"
  type: "Convolution"
  bottom: "x"
  top: "c"
  # rates
  param { lr_mult: 1 decay_mult: 1 }  # d1
  param { lr_mult: 2 decay_mult: 0 }  # d2
  convolution_param {
    num_output: 2  # n
    kernel_size: 3
  }
}

layer {
  name: "d"  # data
  type: "Data"
  top: "d"
  data_param {  # src
    source: "s"
    batch_size: 2
  }
  transform_param {
    # mean
    mean_file: "m"
    scale: 0.00390625  # 1/256
  }
  # why
  include { phase: TRAIN }
}
"""

INPUTS = """layer { name: "r" type: "ReLU" bottom: "a" top: "b" }  # stays
input: "a"  # in
input_shape { dim: [2, 3] }
state { level: 3 }
"""

INPUTS_NOW = """layer { name: "input" type: "Input" top: "a" input_param { shape { dim: [2, 3] } } }  # in
layer { name: "r" type: "ReLU" bottom: "a" top: "b" }  # stays
state { level: 3 }
"""


def net(text: str | Source) -> str | None:
    return upgraded_net(draft_net(text)).text


def solver(text: str | Source) -> str | None:
    source = Source(text) if isinstance(text, str) else text
    return upgraded_solver(source, parse(source)).text


@pytest.mark.parametrize(("old", "now"), [(V0, V0_NOW), (V1, V1_NOW), (INPUTS, INPUTS_NOW)], ids=["V0", "V1", "inputs"])
def test_comments_go_where_their_fields_go(old: str, now: str) -> None:
    assert net(old) == now
    assert formatted(Source(now)) == now
    assert net(now) is None, "there is nothing left to upgrade"
    assert canonical(read_net(now)) == canonical(read_net(old))


def test_a_batch_norm_alone_changes() -> None:
    text = (
        'layer { name: "r" type: "ReLU" }\nlayer {\n  type: "BatchNorm"  # bn\n  param {\n    lr_mult: 1  # one\n  }\n'
    )
    text += "  param { lr_mult: 0 }\n  param {}\n}\n"
    assert net(text) == (
        'layer { name: "r" type: "ReLU" }\nlayer {\n  type: "BatchNorm"  # bn\n  param {\n    lr_mult: 0  # one\n'
        "    decay_mult: 0\n  }\n  param { lr_mult: 0 decay_mult: 0 }\n  param { lr_mult: 0 decay_mult: 0 }\n}\n"
    )


def test_a_solver_and_the_nets_in_it() -> None:
    text = """solver_type: 2  # AdaGrad
base_lr: 0.010
# the net
net_param { name: "x"  # inner
  layers { name: "r" type: RELU blobs_lr: 3 bottom: "a" top: "b" } }
test_net_param { layer { name: "new" } }
test_net_param { layers { name: "old" type: DATA } }
"""
    now = """type: "AdaGrad"  # AdaGrad
base_lr: 0.010
# the net
net_param {
  name: "x"  # inner
  layer { name: "r" type: "ReLU" bottom: "a" top: "b" param { lr_mult: 3 } }
}
test_net_param { layer { name: "new" } }
test_net_param { layer { name: "old" type: "Data" } }
"""
    assert solver(text) == now
    assert solver(now) is None


def test_the_history_of_caffe(shared: Path) -> None:
    """The rewritten text of every second file is read to what Caffe's tool makes of the file."""
    folder = shared / "goldens/upgrade"
    written = 0
    for name, case in list(json.loads((folder / "upgrade.json").read_text()).items())[::6]:
        source = Source.read(folder / name)
        if case["rc"]:
            continue
        text = net(source) if case["kind"] == "net" else solver(source)
        written += text is not None
        if text is not None and "consolidated" not in name:  # there the net in the solver is upgraded too
            read = read_net if case["kind"] == "net" else read_solver
            assert canonical(read(Source(text))) == (folder / name.replace(".in.", ".out.")).read_text()
            assert formatted(Source(text)) == text
    assert written > 15


@pytest.mark.slow
def test_the_zoo(shared: Path) -> None:
    """No net of the zoo loses a comment or changes its meaning (that would be error O150)."""
    faults: list[str] = []
    for path in sorted((shared / "zoo").glob("prototxt*/*.prototxt")):
        try:
            upgraded_net(draft_net(path))
        except NetcError as error:
            faults += [str(error)] if error.code == "O150" else []
    assert faults == []


COMMENT = st.sampled_from(["", " ", "\n", "  # c\n", "\n# d\n", "\n\n# e\n\n"])
V1_FIELDS = st.sampled_from(
    [
        'name: "n"',
        "type: CONVOLUTION",
        'bottom: "a"',
        'top: "b"',
        "blobs_lr: 1",
        "blobs_lr: [2, 3]",
        "weight_decay: 0.5",
    ]
    + [
        'param: "w"',
        "blob_share_mode: STRICT",
        "loss_weight: 1e0",
        "include { phase: TEST }",
        "data_param { scale: 2 }",
    ]
    + ["convolution_param {\n num_output: 3 # o\n kernel_size: [1,\n 2] }", "transform_param < mirror: t >"]
)
V0_FIELDS = st.sampled_from(
    ['name: "n"', 'type: "conv"', "num_output: 1", "pad: 0x1", "kernelsize: 3", "blobs_lr: 1", "weight_decay: 0"]
    + ["weight_filler { std: 1 }", "meanfile: 'm'", "cropsize: 4", "dropout_ratio: 0.5", "source: 's' # src\n"]
)
ONCE = {"name", "type", "convolution_param", "data_param", "transform_param"}


@st.composite
def layers(draw: st.DrawFn, v0: bool) -> str:
    seen: set[str] = set()
    parts = []
    for text in draw(st.lists(V0_FIELDS if v0 else V1_FIELDS, max_size=7)):
        name = text.partition(":")[0].partition(" ")[0]
        repeated = v0 and name in ("blobs_lr", "weight_decay")
        if name in seen and (name in ONCE or (v0 and not repeated)):
            continue
        seen.add(name)
        parts += [text, draw(COMMENT) + " "]
    inside = draw(COMMENT) + " ".join(parts)
    if v0:
        inside = f"layer {{ {inside} }} {draw(COMMENT)} top: 'x'"
    return f"layers {{ {inside} {draw(COMMENT)} }}{draw(COMMENT)}"


@st.composite
def old_nets(draw: st.DrawFn) -> str:
    v0 = draw(st.booleans())
    head = draw(st.sampled_from(["", 'name: "x" # n\n', 'input: "i" # i\n input_dim: [1, 2, # two\n 3, 4]', "# h\n\n"]))
    return head + draw(COMMENT) + "".join(draw(layers(v0)) for _ in range(draw(st.integers(1, 3))))


@given(old_nets())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_old_nets_at_random(text: str) -> None:
    """The same net, every comment (held by O150), nothing to upgrade twice, in canonical form."""
    now = net(text)
    assert now is not None
    source = Source(now)
    assert read_net(source) == read_net(Source(text))
    assert net(now) is None
    assert formatted(source) == now
    assert isinstance(read_net(source), proto.NetParameter)
