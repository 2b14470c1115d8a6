"""solver.prototxt of one configuration."""

from __future__ import annotations

from tools.models.table import TRANSPLANTED, Config

FULL = """\
# Mini-batch gradient descent with momentum (Sect. 3.1); the batch, 256, stands in train_val.prototxt.
type: "SGD"
base_lr: 0.01
momentum: 0.9
weight_decay: 0.0005

# "Decreased by a factor of 10 when the validation set accuracy stopped improving", three times in all.
lr_policy: "plateau"
gamma: 0.1
plateau_param { output: "accuracy" patience: 5 max_drops: 3 }
max_iter: 370000  # 74 epochs

# One test on the whole validation set an epoch (1,281,167 images are 5004.6 batches).
test_interval: 5000
test_initialization: false

display: 20
average_loss: 20
snapshot: 10000
"""

MINI = """\
# Mini-batch gradient descent with momentum (Sect. 3.1); the batch, 64, stands in train_val.prototxt.
type: "SGD"
base_lr: 0.01
momentum: 0.9
weight_decay: 0.0005

# The paper's rule: a tenth of the rate when the validation accuracy stops improving, three times in all.
lr_policy: "plateau"
gamma: 0.1
plateau_param { output: "accuracy" patience: 10 max_drops: 3 }
max_iter: 3000

# Each test takes the whole of val_lmdb.
test_interval: 50
test_initialization: false

display: 10
average_loss: 10
snapshot: 1000
"""


def solver(config: Config) -> str:
    """How the net is trained."""
    head = f"# Trains {config.name}: `netc train {config.name}`. README.md says where each number comes from.\n"
    rest = MINI if config.mini else FULL
    prefix = f'snapshot_prefix: "{config.name}"  # in the working folder\nrandom_seed: 1\n'
    return f'{head}net: "train_val.prototxt"\n\n{rest}{prefix}{_transplant(config)}'


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
