"""How a training net starts: the file's fillers as calls of torch.nn.init, which draw from the same distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netc.graph.ir import Graph, Node
from netc.layers.fillers import filled
from netc.look.emit.flow import code_of
from netc.look.emit.text import laid_out


def initial_values(graph: Graph, modules: Mapping[int, str]) -> Iterator[str]:
    """Statements that fill the parameters; layers that start alike share them. `modules`: node index → its submodule's
    expression."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for index, module in modules.items():
        if calls := tuple(_calls(graph.nodes[index], index)):
            alike.setdefault((graph.nodes[index].type, *calls), []).append(module)
    for (_, *shared), layers in alike.items():
        if len(layers) > 1:
            yield from laid_out(f"for layer in ({', '.join(layers)}):", 2)
        for call in shared:
            yield from laid_out(call.format(layers[0]), 2) if len(layers) == 1 else laid_out(call.format("layer"), 3)


def _calls(node: Node, index: int) -> Iterator[str]:
    """What fills the parameters that belong to this layer, {} standing for it; nothing for one that its module makes as
    the constant that is wanted."""
    starts = code_of(node, ("x",) * len(node.bottoms), "self.module").starts
    for position, ref in enumerate(node.params):
        blob, filler = ref.blob, ref.blob.filler
        constant = (filler.value if filler.type == "constant" else None) if filler is not None else 0.0
        made = constant is not None and starts.get(blob.name) == constant
        if ref.owner == (index, position) and not blob.frozen and not made:
            yield filled(f"{{}}.{blob.name}", filler, blob.shape)
