"""What a net consists of, as pycaffe shows it: blobs, parameters and layers under their names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import torch

from netc.graph import page
from netc.graph.ir import AUTOMATIC
from netc.layers.python import Python
from netc.layers.sources import FILLERS
from netc.look.draw import svg_of
from netc.pycaffe.blob import Blob, BlobVec
from netc.pycaffe.layer import Layer
from netc.runtime.net.module import Net as Module
from netc.runtime.pycaffe import machine
from netc.runtime.pycaffe.blob import NetBlob, ParamBlob, ViewBlob
from netc.runtime.pycaffe.walk import Called, Computed, Fed, Params, Work

Callback = Callable[[int], Any]


class Wired:
    """A net of netc's with a blob under each name, and the layers that read and write them."""

    @classmethod
    def of(cls, module: Module) -> Self:
        """A net around one that is there already, a solver's."""
        net = cls.__new__(cls)
        net._adopt(module)
        return net

    def _adopt(self, module: Module) -> None:
        self._module = module
        self._name: str | None = None
        self._device = machine.device()
        module.to(self._device)
        self._callbacks: dict[str, list[Callback]] = {}
        self.held: set[str] = set()
        """Sources that read nothing: their tops stay as they are."""
        nodes = [step.node for step in module.steps]
        self._layer_names = [node.name for node in nodes]
        self._blobs_by_name: OrderedDict[str, NetBlob] = OrderedDict()
        self._blob_loss_weights: list[float] = []
        self._works: list[Work] = []
        self._params: dict[tuple[int, int], ParamBlob] = {}
        self._make_blobs()
        for index, node in enumerate(nodes):
            self._works.append(self._work(index))
            for top in node.tops if node.layer.copies_bottom else ():
                self._blobs_by_name[top].tensor = self._blobs_by_name[node.bottoms[0]].tensor
        self._fill_sources()

    # -- building ------------------------------------------------------------------------------------------------------

    def _make_blobs(self) -> None:
        nodes = [step.node for step in self._module.steps]
        learning = {b for node in nodes for b, flows in zip(node.bottoms, node.backward) if flows}
        learning |= {top for node in nodes if node.needs_backward for top in node.tops}
        for node in nodes:
            for top, shape, weight in zip(node.tops, node.top_shapes, node.loss_weights):
                if top not in self._blobs_by_name or top == AUTOMATIC:
                    blob = NetBlob(shape, self._device, top in learning, weight)
                    self._blobs_by_name[top] = blob
                    self._blob_loss_weights.append(weight)
                elif weight:
                    self._blobs_by_name[top].start = weight
                    self._blob_loss_weights[list(self._blobs_by_name).index(top)] = weight

    def _work(self, index: int) -> Work:
        step = self._module.steps[index]
        node = step.node
        tops = [self._blobs_by_name[name] for name in node.tops]
        bottoms = [self._blobs_by_name[name] for name in node.bottoms]
        params = self._param_blobs(index)
        if node.layer.is_source:
            return Fed(step, tops)
        if isinstance(node.layer, Python):
            return Called(step, bottoms, tops, params)
        return Computed(self._module, step, bottoms, tops, params)

    def _param_blobs(self, index: int) -> Params:
        step, found = self._module.steps[index], []
        for position, ref in enumerate(step.node.params):
            if ref.owner not in self._params:
                self._params[ref.owner] = ParamBlob(step, position)
            own = self._params[ref.owner]
            found.append(ViewBlob(own, step.views[position]) if position in step.views else own)
        return found

    def _fill_sources(self) -> None:
        """Caffe fills the tops of fillers when the net is made, and constant ones never again."""
        feeding = self._module.feeding
        for node in feeding.sources:
            if node.layer.feed == FILLERS:
                for top, values in zip(node.tops, feeding.first(node), strict=True):
                    self._blobs_by_name[top].assign(values)

    def __repr__(self) -> str:
        """A page at most: a line a layer with its type, the shapes of its tops and its number of parameters."""
        rows = self._rows()
        return page.text(self._title(len(rows)), rows)

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of all layers, and a picture."""
        rows, shapes = self._rows(), {name: blob.shape for name, blob in self._blobs_by_name.items()}
        return page.html(self._title(len(rows)), rows, svg_of(self._module.graph, shapes))

    def _title(self, layers: int) -> str:
        params = sum(param.count for param in self._params.values())
        return f"Net {page.title(self.name, self._module.graph.phase, layers, params)}"

    def _rows(self) -> list[page.Row]:
        return [_row(work) for work in self._works if not work.step.node.layer.copies_bottom]

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""
        return self._device

    @property
    def works(self) -> Sequence[Work]:
        """Its layers, in order, each with its blobs."""
        return self._works

    def carry_params(self) -> None:
        """Bring what a program has written on the host to the GPU where the net is."""
        if self._device != "cpu":
            for param in self._params.values():
                _ = param.tensor

    def own_params(self) -> list[ParamBlob]:
        """Every parameter that is not a share of another one, in Caffe's order of learnable parameters."""
        return [self._params[key] for key in sorted(self._params)]

    def tensor(self, blob: str) -> torch.Tensor:
        """The tensor of a blob, without its history."""
        return self._blobs_by_name[blob].tensor.detach()

    def returned(self) -> dict[str, torch.Tensor]:
        """The outputs and the losses, as netc's own net returns them."""
        tops = [pair for work in self._works for pair in zip(work.step.tops, work.step.node.tops)]
        losing = {top for node in self._module.graph.nodes for top, w in zip(node.tops, node.loss_weights) if w}
        return {shown: self.tensor(name) for shown, name in tops if name in {*self.outputs, *losing}}

    # -- what it has ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The net's name in its file, or what a program has called it."""
        return self._module.graph.name if self._name is None else self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @cached_property
    def blobs(self) -> OrderedDict[str, Blob]:
        return OrderedDict(self._blobs_by_name)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        return OrderedDict(zip(self._blobs_by_name, self._blob_loss_weights))

    @cached_property
    def params(self) -> OrderedDict[str, BlobVec]:
        pairs = zip(self._layer_names, self.layers)
        return OrderedDict((name, layer.blobs) for name, layer in pairs if len(layer.blobs))

    @cached_property
    def layers(self) -> list[Any]:
        return [_layer(work) for work in self._works]

    @cached_property
    def layer_dict(self) -> OrderedDict[str, Any]:
        return OrderedDict(zip(self._layer_names, self.layers))

    @property
    def inputs(self) -> list[str]:
        return list(self._module.graph.inputs)

    @property
    def outputs(self) -> list[str]:
        return list(self._module.graph.outputs)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((work.step.node.name, list(work.step.node.tops)) for work in self._works)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((work.step.node.name, list(work.step.node.bottoms)) for work in self._works)

    @property
    def _blob_names(self) -> list[str]:
        return list(self._blobs_by_name)

    @property
    def _blobs(self) -> list[Blob]:
        return list(self._blobs_by_name.values())

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]

    def _top_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(name) for name in self._works[layer].step.node.tops]

    def _bottom_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(name) for name in self._works[layer].step.node.bottoms]


class NetLayer(Layer):
    """A layer of a net that is no Python layer."""

    def __init__(self, work: Work) -> None:
        self._work, layer = work, work.step.node.layer
        self.type, self.phase, self.blobs = layer.type, layer.phase, BlobVec(work.params)

    def __repr__(self) -> str:
        return f"<{self.type} layer, {len(self.blobs)} blobs>"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The layer is set up when its net is made; what is left is to give `top` their shapes."""
        self.reshape(bottom, top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give `top` the shapes that the layer makes of bottoms such as `bottom`."""
        if isinstance(self._work, Computed):
            for blob, shape in zip(top, self._work._shapes([blob.shape for blob in bottom])):
                blob.reshape(*shape)


def _row(work: Work) -> page.Row:
    node = work.step.node
    params = sum(param.count for param in work.params)
    return page.row(node.name, node.type, node.tops, [blob.shape for blob in work.tops], params)


def _layer(work: Work) -> Any:
    return work.user if isinstance(work, Called) else NetLayer(work)
