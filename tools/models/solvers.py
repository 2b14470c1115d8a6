"""solver.prototxt of one configuration."""

from __future__ import annotations

from tools.models.table import TRANSPLANTED, Config

TEXT = """\
# Trains {name}: `netc train {name}`. models/README.md of netc says where each number comes from.
net: "train_val.prototxt"

# Mini-batch gradient descent with momentum (Sect. 3.1); the batch, {batch}, stands in train_val.prototxt.
type: "SGD"
base_lr: 0.01
momentum: 0.9
weight_decay: 0.0005

# {policy}
lr_policy: "plateau"
gamma: 0.1
plateau_param {{ output: "accuracy" patience: {patience} max_drops: 3 }}
max_iter: {max_iter}

# {test}
test_interval: {test_interval}
test_initialization: false

display: {display}
average_loss: {display}
snapshot: {snapshot}
snapshot_prefix: "{name}"  # in the working folder
random_seed: 1
"""

FULL = {
    "batch": 256,
    "policy": '"Decreased by a factor of 10 when the validation set accuracy stopped improving", three times in all.',
    "patience": 5,
    "max_iter": "370000  # 74 epochs",
    "test": "One test on the whole validation set an epoch (1,281,167 images are 5004.6 batches).",
    "test_interval": 5000,
    "display": 20,
    "snapshot": 10000,
}

MINI = {
    "batch": 64,
    "policy": "The paper's rule: a tenth of the rate when the validation accuracy stops improving, three times in all.",
    "patience": 10,
    "max_iter": 3000,
    "test": "Each test takes the whole of val_lmdb.",
    "test_interval": 50,
    "display": 10,
    "snapshot": 1000,
}


def solver(config: Config) -> str:
    """How the net is trained."""
    return TEXT.format(name=config.name, **(MINI if config.mini else FULL)) + _transplant(config)


def _transplant(config: Config) -> str:
    if not config.from_a:
        return ""
    copies = "\n".join(f'  copy {{ layer: "{layer}" }}' for layer in TRANSPLANTED)
    return f"""
# "The first four convolutional layers and the last three fully-connected layers" come from a trained net A, the rest
# from the fillers. Without this block the net starts from its fillers alone.
transplant_param {{
  weights: "{config.base}_iter_*.caffemodel"  # the newest in the working folder
{copies}
}}
"""
