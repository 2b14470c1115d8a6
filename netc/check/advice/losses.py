"""What reaches a loss, what does not, and what a loss should not be given."""

from __future__ import annotations

from collections.abc import Iterator

from netc.check.advice.flow import TRAIN, trains
from netc.errors import Place, counted
from netc.errors.remark import Advice, listed
from netc.graph.edges import Top
from netc.graph.ir import Graph, Node


def nothing(graph: Graph) -> Iterator[Advice]:
    """A net without layers: an empty file, or one that is a comment throughout."""
    if not graph.nodes:
        hint = "is this the file that was meant, and do its include rules leave any layer?"
        yield Advice("A800", "this net has no layers", Place(graph.path), hint)


def no_loss(graph: Graph) -> Iterator[Advice]:
    """A net to be trained that has nothing to minimise."""
    learns = any(ref.learnable for _, _, ref in graph.own_params())
    if graph.phase == TRAIN and learns and not trains(graph):
        yield Advice(
            "A801",
            "the TRAIN net has no loss, so nothing in it would learn",
            Place(graph.path),
            "add a loss layer such as SoftmaxWithLoss, or check this net with --phase TEST",
        )


def unused(graph: Graph) -> Iterator[Advice]:
    """Blobs of a net to be trained that nothing reads and that are neither losses nor measurements."""
    for node in graph.nodes if trains(graph) else ():
        measures = node.layer.no_gradient is None
        for position, blob in enumerate(node.tops):
            if blob in graph.outputs and not measures and not node.loss_weights[position]:
                place = node.layer.origin.place(f"top[{position}]")
                yield Advice(
                    "A802", f'nothing reads the blob "{blob}" of layer "{node.name}"', place, _silence(node, blob)
                )


def _silence(node: Node, blob: str) -> str:
    if node.layer.is_source:
        return "leave this top out" if node.tops.index(blob) else "is its reader missing?"
    return f'is its reader missing? If not, drop the layer, or add: layer {{ type: "Silence" bottom: "{blob}" }}'


def unreached(graph: Graph) -> Iterator[Advice]:
    """Layers that are to learn (lr_mult is not 0) but get no gradient."""
    if not trains(graph):
        return
    missed = [node for node in _without_gradient(graph) if any(ref.learnable for ref in node.params)]
    if missed:
        names = listed([node.name for node in missed])
        verb = "gets" if len(missed) == 1 else "get"
        yield Advice(
            "A803",
            f"{counted(len(missed), 'layer')} to be trained {verb} no gradient from any loss: {names}",
            missed[-1].place,
            f"{_cause(graph)} To keep them as they are, give their parameters lr_mult: 0; otherwise weight_decay "
            "shrinks them towards 0",
        )


def _cause(graph: Graph) -> str:
    stops = next((node for node in graph.nodes if False in list(node.layer.param.propagate_down)), None)
    return f'Layer "{stops.name}" has propagate_down: false.' if stops else "Is a loss missing below?"


def _without_gradient(graph: Graph) -> list[Node]:
    """The nodes that no gradient comes down to, in order."""
    reached: set[str] = set()
    missed = []
    for node in reversed(graph.nodes):
        arrives = any(node.loss_weights) or any(top in reached for top in node.tops)
        reached.difference_update(node.tops)
        if arrives:
            reached.update(blob for blob, flows in zip(node.bottoms, node.backward) if flows)
        else:
            missed.append(node)
    return missed[::-1]


def frozen(graph: Graph) -> Iterator[Advice]:
    """A net with a loss none of whose parameters may change."""
    own = [ref for _, _, ref in graph.own_params() if not ref.blob.frozen]
    if trains(graph) and own and not any(ref.learnable for ref in own):
        first = next(node for node in graph.nodes if node.params and not node.params[0].blob.frozen)
        yield Advice(
            "A804",
            "nothing in this TRAIN net learns: every parameter has lr_mult 0",
            first.layer.origin.place("param[0].lr_mult"),
            "take lr_mult: 0 away from the layers that are to learn",
        )


def twice(graph: Graph) -> Iterator[Advice]:
    """A Softmax in front of a loss that takes the soft-max itself, and the like."""
    for index, node in enumerate(graph.nodes):
        above = (
            graph.edges.above(index, lambda one: one.layer.keeps_values)
            if node.layer.takes or node.layer.contains
            else None
        )
        if above is None:
            continue
        place = node.layer.origin.place("bottom[0]")
        if above.type == node.layer.contains:
            what = f"({node.type}) computes the {above.type} itself"
            message = f'layer "{node.name}" {what}, but is given that of "{above.name}"'
            yield Advice("A805", message, place, f'give it the bottom of "{above.name}"')
        if node.layer.takes == "probabilities" and above.params:
            message = (
                f'layer "{node.name}" takes probabilities, but is given the scores of "{above.name}" ({above.type})'
            )
            yield Advice("A806", message, place, "put a Softmax between them, or use SoftmaxWithLoss")


def cut_scores(graph: Graph) -> Iterator[Advice]:
    """ReLU or Dropout on the scores themselves."""
    for index, node in enumerate(graph.nodes):
        above = graph.edges.maker(index) if node.layer.takes == "scores" and any(node.loss_weights) else None
        if above is None:
            continue
        if above.layer.drops_values:
            message = f'layer "{above.name}" drops scores of the loss "{node.name}" at random'
            hint = f"{above.type} belongs above the last layer with weights"
        elif above.layer.dead_at_zero():
            message = f'layer "{above.name}" ({above.type}) cuts the scores of the loss "{node.name}" off at 0'
            hint = f"where all scores are 0, no gradient is left: take the {above.type} after the last layer away"
        else:
            continue
        yield Advice("A807", message, above.place, hint)


def classes(graph: Graph) -> Iterator[Advice]:
    """Accuracies that are always 1, and layers that see different numbers of classes in the same labels."""
    seen: dict[Top, tuple[int, Node]] = {}
    for index, node in enumerate(graph.nodes):
        count = node.layer.class_count(node.bottom_shapes)
        if count is None:
            continue
        if (top_k := getattr(node.layer.options, "top_k", 0)) >= count > 1:
            message = f'layer "{node.name}" counts the {top_k} best of {count} classes: always 1'
            place = node.layer.origin.place(f"{node.layer.param_field}.top_k")
            yield Advice("A808", message, place, "take a smaller top_k")
        other = seen.setdefault(graph.edges.makers[index][1], (count, node))
        if other[0] != count:
            yield Advice(
                "A809",
                f'layer "{node.name}" takes the labels for one of {count} classes, layer "{other[1].name}" for one of '
                f"{other[0]}",
                node.layer.origin.place("bottom[0]"),
                "do both read the right blob, and is num_output of both last layers right?",
            )
