"""Where gradients flow: the last step of build."""

from __future__ import annotations

from netc.errors import NetcError, raise_all
from netc.graph.ir import Graph

TRAIN = 0


def mark_backward(graph: Graph) -> None:
    """Fill `backward` and `needs_backward` as Net::Init does: a layer needs a backward pass if a parameter of it or of
    a layer above learns, and if a loss lies below it.

    Raises NetcError(s) G413 where a gradient is asked of a bottom that has none.
    """
    flows: dict[str, bool] = {}
    for node in graph.nodes:
        incoming = [flows.get(blob, False) for blob in node.bottoms]
        wish = node.layer.param.propagate_down[:] or incoming
        node.needs_backward = any(incoming) or any(ref.learnable for ref in node.params)
        node.backward = tuple(bool(w) for w in wish)
        own = incoming if node.layer.parallel else [node.needs_backward] * len(node.tops)
        flows.update(zip(node.tops, own, strict=True))
    _skip_without_loss(graph)
    if graph.force_backward:
        _force(graph)
    raise_all(list(_impossible(graph)))


def _skip_without_loss(graph: Graph) -> None:
    under_loss: set[str] = set()
    for node in reversed(graph.nodes):
        reached = any(node.loss_weights) or not under_loss.isdisjoint(node.tops)
        node.needs_backward = node.needs_backward and reached
        if not node.needs_backward:
            node.backward = (False,) * len(node.bottoms)
        under_loss.difference_update(node.tops)
        if reached:
            under_loss.update(node.bottoms)


def _force(graph: Graph) -> None:
    for node in graph.nodes:
        skips = node.layer.force_backward_skips
        node.needs_backward = True
        node.backward = tuple(flag or i not in skips for i, flag in enumerate(node.backward))


def _impossible(graph: Graph) -> list[NetcError]:
    """Gradients asked of a bottom that has none, where a backward pass would run (Caffe aborts in it, and only there:
    a net of the TEST phase may take labels from a layer with weights)."""
    if graph.force_backward or graph.phase != TRAIN:
        return []
    found = []
    for node in graph.nodes:
        if node.layer.lenient:
            continue
        barred = range(len(node.bottoms)) if node.layer.no_gradient is None else node.layer.no_gradient
        for i in barred:
            if i < len(node.backward) and node.backward[i]:
                found.append(
                    NetcError(
                        "G413",
                        f'layer "{node.name}" ({node.type}) cannot pass a gradient to its bottom "{node.bottoms[i]}"',
                        node.layer.origin.place(f"bottom[{i}]"),
                        "that blob depends on trainable parameters: set their lr_mult to 0, or propagate_down: false",
                    )
                )
    return found
