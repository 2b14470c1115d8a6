"""`netc convolutional`: a classifier as a net that takes images of any size."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import force_option, net_options, output_option
from netc.errors import printable

if TYPE_CHECKING:
    from netc.check.probe import Told
    from netc.graph.ir import Graph


@click.command("convolutional")
@click.argument("net", metavar="NET")
@output_option("FILE", "The prototxt to write; - is stdout (default).")
@net_options("take", "The phase of the net.", default="TEST")
@force_option
def command(net: str, output: str | None, phase: str, level: int, stages: list[str], told: Told, force: bool) -> None:
    """Write a classifier's convolutional form: fully-connected layers become convolutions of the same weights.

    NET is a file or the name of a net that comes with netc. Losses and labels go, names stay: the classifier's weights
    are those of the file that is written, as netc loads them. It takes images of any size and gives a map of scores,
    one for each place of the classifier's window.
    """
    from netc.cli._rewrite import encoded, replace_file, show
    from netc.files.shipped import locate
    from netc.passes.convolutional import convolutional

    made = convolutional(_deployed(locate(net, "deploy.prototxt"), phase, level, stages, told))
    text = _text(made.layers, printable(net))
    if output in (None, "-"):
        show(text)
    else:
        replace_file(str(output), [encoded(text)], force)
    said = f"{', '.join(map(printable, made.converted))}: convolutions now" if made.converted else ALREADY
    click.echo(f"{printable(net)}: {said}", err=True)


ALREADY = "it takes images of any size as it is"


def _deployed(path: str, phase: str, level: int, stages: list[str], told: Told) -> Graph:
    """The net without losses and labels. Raises NetcError L304 where nothing tells the size of its images."""
    from netc.errors import NetcError, Place
    from netc.graph.compile import compile_layers
    from netc.graph.filter import phase_number
    from netc.graph.read import draft_net
    from netc.passes.deploy import deployed, state_layers
    from netc.weights.arrays import Weights
    from netc.weights.asked import Asked, shapes_of

    layers = state_layers(draft_net(path), phase_number(phase), level, stages)
    told.used = True
    shapes = partial(shapes_of, asked=Asked(phase, level, stages, told.shapes), layers=layers, weights=Weights())
    found = deployed(layers, set(), shapes, judged=False)
    if found.unknown:
        listed = ", ".join(found.unknown)
        hint = "say how large its images are: --shape CHANNELS,HEIGHT,WIDTH"
        raise NetcError("L304", f"the size of the input {listed} is not known without the data", Place(path), hint)
    return compile_layers(found.layers)


def _text(layers: Any, name: str) -> str:
    from netc import proto
    from netc.prototxt.format import canonical

    own = layers.draft.param
    net = proto.NetParameter(name=own.name) if own.name else proto.NetParameter()
    net.layer.extend(layers.params)
    return f"# The convolutional form of {name}, for images of any size: netc convolutional.\n{canonical(net)}"
