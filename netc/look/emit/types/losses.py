"""Losses and scores."""

from __future__ import annotations

from netc.layers.base import count
from netc.layers.code import Code, number, quoted
from netc.layers.losses import BATCH_SIZE, FULL, NONE, VALID
from netc.look.emit.registry import Site, emits

_MODES = {FULL: "full", VALID: "valid", BATCH_SIZE: "batch_size", NONE: "none"}


@emits("SoftmaxWithLoss")
def softmax_with_loss(site: Site) -> Code:
    scores, labels = site.bottoms
    layer = site.layer
    if _is_cross_entropy(site):
        labels = _as_indices(site, labels)
        return Code(f"F.cross_entropy({scores}, {labels})")
    arguments = [scores, labels, *_loss_arguments(site, layer.axis)]
    weights = getattr(layer, "weights", None)
    if weights is not None:
        arguments.append(f"weights=[{', '.join(map(number, weights))}]")
    return Code(f"softmax_loss({', '.join(arguments)})")


def _is_cross_entropy(site: Site) -> bool:
    """Whether the mean over all positions is meant, of classes on axis 1."""
    layer = site.layer
    positions = count(site.shape) // site.shape[1] if len(site.shape) > 1 and site.shape[1] else 0
    whole = layer.mode in (FULL, VALID) or (layer.mode == BATCH_SIZE and len(site.shape) == 2)
    weighted = getattr(layer, "weights", None) is not None
    return bool(not weighted and layer.axis == 1 and layer.ignore is None and whole and positions)


def _as_indices(site: Site, labels: str) -> str:
    """Labels of any shape with one value a position as torch takes them: the scores' shape without the classes."""
    wanted = (site.shape[0], *site.shape[2:])
    given = site.node.bottom_shapes[1]
    if given == wanted:
        return f"{labels}.long()"
    if len(wanted) == 1:
        return f"{labels}.flatten().long()"
    if given == (wanted[0], 1, *wanted[1:]):
        return f"{labels}.squeeze(1).long()"
    return f"{labels}.reshape(-1, {', '.join(f'{site.x}.shape[{i + 2}]' for i in range(len(wanted) - 1))}).long()"


def _loss_arguments(site: Site, axis: int, default: int = VALID) -> list[str]:
    layer = site.layer
    arguments = [f"dim={axis}"] if axis != 1 else []
    if layer.ignore is not None:
        arguments.append(f"ignore={layer.ignore}")
    if layer.mode not in _MODES:  # Intel's PRE_FIXED
        return [*arguments, f"normalization={float(number(layer.param.loss_param.pre_fixed_normalizer))!r}"]
    return arguments + ([f"normalization={quoted(_MODES[layer.mode])}"] if layer.mode != default else [])


@emits("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(site: Site) -> Code:
    return Code(f"sigmoid_loss({', '.join([*site.bottoms, *_loss_arguments(site, 1, BATCH_SIZE)])})")


@emits("EuclideanLoss")
def euclidean_loss(site: Site) -> Code:
    return Code(f"euclidean_loss({', '.join(site.bottoms)})")


@emits("HingeLoss")
def hinge_loss(site: Site) -> Code:
    squared = ", squared=True" if site.options.norm == 2 else ""
    return Code(f"hinge_loss({', '.join(site.bottoms)}{squared})")


@emits("MultinomialLogisticLoss")
def multinomial_logistic_loss(site: Site) -> Code:
    return Code(f"multinomial_logistic_loss({', '.join(site.bottoms)})")


@emits("ContrastiveLoss")
def contrastive_loss(site: Site) -> Code:
    options = site.options
    margin = f", margin={number(options.margin)}" if options.margin != 1 else ""
    legacy = ", legacy=True" if options.legacy_version else ""
    return Code(f"contrastive_loss({', '.join(site.bottoms)}{margin}{legacy})")


@emits("InfogainLoss")
def infogain_loss(site: Site) -> Code:
    """The matrix is the third bottom, or stands in the code, as the file that held it may not travel with it."""
    layer = site.layer
    bottoms = list(site.bottoms)
    if len(bottoms) < 3:
        size = site.shape[layer.axis]
        rows = [layer.matrix[start : start + size] for start in range(0, size * size, size)]
        listed = ", ".join(f"[{', '.join(map(number, row))}]" for row in rows)
        bottoms.append(f"{site.x}.new_tensor([{listed}])")
    loss = f"infogain_loss({', '.join([*bottoms, *_loss_arguments(site, layer.axis)])})"
    if not layer.with_probabilities:
        return Code(loss)
    return Code((loss, f"torch.softmax({site.x}, dim={layer.axis})"))


@emits("Accuracy")
def accuracy(site: Site) -> Code:
    layer, options = site.layer, site.options
    arguments = [*site.bottoms]
    if options.top_k != 1:
        arguments.append(f"top_k={options.top_k}")
    if layer.axis != 1:
        arguments.append(f"dim={layer.axis}")
    if layer.ignore is not None:
        arguments.append(f"ignore={layer.ignore}")
    listed = ", ".join(arguments)
    return Code((f"accuracy({listed})", f"accuracy_by_class({listed})")[: len(site.node.tops)])
