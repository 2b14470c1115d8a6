"""The files that a net's layers write (HDF5Output), and when they get their names."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from netc.errors import NetcError
from netc.graph.ir import Graph
from netc.layers.base import Layer

if TYPE_CHECKING:
    from netc.runtime.data.hdf5_output import Output


class Outputs:
    """Of one net, below `folder` (None: the working folder at the first pass). A file is written pass by pass, at times
    that `Output.due` says, and when the net goes; or once, at the end of `writing_at_end`."""

    def __init__(self, graph: Graph, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder
        self._layers = [node.layer for node in graph.nodes if node.layer.output_file and node.layer.effect]
        self._open: dict[str, Output] = {}
        self._held = False

    def write(self, layer: Layer, rows: Mapping[str, Tensor]) -> None:
        output = self._output(layer)
        output.add({name: x.detach().cpu().numpy() for name, x in rows.items()})
        if not self._held and output.due:
            output.publish()

    def _output(self, layer: Layer) -> Output:
        from netc.runtime.data.hdf5_output import Output

        if layer.key not in self._open:
            self._open[layer.key] = output = Output(layer, self.folder or os.getcwd())
            weakref.finalize(self, output.finish)
        return self._open[layer.key]

    def paths(self) -> dict[Path, Layer]:
        """The files, their places checked. Raises NetcError O901."""
        return {self._output(layer).path: layer for layer in self._layers}

    @contextmanager
    def at_end(self) -> Iterator[None]:
        self._held = True
        try:
            yield
            for output in self._open.values():
                output.publish()
        finally:
            self._held = False
            for output in self._open.values():
                output.discard()

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a net begins files of its own."""
        return {**self.__dict__, "_open": {}, "_held": False}


@contextmanager
def writing_at_end(nets: Iterable[Any]) -> Iterator[None]:
    """Within it, the files of these nets are not written; at its end they are, and not where it ends with an error.

    Raises NetcError O901 at the beginning for a place that a net may not write to, R652 for a file that two write.
    """
    with ExitStack() as stack:
        seen: dict[Path, Layer] = {}
        for net in nets:
            for path, layer in net.run.outputs.paths().items():
                if path in seen:
                    raise _twice(path, layer, seen[path])
                seen[path] = layer
            stack.enter_context(net.run.outputs.at_end())
        yield


def _twice(path: Path, layer: Layer, first: Layer) -> NetcError:
    return NetcError(
        "R652",
        f'the layer "{layer.name}" writes {path}, and another net of this run does so, too',
        layer.origin.place("hdf5_output_param.file_name"),
        "give each a file_name of its own, or let one be: include { phase: TEST }",
        [(first.origin.place("hdf5_output_param.file_name"), "the other one")],
    )
