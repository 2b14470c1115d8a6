"""ir.Graph → torch.nn.Module that walks the graph, node by node, in Caffe's order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from netc.errors import NetcError, Place, counted, did_you_mean
from netc.errors.foreign import raised_at
from netc.graph.ir import Graph, Node, ParamRef
from netc.layers.base import Shape, format_shape
from netc.layers.sources import ARRAYS
from netc.runtime.net import rand
from netc.runtime.net.clock import Clock, LayerRun
from netc.runtime.net.computing import EXACT, Computing, plain
from netc.runtime.net.feeding import Feeding
from netc.runtime.net.fillers import fill_blob
from netc.runtime.net.outputs import Outputs
from netc.runtime.net.steps import Route, Step, plan, route_to
from netc.weights.keys import module_names

if TYPE_CHECKING:
    from netc.runtime.data.probing import DataProbe
    from netc.weights.card import Card


class Net(nn.Module):
    """An executable net. Call it with its inputs, by name or (if there is one) by position; the result is a dict of the
    output blobs in Caffe's order, or of the blobs asked for by `blobs=`. Data layers whose tops are not given take
    their next batch.

    `state_dict` keys are "<layer>.<blob>" ("conv1_1.weight"). Shared parameters are one nn.Parameter under each name.
    A parameter with lr_mult 0 has requires_grad False. A TEST net begins as after `eval()`, and records nothing for
    gradients unless its file says force_backward, an input requires a gradient, or `train()` asks for it. `feeding` is
    what feeds the net's sources; `workers` threads decode for it, and `probe` is what told the graph the shapes of its
    data. `start` gives parameters their first values, as weights do, and returns those that it has written; the fillers
    write all others. Layers that write files do so below `output_dir` (default: the working folder). `computing`: in
    which precision and layout of memory.
    """

    def __init__(
        self,
        graph: Graph,
        seed: int = 0,
        workers: int | None = None,
        probe: DataProbe | None = None,
        start: Callable[[Net], Iterable[Tensor]] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        computing: Computing = EXACT,
    ) -> None:
        super().__init__()
        self.computing = computing
        self.graph, self.seed = graph, seed
        self.clock = Clock()
        self.feeding = Feeding(graph, self.clock, seed, workers, probe)
        self.run = LayerRun(graph, self.clock, seed, Outputs(graph, output_dir))
        self.inputs: tuple[str, ...] = graph.inputs
        self.outputs: tuple[str, ...] = graph.outputs
        self.steps = plan(graph, self._create_params())
        self._loss_weights = [
            (top, w) for s in self.steps for top, w in zip(s.tops, s.node.loss_weights, strict=True) if w
        ]
        hidden = [top for top, _ in self._loss_weights if top not in graph.outputs]
        self._returned = (*graph.outputs, *hidden)
        self._whole = route_to(self.steps, self._returned)
        self._routes: dict[tuple[str, ...], Route] = {}
        self.card: Card | None = None
        """What the file of its weights says of them, where that is known."""
        self._fill(start(self) if start is not None else ())
        self.train(self.run.training)

    def __repr__(self) -> str:
        """A page at most: a line a layer with its type, the shapes of its tops and its number of parameters."""
        return repr(self.graph).replace("<Graph", "<Net", 1)

    def _repr_html_(self) -> str:
        return self.graph._repr_html_().replace("<b>Graph", "<b>Net", 1)

    @property
    def blob_shapes(self) -> dict[str, Shape]:
        """Blob name → shape as compiled."""
        return dict(self.graph.shapes)

    def twin(self, graph: Graph, start: Callable[[Net], Iterable[Tensor]]) -> Net:
        """A net of another graph that computes as this one does."""
        return Net(graph, self.seed, start=start, computing=self.computing)

    def conditions(self) -> dict[str, str]:
        """How it computes, as far as the bits of its results depend on that."""
        return self.computing.conditions()

    # -- parameters ----------------------------------------------------------------------------------------------------

    def _create_params(self) -> dict[int, nn.Module]:
        """A submodule for each layer with parameters, by node index. What they hold is not written yet."""
        tensors: dict[tuple[int, int], Tensor] = {}
        holders: dict[int, nn.Module] = {}
        for index, node in enumerate(self.graph.nodes):
            if not node.params:
                continue
            holder = holders[index] = nn.Module()
            for ref in node.params:
                if ref.owner not in tensors:
                    tensors[ref.owner] = self._new_param(ref)
                self._register(holder, ref.blob.name, tensors[ref.owner])
        names = module_names((index, self.graph.nodes[index].name) for index in holders)
        self._modules.update((names[index], holder) for index, holder in holders.items())
        return holders

    def _new_param(self, ref: ParamRef) -> Tensor:
        tensor = torch.empty(ref.blob.shape)
        if ref.blob.frozen:
            return tensor
        return nn.Parameter(tensor, requires_grad=ref.learnable or self.graph.force_backward)

    def _fill(self, written: Iterable[Tensor]) -> None:
        """Give every parameter that is not among `written` what it starts from."""
        done = {memory_of(tensor) for tensor in written}
        for step in self.steps:
            for position, (ref, tensor) in enumerate(zip(step.node.params, step.held(), strict=True)):
                if memory_of(tensor) not in done:
                    done.add(memory_of(tensor))
                    key = rand.key(self.seed, "filler", step.node.layer.key, position)
                    fill_blob(tensor.detach(), ref.blob, key, step.node.layer)

    def _register(self, holder: nn.Module, name: str, value: Tensor) -> None:
        if isinstance(value, nn.Parameter):
            holder.register_parameter(name, value)
        else:
            holder.register_buffer(name, value)

    @property
    def params(self) -> dict[str, list[Tensor]]:
        """{layer name: its parameters and buffers in Caffe's blob order}. Of two layers of one name, the first."""
        found: dict[str, list[Tensor]] = {}
        for step in self.steps:
            if step.params:
                found.setdefault(step.node.name, step.values())
        return found

    def own_params(self) -> list[tuple[ParamRef, Tensor]]:
        """Every parameter that is not a share of another, in Caffe's order of learnable parameters."""
        return [
            (ref, getattr(*step.params[position]))
            for index, step in enumerate(self.steps)
            for position, ref in enumerate(step.node.params)
            if ref.owner == (index, position)
        ]

    # -- running -------------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, blobs: Sequence[str] | None = None, **inputs: Tensor) -> dict[str, Tensor]:
        """One forward pass. Shapes may differ from the compiled ones in any way the layers allow.

        Inputs are tensors, or numpy arrays, which take the type of the net. Only the layers that the blobs asked for
        depend on are run, and those that write files; only what these need is read: a source is opened when one of its
        tops is needed and not given, and each such pass takes its next batch, in TRAIN and in TEST.
        Raises NetcError R601 (missing or unknown input), R602 (unknown blob), what opening and reading a source
        raises, or a layer's own error for its shapes.
        """
        values = self._given(args, inputs)
        route = self._route(self._returned if blobs is None else tuple(blobs))
        missing = [top for top in route.needed if top not in values]
        if missing:
            values = {**self._next(missing, route), **values}
        with nullcontext() if self._records(values) else torch.no_grad():
            result = self._walk(values, route)
        if self.run.training:
            self.clock.step += 1
        return result

    def outputs_of(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs and losses of the pass that the clock shows, from the tops of the sources; the clock stays."""
        return self._walk(dict(values), self._whole)

    def computed_from(self, values: Mapping[str, Tensor], blobs: tuple[str, ...]) -> dict[str, Tensor]:
        """Some blobs of a pass, from the tops of the sources that they depend on. Nothing is counted or written."""
        route = self._route(blobs)
        silent = tuple(step for step in route.steps if not step[0].node.layer.effect)
        return self._walk(dict(values), replace(route, steps=silent))

    def _records(self, values: Mapping[str, Tensor]) -> bool:
        """Whether gradients of this pass can be asked for."""
        wanted = self.run.training or self.training or self.graph.force_backward
        return wanted or any(value.requires_grad for value in values.values())

    def _next(self, missing: list[str], route: Route) -> dict[str, Tensor]:
        try:
            found: dict[str, Tensor] = self.feeding.next(missing)
            return found
        except NetcError as error:
            raise self._needed_by(error, missing, route) from None

    def _needed_by(self, error: NetcError, missing: list[str], route: Route) -> NetcError:
        """An input that is not given, with the blobs that need it: others can be asked for without it."""
        if error.code != "R601":
            return error
        ready = [name for name in self._asked_without(missing) if name not in self.feeding.tops]
        wanted = [name for name in route.wanted if name not in ready]
        if not ready or not wanted:
            return error
        hint = f'or ask only for what does not need it: blobs=["{ready[-1]}"]'
        message = f"{error.message}, and {', '.join(wanted)} {'needs' if len(wanted) == 1 else 'need'} it"
        return NetcError(error.code, message, error.place, f"{error.hint}; {hint}", error.related)

    def _asked_without(self, missing: list[str]) -> list[str]:
        """The blobs that no path leads to from these inputs, in the order of the layers."""
        tainted, clear = set(missing), []
        for step in self.steps:
            if not tainted.isdisjoint(step.node.bottoms):
                tainted.update(step.tops)
            clear += [top for top in step.tops if top in self.graph.shapes and top not in tainted]
        return clear

    def reset(self) -> None:
        """Start over: the next pass reads each source's first batch, draws dropout's first numbers, and finds nothing
        kept by recurrent layers. Parameters, and files being written, stay as they are."""
        self.clock.iteration = 0
        self.run.forget()
        self.feeding.reset()

    def _route(self, wanted: tuple[str, ...]) -> Route:
        if wanted not in self._routes:
            self._check_blobs(wanted)
            self._routes[wanted] = route_to(self.steps, wanted)
        return self._routes[wanted]

    def _walk(self, values: dict[str, Tensor], route: Route) -> dict[str, Tensor]:
        recorded = torch.is_grad_enabled()
        looking = not torch.compiler.is_compiling() and self.run.between_layers is not None
        for step, dead, over in route.steps:
            if looking:
                self.run.look()
            self._execute(step, values, over and not recorded)
            if looking and recorded:
                self._look_on_the_way_back([values[top] for top in step.tops])
            for blob in dead:
                values.pop(blob, None)
        if self.computing.plain:
            return {name: values[name] for name in route.wanted}
        return {name: plain(values[name]) for name in route.wanted}

    def _look_on_the_way_back(self, tops: list[Tensor]) -> None:
        """Before the gradient of a layer is computed, too."""
        recorded = [top for top in tops if top.requires_grad and not top.is_leaf]
        if recorded:
            recorded[0].register_hook(lambda _: self.run.look())

    def _execute(self, step: Step, values: dict[str, Tensor], over: bool) -> None:
        bottoms = [
            values[b].detach() if d else values[b] for b, d in zip(step.node.bottoms, step.detached, strict=True)
        ]
        tops = self.tops(step, bottoms, over)
        if step.node.layer.multiplies and not torch.compiler.is_compiling() and self.run.multiplied is not None:
            self.run.multiplied(step, bottoms[0], tops[0])
        values.update(zip(step.tops, tops, strict=True))

    def tops(self, step: Step, bottoms: list[Tensor], over: bool = False) -> Sequence[Tensor]:
        """The tops of one layer. `over`: it may write over its first bottom, even where torch has not recorded that.
        Raises NetcError R603 where it fails, or the layer's own error for these shapes."""
        params = step.values()
        if torch.compiler.is_compiling():
            return self._call(step, bottoms, params, over)
        try:
            found = self._call(step, bottoms, params, over)
            if len(found) != len(step.tops):
                raise ValueError(f"it returned {counted(len(found), 'top')} where it has {len(step.tops)}")
            return found
        except NetcError:
            raise
        except Exception as error:
            raise self._explain(step.node, bottoms, error) from error

    def _call(self, step: Step, bottoms: list[Tensor], params: list[Tensor], over: bool = False) -> Sequence[Tensor]:
        layer = step.node.layer
        if not self.computing.plain:
            bottoms, params = self.computing.given(layer, bottoms, params)
        if step.no_grad:
            with torch.no_grad():
                return layer.forward(self.run, bottoms, params)
        if over or (step.in_place and not bottoms[0].is_leaf):
            return layer.forward_in_place(self.run, bottoms, params)  # type: ignore[attr-defined,no-any-return]
        return layer.forward(self.run, bottoms, params)

    def _explain(self, node: Node, bottoms: list[Tensor], error: Exception) -> NetcError:
        """The layer's own complaint about these shapes, or torch's message with the layer's place."""
        layer = node.layer
        shapes = [tuple(b.shape) for b in bottoms]
        twin = type(layer)(layer.param, layer.phase, layer.origin, layer.probe)
        try:
            twin.setup(shapes)
        except NetcError as own:
            return own
        except Exception:  # a plug-in's setup may do anything
            twin = layer
        for mine, needed in zip(layer.blobs, twin.blobs, strict=True):
            if mine.shape != needed.shape:
                error = RuntimeError(
                    f"its {mine.name} is {format_shape(mine.shape)}, these bottoms need {format_shape(needed.shape)}"
                )
        listed = ", ".join(format_shape(shape) for shape in shapes)
        message = f'layer "{node.name}" ({node.type}) failed on bottoms {listed}: {error}'
        where = raised_at(error, layer.plugin) if layer.plugin else None
        return NetcError("R603", message, node.place, None, [(where, "raised here")] if where else [])

    # -- inputs --------------------------------------------------------------------------------------------------------

    def _given(self, args: tuple[Any, ...], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if len(args) == 1 and isinstance(args[0], Mapping):
            inputs = {**args[0], **inputs}
        elif args:
            if len(args) != 1 or len(self.inputs) != 1:
                raise NetcError("R601", f"the net has the inputs {', '.join(self.inputs) or 'none'}; give them by name")
            inputs = {self.inputs[0]: args[0], **inputs}
        known = self.feeding.tops
        for name in inputs:
            if name not in known:
                raise NetcError(
                    "R601",
                    f'the net has no input "{name}"{did_you_mean(name, known)}',
                    None,
                    f"its inputs: {', '.join(sorted(known)) or 'none'}",
                )
        return {name: x if isinstance(x, Tensor) else self._tensor(name, x) for name, x in inputs.items()}

    def _tensor(self, name: str, array: Any) -> Tensor:
        """A numpy array, as pycaffe takes them, in the net's type. Raises NetcError R601 for anything else."""
        if getattr(getattr(array, "dtype", None), "kind", "") not in ("f", "i", "u", "b"):
            found = f'the input "{name}" is a {type(array).__name__}, not a tensor or an array of numbers'
            raise NetcError("R601", found, None, "give a torch.Tensor of the blob's shape")
        like = next(self.parameters(), torch.zeros(0))
        kind = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else "f8"
        owned = np.require(array, kind, ["C", "W"])  # torch takes no mirrored image, and warns of one that is read-only
        return torch.as_tensor(owned, dtype=like.dtype, device=like.device)

    def set_input_arrays(self, data: Any, labels: Any, layer: str | None = None) -> None:
        """Feed a MemoryData layer (`layer`: its name, where the net has several) from arrays, as pycaffe's method of
        this name: (n, channels, height, width) and n labels, n a multiple of its batch size.

        Each pass takes the next batch, starting with the first one and again after the last. Raises NetcError R651 (no
        such layer), D555 (arrays that do not fit).
        """
        from netc.runtime.data.array_feed import ArrayFeed

        found = [s.node for s in self.steps if s.node.layer.feed == ARRAYS and layer in (None, s.node.name)]
        if len(found) != 1:
            named = f' of the name "{layer}"' if layer is not None else ""
            raise NetcError(
                "R651",
                f"the net has {len(found) or 'no'} MemoryData layers{named}",
                found[0].place if found else None,
                "say which: layer=…" if found else "other layers' tops are given in the call, net(data=…)",
            )
        self.feeding.use_arrays(found[0], ArrayFeed(found[0].layer, data, labels))

    def _check_blobs(self, wanted: Sequence[str]) -> None:
        for name in wanted:
            if name not in self.graph.shapes and name not in self._returned:
                raise NetcError("R602", f'the net has no blob "{name}"{did_you_mean(name, self.graph.shapes)}')

    # -- losses and weights --------------------------------------------------------------------------------------------

    def losses(self, outputs: Mapping[str, Tensor], shares: Mapping[str, float] | None = None) -> Tensor:
        """Σ loss_weight · loss over the loss tops in `outputs` (a non-scalar top counts with the sum of its values).
        `shares`: of the outputs of a part of a batch, how much each scalar counts in the mean over all parts."""
        weights = {top: w * (shares or {}).get(top, 1) for top, w in self._loss_weights}
        terms = [
            outputs[top].sum() * w if outputs[top].dim() else outputs[top] * w if w != 1 else outputs[top]
            for top, w in weights.items()
            if top in outputs
        ]
        if not terms:
            raise self.no_loss()
        return torch.stack(terms).sum() if len(terms) > 1 else terms[0]

    def no_loss(self) -> NetcError:
        """R604, with the reason."""
        place, name = Place(self.graph.path), self.graph.name or "unnamed"
        if self._loss_weights:
            losses = ", ".join(f'"{top}"' for top, _ in self._loss_weights)
            return NetcError("R604", f"no loss is among these outputs; those of the net: {losses}", place)
        phase = "TRAIN" if any(node.layer.phase == 0 for node in self.graph.nodes) else "TEST"
        hint = "add a loss layer, or loss_weight: 1 where a top is the loss; include { phase: TEST } keeps one out"
        hint = hint if phase == "TRAIN" else "load it with phase TRAIN, if its loss is there"
        return NetcError("R604", f'the net "{name}" has no loss: no layer has one in {phase}', place, hint)

    def has_loss(self) -> bool:
        return bool(self._loss_weights)

    def share_from(self, trained: Net) -> list[Tensor]:
        """Take `trained`'s own tensors, not copies, for every layer it has by the same name (ShareTrainedLayersWith),
        and for every layer here that shares a parameter with one of those. Returns the tensors taken.

        Raises NetcError R606 where such a layer has other parameter shapes here.
        """
        theirs = {step.node.name: step for step in reversed(trained.steps) if step.params}
        taken: dict[tuple[int, int], Tensor] = {}
        for step in self.steps:
            if step.params and step.node.name in theirs:
                self._share(step, theirs[step.node.name])
                for ref, tensor in zip(step.node.params, step.held(), strict=True):
                    taken.setdefault(ref.owner, tensor)
        for step in self.steps:
            if step.node.name not in theirs:
                self._share_by_name(step, taken)
        return list(taken.values())

    def _share(self, step: Step, other: Step) -> None:
        shapes, own = ([ref.blob.shape for ref in node.params] for node in (other.node, step.node))
        if shapes != own:
            raise NetcError(
                "R606",
                f'layer "{step.node.name}" has the parameter shapes {", ".join(map(format_shape, own)) or "none"}, '
                f"but {', '.join(map(format_shape, shapes))} in the net it shares them with",
                step.node.place,
            )
        for place, tensor in zip(step.params, other.held(), strict=True):
            self._replace(place, tensor)
        step.views = other.views

    def share_views(self, other: Net) -> None:
        """Take the tensors of `other`'s layers of the same names, as views where a layer has another shape of as many
        values here: a fully-connected layer that is a convolution (netc.passes.convolutional)."""
        theirs = {step.node.name: step for step in reversed(other.steps) if step.params}
        for step in self.steps:
            if step.params:
                tensors = theirs[step.node.name].held()
                for position, (place, tensor) in enumerate(zip(step.params, tensors, strict=True)):
                    self._take(step, position, place, tensor)

    def _share_by_name(self, step: Step, taken: Mapping[tuple[int, int], Tensor]) -> None:
        """A layer that the trained net lacks still has one parameter with the layers that it names."""
        for position, (place, ref) in enumerate(zip(step.params, step.node.params, strict=True)):
            if ref.owner in taken:
                self._take(step, position, place, taken[ref.owner])

    def _take(self, step: Step, position: int, place: tuple[nn.Module, str], tensor: Tensor) -> None:
        self._replace(place, tensor)
        shape = step.node.params[position].blob.shape
        if tensor.shape != shape:
            step.views = {**step.views, position: shape}

    def _replace(self, place: tuple[nn.Module, str], tensor: Tensor) -> None:
        holder, name = place
        delattr(holder, name)
        self._register(holder, name, tensor)

    def copy_from(self, source: Any) -> Any:
        """Load weights by layer name from a file (or {layer: [arrays]}), as Net::CopyTrainedLayersFrom.

        Layers of the file the net lacks are ignored, layers the file lacks keep their values; a blob count or shape
        that does not fit is an error, and so is a file of no layer of the net. Returns the plan: what was copied,
        reshaped, skipped and left.
        """
        from netc.weights.fitting import plan_for

        plan = plan_for(self.graph, source)
        plan.copy_into(self.params)
        return plan


def memory_of(tensor: Tensor) -> int:
    """Where a parameter lies, the same for every view of it."""
    return tensor.untyped_storage().data_ptr()
