"""The text of the file: docstring, imports, helpers, the class with its submodules, forward and losses."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from netc import __version__
from netc.errors import Findings, NetcError, raise_all
from netc.graph.ir import Graph, Node, ParamRef
from netc.layers.base import ParamBlob
from netc.layers.code import call, number, quoted
from netc.look.emit.fillers import initial_values
from netc.look.emit.flow import Statement, code_of, flow_of, modules_of
from netc.look.emit.functions import names_in, needed, table
from netc.look.emit.text import WIDTH, class_name, docstring, is_attribute, laid_out, shape_text, shown

_BUILTINS = ("dict", "float", "int", "len", "max", "min", "next", "print", "range", "self", "sum", "super", "tuple")
_IMPORTED = ("F", "Tensor", "annotations", "device", "nn", "outputs", "torch")
PHASES = ("TRAIN", "TEST")


@dataclass(frozen=True, slots=True)
class Emission:
    """`code`: the text of a Python file. `class_name`: its class."""

    code: str
    class_name: str


def emit(graph: Graph, name: str | None = None, file: str = "") -> Emission:
    """The net as a Python file with one nn.Module, which needs torch alone. `name`: the class's; `file`: the file's.

    Raises NetcError L390 (settings that torch's modules do not have), L391 (a type without an emitter), all of a net's.
    """
    return _Writer(graph, name or _class_name(graph), file).emission()


def is_free(name: str) -> bool:
    """Whether the file has no other use for a name."""
    return name not in {*table(), *_IMPORTED, *_BUILTINS}


def _class_name(graph: Graph) -> str:
    name = class_name(graph.name)
    return name if is_free(name) else f"{name}Net"


class _Writer:
    def __init__(self, graph: Graph, name: str, file: str) -> None:
        self.graph, self.name, self.file = graph, name, file
        self.modules = modules_of(graph)
        self.functions = table(frozenset(node.layer.plugin for node in graph.nodes if node.layer.plugin))
        self.source = os.path.basename(graph.path) or "the net"
        _check(graph)
        self.flow = flow_of(graph, {i: self._callable(i) for i in self.modules}, self._taken())

    def _taken(self) -> set[str]:
        return {*self.functions, *_BUILTINS, *_IMPORTED, self.name}

    def emission(self) -> Emission:
        body = "\n".join(self._class())
        chosen = [function.text for function in needed(body, self.functions)]
        code = "\n\n\n".join([*chosen, body])
        head = [*self._docstring(), "", "from __future__ import annotations", "", *_imports(code)]
        return Emission("\n".join(head) + f"\n\n\n{code}\n", self.name)

    def _callable(self, index: int) -> str:
        """A layer's submodule, as an expression; where it shares a parameter that its owner has under another shape, as
        its own forward takes it."""
        module, nodes = _access(self.modules[index]), self.graph.nodes
        other = [ref.blob for ref in nodes[index].params if _owner(nodes, ref).shape != ref.blob.shape]
        return call("Reshaped", module, **{blob.name: blob.shape for blob in other}) if other else module

    # -- the head ------------------------------------------------------------------------------------------------------

    def _docstring(self) -> Iterator[str]:
        """Title, source, inputs, outputs, and how to load weights."""
        phase = PHASES[self.graph.phase]
        title = docstring(shown(self.graph.name)) or self.name
        yield f'"""{title}, written by netc {__version__} from a Caffe net.'
        yield ""
        yield from wrap(
            f"Source: {docstring(shown(self.source))}, {phase} phase. Comments give its lines, and the shapes of tops "
            "as it has them; other batches run too, and images of other sizes where the layers allow them.",
            WIDTH,
        )
        for value in self.flow.arguments:
            said = self._convention(value.blob)
            yield from wrap(f"Input {value.name}: {shape_text(value.shape)}{f', {said}' if said else ''}.", WIDTH)
        for result, value in self.flow.results.items():
            yield f"Output {docstring(shown(result))}: {shape_text(value.shape)}."
        if self.modules:
            yield from self._how_to_load(".eval()" if phase == "TEST" else "")
        yield '"""'

    def _convention(self, blob: str) -> str:
        """What is known of the values of a source's top."""
        node = next(node for node in self.graph.nodes if node.layer.is_source and blob in node.tops)
        position = node.tops.index(blob)
        return docstring(shown(node.layer.convention(position, node.top_shapes[position]), 200))

    def _how_to_load(self, mode: str) -> Iterator[str]:
        file = docstring(shown(os.path.splitext(os.path.basename(self.file))[0])) or "weights"
        yield ""
        yield "    from safetensors.torch import load_file"
        yield ""
        yield f"    net = {self.name}(){mode}"
        yield f'    net.load_state_dict(load_file("{file}.safetensors"))'

    # -- the class -----------------------------------------------------------------------------------------------------

    def _class(self) -> Iterator[str]:
        yield f"class {self.name}(nn.Module):"
        if self.modules:
            yield from self._init()
            yield ""
        if not all(map(is_attribute, self.modules.values())):
            yield "    def __getitem__(self, layer: str) -> nn.Module:"
            yield '        """A layer by its name, where that is not an attribute\'s."""'
            yield "        return self.get_submodule(layer)"
            yield ""
        yield from self._forward()
        if self.flow.losses:
            yield ""
            yield from self._losses()

    def _init(self) -> Iterator[str]:
        yield "    def __init__(self) -> None:"
        yield "        super().__init__()"
        for index, module in self.modules.items():
            node = self.graph.nodes[index]
            made = self._made(node)
            added = f"self.{module} = {made}" if is_attribute(module) else f"self.add_module({quoted(module)}, {made})"
            yield from laid_out(added, 2, self._place(node))
        yield from self._shared()
        if self.graph.phase == 0:
            filled = list(initial_values(self.graph, {i: _access(module) for i, module in self.modules.items()}))
            yield from ["", *filled] if filled else []
        yield from self._frozen()

    def _made(self, node: Node) -> str:
        return code_of(node, ("x",) * len(node.bottoms), "self.module").module

    def _place(self, node: Node) -> str:
        if not node.place.line:
            return ""
        return f"{shown(self.source)}:{node.place.line}" if len(self.source) <= 30 else f"line {node.place.line}"

    def _shared(self) -> Iterator[str]:
        """Parameters that several layers have in common."""
        for index, node in enumerate(self.graph.nodes):
            for position, ref in enumerate(node.params):
                owner, at = ref.owner
                if (owner, at) != (index, position):
                    theirs = _owner(self.graph.nodes, ref).name
                    mine = f"{_access(self.modules[index])}.{ref.blob.name}"
                    yield from laid_out(f"{mine} = {_access(self.modules[owner])}.{theirs}", 2, "shared")

    def _frozen(self) -> Iterator[str]:
        """Parameters that are not trained: lr_mult 0."""
        if self.graph.param.force_backward:
            return
        for index, node in enumerate(self.graph.nodes):
            refs = [ref for p, ref in enumerate(node.params) if not ref.blob.frozen and ref.owner == (index, p)]
            still = [ref for ref in refs if not ref.learnable]
            module = _access(self.modules[index]) if still else ""
            targets = [module] if len(still) == len(refs) else [f"{module}.{ref.blob.name}" for ref in still]
            for target in targets if still else ():
                yield from laid_out(f"{target}.requires_grad_(False)", 2, "lr_mult: 0")

    # -- forward -------------------------------------------------------------------------------------------------------

    def _forward(self) -> Iterator[str]:
        made = self._made_up()
        arguments = ["self"]
        for value in sorted(self.flow.arguments, key=lambda value: value.blob in made):
            default = " | None = None" if value.blob in made else ""
            arguments.append(f"{value.name}: Tensor{default}")
        returned = "Tensor" if self._returns_one() else "dict[str, Tensor]"
        yield from laid_out(f"def forward({', '.join(arguments)}) -> {returned}:", 1)
        yield from self._fillings(made)
        for node in self.flow.idle:
            yield from self._idle(node)
        for statement in self.flow.statements:
            yield from self._statement(statement)
            if statement.ends_block and statement is not self.flow.statements[-1]:
                yield ""
        if self._last() is None:
            yield from self._return()

    def _last(self) -> Statement | None:
        """The statement whose value forward returns, where that is all that it returns."""
        last = self.flow.statements[-1] if self.flow.statements else None
        return last if last and self._returns_one() and list(self.flow.results.values()) == last.tops else None

    def _returns_one(self) -> bool:
        return len(self.flow.results) == 1 and not self.flow.losses

    def _made_up(self) -> dict[str, str]:
        """Top of a source that makes it itself where the caller gives none → the expression that does."""
        sources = [node for node in self.graph.nodes if node.layer.is_source]
        return {top: made for node in sources for top, made in zip(node.tops, code_of(node, ()).tops, strict=False)}

    def _fillings(self, made: dict[str, str]) -> Iterator[str]:
        if made and self.modules:
            yield "        device = next(self.parameters()).device"
        for value in self.flow.arguments:
            if value.blob in made:
                yield f"        if {value.name} is None:"
                expression = made[value.blob] if self.modules else made[value.blob].replace(", device=device", "")
                yield from laid_out(f"{value.name} = {expression}", 3)

    def _statement(self, statement: Statement) -> Iterator[str]:
        inner: str | None = None
        expressions: tuple[str, ...] = ()
        for part in statement.parts:
            expressions = part.expressions(inner)
            inner = expressions[0] if expressions else None
        tops, comment = statement.tops, self._comment(statement)
        if not tops:
            yield from self._idle(statement.parts[0].node)
        elif statement is self._last():
            for node in statement.idle:
                yield from self._idle(node)
            yield from laid_out(f"return {expressions[0]}", 2, comment)
            return
        elif len(expressions) == 1:
            yield from laid_out(f"{', '.join(value.name for value in tops)} = {expressions[0]}", 2, comment)
        else:
            for value, expression in zip(tops, expressions, strict=True):
                yield from laid_out(f"{value.name} = {expression}", 2, comment)
                comment = shape_text(value.shape)
        for node in statement.idle:
            yield from self._idle(node)

    def _comment(self, statement: Statement) -> str:
        """The layers' names where the code does not show them, the shapes, the lines."""
        first = statement.parts[0]
        shows = [value.name for value in statement.tops] if statement is not self._last() else []
        known = first.module or first.node.name in shows
        name = "" if known or not first.node.name else f"{shown(first.node.name)}: "
        shapes = list(dict.fromkeys(shape_text(value.shape) for value in statement.tops))
        lines = [str(part.node.place.line) for part in statement.parts if part.node.place.line]
        where = f"; line{'s' if len(lines) > 1 else ''} {', '.join(lines)}" if lines else ""
        return f"{name}{', '.join(shapes)}{where}"

    def _idle(self, node: Node) -> Iterator[str]:
        where = f", line {node.place.line}" if node.place.line else ""
        reason = f" {node.layer.idle}" if node.layer.idle else ""
        what = f"{shown(node.name)} ({node.type}{where})"
        yield f"        # {what}: nothing to do{reason}"

    def _return(self) -> Iterator[str]:
        if self._returns_one():
            (value,) = self.flow.results.values()
            yield f"        return {value.name}"
            return
        items = ", ".join(f"{quoted(name)}: {value.name}" for name, value in self.flow.results.items())
        yield from laid_out(f"return {{{items}}}", 2)

    def _losses(self) -> Iterator[str]:
        yield "    @staticmethod"
        yield "    def losses(outputs: dict[str, Tensor]) -> Tensor:"
        yield '        """What training minimises."""'
        terms = []
        for name, weight in self.flow.losses.items():
            term = f"outputs[{quoted(name)}]" + (".sum()" if self.flow.results[name].shape else "")
            terms.append(term if weight == 1 else f"{number(weight)} * {term}")
        yield from laid_out(f"return {' + '.join(terms)}", 2)


def _owner(nodes: Sequence[Node], ref: ParamRef) -> ParamBlob:
    """The parameter that holds the values."""
    index, place = ref.owner
    return nodes[index].params[place].blob


def _access(module: str) -> str:
    return f"self.{module}" if is_attribute(module) else f"self[{quoted(module)}]"


def _check(graph: Graph) -> None:
    """Raise all the errors of a net's layers at once."""
    errors = Findings()
    for node in graph.nodes:
        try:
            code_of(node, tuple(f"b{i}" for i in range(len(node.bottoms))), "self.module")
        except NetcError as error:
            errors.add(error)
    raise_all(errors)


def _imports(code: str) -> Iterator[str]:
    used = names_in(ast.parse(code))
    plain = {"Callable": "from collections.abc import Callable", "math": "import math", "Any": "from typing import Any"}
    standard = [line for name, line in plain.items() if name in used]
    if standard:
        yield from sorted(standard, key=lambda line: (line.startswith("from"), line))
        yield ""
    if "torch" in used:
        yield "import torch"
    if "F" in used:
        yield "import torch.nn.functional as F"
    yield f"from torch import {', '.join(name for name in ('Tensor', 'nn') if name in used)}"
