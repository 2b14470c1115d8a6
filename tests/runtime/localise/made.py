"""Localisers on the demonstration's classifier, mini_vgg_A: the data and the head are those of mini_vgg_D_*."""

from __future__ import annotations

import netc
from netc.files.shipped import FOLDER
from netc.prototxt.format import canonical


def on_net_a(kind: str) -> str:
    """The train_val.prototxt. `kind`: SCR or PCR."""
    head = netc.read_net(FOLDER / f"mini_vgg_D_{kind}" / "train_val.prototxt")
    trunk = netc.read_net(FOLDER / "mini_vgg_A" / "train_val.prototxt")
    names = [layer.name for layer in head.layer]
    ours, last = list(head.layer), names.index("fc8_box")
    body = [layer for layer in trunk.layer[2:] if layer.name not in ("fc8", "loss", "accuracy", "accuracy_top5")]
    layers = [*ours[:2], *body, *ours[last:]]
    copies = type(head)(name=f"mini_vgg_A_{kind}")
    copies.layer.extend(layers)
    return canonical(copies)


def solver(kind: str, iterations: int, weights: str, fc_alone: bool = False) -> str:
    """As the shipped solvers have it, for fewer iterations: the rate falls to a tenth after two thirds of them."""
    suffix = "_fc" * fc_alone
    base = netc.read_solver(FOLDER / f"mini_vgg_D_{kind}" / f"solver{suffix}.prototxt")
    base.net, base.snapshot_prefix = f"{kind}.prototxt", f"{kind}{suffix}"
    base.ClearField("plateau_param")
    base.ClearField("transplant_param")
    base.max_iter = base.snapshot = iterations
    base.lr_policy, base.stepsize = "step", max(1, iterations * 2 // 3)
    base.test_interval = max(1, iterations // 4)
    base.weights.append(weights)
    return canonical(base)
