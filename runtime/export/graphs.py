"""A compiled net with its weights as a torch.export program."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.layers.base import Layer
from netc.runtime.export.shapes import Axes
from netc.runtime.net.module import Net
from netc.runtime.net.steps import Step
from netc.weights import Array


class Blobs(nn.Module):
    """A net as a function from the dict of its inputs to a dict of blobs. Its parameters have the net's own keys."""

    def __init__(self, net: Net, blobs: Sequence[str]) -> None:
        super().__init__()
        net.run.uniform = _no_draw  # type: ignore[method-assign]
        self._modules.update(net._modules)
        self.__dict__.update(_net=net, _blobs=tuple(blobs))  # no module of this one: its name would lead every key

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        blobs: dict[str, Tensor] = self.__dict__["_net"](inputs, blobs=self.__dict__["_blobs"])
        return _apart(inputs, blobs)


def _no_draw(layer: Layer, like: Tensor) -> Tensor:
    """`Run.uniform` of a net that is exported: a program would have one draw for ever."""
    message = f'layer "{layer.name}" ({layer.type}) draws random numbers in the TRAIN phase'
    raise NetcError("W773", message, layer.origin.start, f"convert the net of the TEST phase; {HINT}")


def _apart(inputs: Mapping[str, Tensor], blobs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The blobs, copied where one is an input or another blob as it is (a Split, an input that nothing reads): a value
    of a program has one name."""
    seen, result = {id(value) for value in inputs.values()}, {}
    for name, value in blobs.items():
        result[name] = value.clone() if id(value) in seen else value
        seen.add(id(value))
    return result


def net_with(graph: Graph, layers: Mapping[str, Sequence[Array]]) -> Net:
    """The executable net with these weights, gradients off."""
    net = Net(graph, start=lambda net: net.copy_from(layers).written(net.params))
    return net.eval().requires_grad_(False)


def run(net: Net, inputs: Mapping[str, Array], blobs: Sequence[str]) -> dict[str, Array]:
    """One forward pass: the blobs asked for, as arrays."""
    with torch.no_grad():
        values = net({name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}, blobs=blobs)
    return {name: value.numpy() for name, value in values.items()}


def run_module(module: nn.Module, pixels: Array) -> Array:
    """One forward pass of a module with one input and one output."""
    with torch.no_grad():
        scores: Array = module(torch.from_numpy(np.ascontiguousarray(pixels))).numpy()
    return scores


def distinct_blobs(graph: Graph) -> list[str]:
    """The blobs that are values of their own: not those of layers that hand on their bottom. The outputs are last."""
    passed = {top for node in graph.nodes if _hands_on(node) for top in node.tops}
    inner = [name for name in graph.shapes if name not in passed.union(graph.outputs)]
    return [*inner, *graph.outputs]


def _hands_on(node: Node) -> bool:
    return node.layer.copies_bottom or node.layer.drops_values or node.layer.is_input


def exported(module: nn.Module, graph: Graph, axes: Axes) -> Any:
    """`module`, a function of the net's inputs by name, as a torch.export.ExportedProgram in which `axes` are free.
    Where torch finds an axis fixed after all, it is taken out of them. Raises NetcError W773 where torch cannot,
    or where the net has no output."""
    if not graph.outputs:
        raise NetcError("W773", f"{_called(graph)} has no output, so there is nothing to export", None, HINT)
    try:
        program = _exported(module, axes)
        while axes.keep_only(_free(program, list(graph.inputs))):
            program = _exported(module, axes)
    except NetcError:
        raise
    except Exception as error:  # torch.export raises nearly anything
        raise cannot(graph, error) from error
    return program


def _exported(module: nn.Module, axes: Axes) -> Any:
    inputs = {name: torch.zeros(shape) for name, shape in axes.sample().items()}
    sizes = {name: dict.fromkeys(axes.free(name), torch.export.Dim.AUTO) for name in inputs}
    with quiet(), torch.no_grad():
        return torch.export.export(module, (inputs,), dynamic_shapes=(sizes,))


def _free(program: Any, names: Sequence[str]) -> dict[str, list[int]]:
    """Input → its axes whose size is not a number in the program. (Where torch took one for a number on its way, it
    still shows as a symbol.)"""
    from torch.fx.experimental.symbolic_shapes import is_concrete_int

    given = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
    return {
        name: [axis for axis, size in enumerate(node.meta["val"].shape) if not is_concrete_int(size)]
        for name, node in zip(names, nodes, strict=True)
    }


def cannot(graph: Graph, error: BaseException, node: Node | None = None) -> NetcError:
    """A refusal in a line, with the layer (`node`, or the one that was traced) and torch's innermost reason."""
    chain = list(_causes(error))
    own = next((one for one in chain if isinstance(one, NetcError)), None)
    if own is not None:
        return NetcError("W773", own.message, own.place, own.hint or HINT)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in str(chain[-1]).splitlines()]
    reason = next((line for line in lines if line), type(chain[-1]).__name__)
    reason = reason if len(reason) <= LONGEST else reason[:LONGEST] + " …"
    node = node or next((found for one in chain if (found := _traced(one)) is not None), None)
    if node is None:
        return NetcError("W773", f"torch cannot export {_called(graph)}: {reason}", None, HINT)
    what = f'layer "{node.name}" ({node.type}) cannot be exported'
    return NetcError("W773", f"{what}: {reason}", node.place, f"end the net at the blobs before it; {HINT}")


def _called(graph: Graph) -> str:
    return f'the net "{graph.name}"' if graph.name else "the net"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _traced(error: BaseException) -> Node | None:
    """The node whose forward pass raised an error."""
    found, trace = None, error.__traceback__
    while trace is not None:
        step = trace.tb_frame.f_locals.get("step")
        found = step.node if isinstance(step, Step) else found
        trace = trace.tb_next
    return found


LONGEST = 200
"""Characters of torch's reason that are shown."""

HINT = "the formats of weights alone always work (--to safetensors, npz, hdf5)"


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's remarks on its own insides: with an error, it logs and prints its whole graph."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
