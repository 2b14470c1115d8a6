"""RNN, LSTM and the LSTM's unit."""

from __future__ import annotations

from netc.look.emit.registry import Code, Site, emits


@emits("RNN", "LSTM")
def recurrent(site: Site) -> Code:
    """The helper class of the type's own name; its tops come together where the states are exposed."""
    shapes = {ref.blob.name: ref.blob.shape for ref in site.node.params}
    arguments = [str(shapes["input_weight"][1]), str(site.options.num_output)]
    if "static_weight" in shapes:
        arguments.append(f"static={shapes['static_weight'][1]}")
    if site.options.expose_hidden:
        arguments.append("expose_hidden=True")
    return Code(site.call(), module=f"{site.node.type}({', '.join(arguments)})", together=len(site.node.tops) > 1)


@emits("LSTMUnit")
def lstm_unit(site: Site) -> Code:
    cell, gates, marks = site.bottoms
    return Code(f"lstm_unit({cell}, {gates}, {marks}.detach().unsqueeze(-1))", together=True)
