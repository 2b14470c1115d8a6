"""A localiser of raccoons: GoogLeNet's convolutions as they are, and four outputs behind them, trained on photos.

Crops of 112 pixels out of a shorter side of 128: a quarter of the work, and a raccoon is still one.

Every fifth photo of the shared raccoon set is for testing.
"""

from __future__ import annotations

from pathlib import Path

import netc
from netc import proto
from netc.cli import main
from netc.prototxt.format import canonical

HEAD = """
layer { name: "data" type: "Data" top: "data" top: "label" top: "box" include { phase: TRAIN }
  transform_param { rescale_param { short_side: 128 } crop_size: 112 mirror: true mean_value: [104, 117, 123] }
  data_param { source: "train_lmdb" backend: LMDB batch_size: 16 sampling_param { shuffle: true } } }
layer { name: "data" type: "Data" top: "data" top: "label" top: "box" include { phase: TEST }
  transform_param { rescale_param { short_side: 128 } crop_size: 112 mean_value: [104, 117, 123] }
  data_param { source: "test_lmdb" backend: LMDB batch_size: 20 } }
"""
TAIL = """
layer { name: "small" type: "Convolution" bottom: "inception_5b/output" top: "small"
  convolution_param { num_output: 64 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "relu_small" type: "ReLU" bottom: "small" top: "small" }
layer { name: "drop" type: "Dropout" bottom: "small" top: "small" dropout_param { dropout_ratio: 0.3 } }
layer { name: "fc_box" type: "InnerProduct" bottom: "small" top: "fc_box"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0.001 } bias_filler { value: 0.5 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "fc_box" bottom: "box" top: "loss" }
layer { name: "unread" type: "Silence" bottom: "label" }
"""
SOLVER = """net: "raccoons.prototxt" type: "Adam" base_lr: 0.001 momentum: 0.9 momentum2: 0.999 weight_decay: 0.0005
lr_policy: "step" stepsize: {step} gamma: 0.1 max_iter: {iterations} test_interval: {iterations}
test_initialization: false display: 10 average_loss: 10 snapshot: {iterations} snapshot_prefix: "raccoons"
random_seed: 1 weights: "{weights}"
"""


def net(trunk: Path) -> str:
    """The train_val.prototxt: `trunk` is GoogLeNet's deploy.prototxt."""
    given = netc.read_net(trunk)
    names = [layer.name for layer in given.layer]
    body = given.layer[1 : names.index("inception_5b/output") + 1]
    made = proto.NetParameter(name="raccoons")
    made.layer.extend(netc.read_net(HEAD).layer)
    for layer in body:
        layer.ClearField("param")
        if layer.type == "Convolution":
            layer.param.extend([proto.ParamSpec(lr_mult=0), proto.ParamSpec(lr_mult=0)])
    made.layer.extend(body)
    made.layer.extend(netc.read_net(TAIL).layer)
    return canonical(made)


def prepare(folder: Path, photos: Path, googlenet: Path, iterations: int) -> None:
    """Databases, net and solver in `folder`."""
    names = sorted((path.name for path in (photos / "images").iterdir()), key=lambda name: (len(name), name))
    for kind, fold in (("train", (0, 1, 2, 3)), ("test", (4,))):
        chosen = [name for place, name in enumerate(names) if place % 5 in fold]
        (folder / f"{kind}.txt").write_text("".join(f"{name} 0\n" for name in chosen))
        words = [str(photos / "images"), str(folder / f"{kind}.txt"), str(folder / f"{kind}_lmdb"), "--encoded"]
        (folder / "names.txt").write_text("raccoon\n")
        more = ["--boxes", str(photos / "annotations"), "--labels", str(folder / "names.txt")]
        assert main(["convert-imageset", *words, *more]) == 0
    (folder / "raccoons.prototxt").write_text(net(googlenet / "deploy.prototxt"))
    weights = googlenet / "bvlc_googlenet.caffemodel"
    step = iterations * 2 // 3
    (folder / "solver.prototxt").write_text(SOLVER.format(iterations=iterations, step=step, weights=weights))
