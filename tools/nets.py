"""The nets that come with netc, without their data: what benchmarks run, and a solver to run them by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netc.graph.read import read_net, read_solver

MODELS = Path(__file__).resolve().parent.parent / "models"

SOLVER = (
    'base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 random_seed: 1 snapshot_after_train: false'
)


def with_inputs(model: str, batch: int, crop: int = 0) -> Any:
    """A shipped net (NetParameter), its data layers replaced by inputs of the same shape. `crop`: another size."""
    layers = read_net(MODELS / model / "train_val.prototxt").layer
    crop = crop or layers[0].transform_param.crop_size
    net = read_net(f"""layer {{
        name: "in" type: "Input" top: "data" top: "label"
        input_param {{ shape {{ dim: [{batch}, 3, {crop}, {crop}] }} shape {{ dim: {batch} }} }} }}""")
    net.layer.extend(layer for layer in layers if layer.type not in ("Data", "Accuracy"))
    return net


def solver_of(model: str, batch: int, crop: int = 0) -> Any:
    """A solver (SolverParameter) of such a net."""
    solver = read_solver(SOLVER)
    solver.net_param.CopyFrom(with_inputs(model, batch, crop))
    return solver


def random_batch(shape: tuple[int, ...], classes: int = 10, device: str = "cpu") -> dict[str, Tensor]:
    """Images and labels, the same for the same shape."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(shape, generator=generator) * 60
    label = torch.randint(0, classes, shape[:1], generator=generator).float()
    return {"data": data.to(device), "label": label.to(device)}
