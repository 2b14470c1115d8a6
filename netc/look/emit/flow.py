"""The net as statements: each value once, under a name that a reader knows, in-place layers and Splits resolved.

A blob that several layers write (in place) is as many values. A value that only the next statement reads is called x,
as in hand-written modules; any other one has its blob's name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from netc.graph.edges import Top
from netc.graph.ir import Graph, Node
from netc.layers.base import Shape
from netc.layers.code import Code, Site
from netc.look.emit.text import identifier
from netc.weights.keys import module_names

CHAIN = ("x", "y", "z", *(f"x{number}" for number in range(1000)))
"""Names for values that live from one statement to the next; the first that no input has."""


@dataclass(eq=False, slots=True)
class Value:
    """What one statement makes, or an argument of forward (`made` -1). `uses`: statements that read it."""

    blob: str
    shape: Shape
    made: int = -1
    uses: list[int] = field(default_factory=list)
    shared: bool = False
    name: str = "_"


@dataclass(slots=True)
class Bottom:
    """A value that a layer reads; `detached` where no gradient may pass."""

    value: Value
    detached: bool = False

    @property
    def name(self) -> str:
        return f"{self.value.name}.detach()" if self.detached else self.value.name


@dataclass(slots=True)
class Part:
    """A layer of a statement: its node, its own submodule's expression, what it reads."""

    node: Node
    module: str
    bottoms: list[Bottom]

    def expressions(self, inner: str | None = None) -> tuple[str, ...]:
        """An expression for each top (one for all where they come together), `inner` being the first bottom."""
        names = tuple(bottom.name for bottom in self.bottoms)
        code = code_of(self.node, (inner, *names[1:]) if inner is not None else names, self.module)
        return code.expressions(len(self.node.tops))


@dataclass(slots=True)
class Statement:
    """Layers that one line computes (a convolution and its ReLU). `idle`: layers behind them with nothing to do."""

    parts: list[Part]
    tops: list[Value] = field(default_factory=list)
    idle: list[Node] = field(default_factory=list)

    @property
    def ends_block(self) -> bool:
        """Whether a reader would set a blank line behind it."""
        return bool(self.tops) and self.parts[0].node.layer.ends_block


@dataclass(slots=True)
class Flow:
    """`arguments` of forward, the statements, and the values it returns by the names they are returned under.

    `losses`: name among the results → its weight in the loss that training minimises. `idle`: layers with nothing to do
    before the first statement.
    """

    arguments: list[Value] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    results: dict[str, Value] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    idle: list[Node] = field(default_factory=list)


def code_of(node: Node, bottoms: tuple[str, ...], module: str = "") -> Code:
    """What a node becomes, given an expression for each bottom. Raises NetcError L390, L391."""
    site = Site(bottoms, node.bottom_shapes, len(node.tops), module)
    return node.layer.emit(site)


def modules_of(graph: Graph) -> dict[int, str]:
    """Node index → the name of its submodule, for the nodes with parameters."""
    return module_names((index, node.name) for index, node in enumerate(graph.nodes) if node.params)


def flow_of(graph: Graph, modules: Mapping[int, str], taken: Collection[str]) -> Flow:
    """The statements of `graph`. `modules`: node index → expression of its submodule; `taken`: names not to give.

    Raises NetcError L390, L391 for layers that cannot be written.
    """
    builder = _Builder(graph, modules)
    for index, node in enumerate(graph.nodes):
        builder.add(index, node)
    flow = builder.finished()
    _Names(flow, taken).give()
    return flow


class _Builder:
    """Walks the nodes; `values` has what each of them makes."""

    def __init__(self, graph: Graph, modules: Mapping[int, str]) -> None:
        self.graph, self.modules = graph, modules
        self.flow = Flow()
        self.values: dict[Top, Value] = {}

    def add(self, index: int, node: Node) -> None:
        bottoms = [self.values[top] for top in self.graph.edges.makers[index]]
        if node.layer.copies_bottom:
            tops = bottoms * len(node.tops)
            bottoms[0].shared = bottoms[0].shared or len(tops) > 1
        elif node.layer.is_source:
            tops = [Value(top, shape) for top, shape in zip(node.tops, node.top_shapes, strict=True)]
            self.flow.arguments += tops
        else:
            tops = self._compute(node, self.modules.get(index, ""), bottoms)
        self.values.update(((index, position), value) for position, value in enumerate(tops))
        self._note_losses(node, tops)

    def _compute(self, node: Node, module: str, values: list[Value]) -> list[Value]:
        """The values of a layer's tops."""
        down = node.layer.param.propagate_down
        bottoms = [Bottom(value, i < len(down) and not down[i]) for i, value in enumerate(values)]
        part = Part(node, module, bottoms)
        same = _unchanged(part)
        number = len(self.flow.statements)
        if same is not None:
            if not any(same.count(value) > 1 for value in same):
                last = self.flow.statements[-1] if self.flow.statements else self.flow
                last.idle.append(node)
            for value in same:
                value.shared = value.shared or same.count(value) > 1
            return same
        if self._continues(part):
            statement = self.flow.statements[-1]
            statement.parts.append(part)
            number -= 1
        else:
            statement = Statement([part])
            self.flow.statements.append(statement)
            for bottom in bottoms:
                bottom.value.uses.append(number)
        named = zip(node.top_names, node.top_shapes, strict=True)
        statement.tops = [Value(top, shape, number) for top, shape in named]
        return statement.tops

    def _continues(self, part: Part) -> bool:
        """Whether the layer goes into the line of the layer before: the only reader of its only top."""
        if not part.node.layer.inline or not self.flow.statements or part.bottoms[0].detached:
            return False
        last, value = self.flow.statements[-1], part.bottoms[0].value
        return len(last.parts) == 1 and last.tops == [value] and not value.shared and not self._is_loss(value)

    def _is_loss(self, value: Value) -> bool:
        return any(found is value for name, found in self.flow.results.items() if name in self.flow.losses)

    def _note_losses(self, node: Node, values: list[Value]) -> None:
        for top, weight, value in zip(node.top_names, node.loss_weights, values, strict=True):
            if weight:
                name = value.blob if value.blob not in self.flow.results else top
                self.flow.results[name] = value
                self.flow.losses[name] = weight

    def finished(self) -> Flow:
        """The outputs in Caffe's order, then losses that are not outputs."""
        flow, hidden = self.flow, self.flow.results
        flow.results = {name: self.values[self.graph.edges.last[name]] for name in self.graph.outputs}
        flow.results.update({name: value for name, value in hidden.items() if name not in flow.results})
        for value in flow.results.values():
            value.uses.append(len(flow.statements))
        return flow


def _unchanged(part: Part) -> list[Value] | None:
    """The values of the tops where these are the layer's bottoms (a Split, a Dropout in TEST); None for any other."""
    for number, bottom in enumerate(part.bottoms):
        bottom.value.name = f"bottom_{number}"
    expressions = part.expressions()
    by_name = {bottom.name: bottom.value for bottom in part.bottoms if not bottom.detached}
    if len(expressions) != len(part.node.tops) or any(text not in by_name for text in expressions):
        return None
    return [by_name[text] for text in expressions]


class _Names:
    """Gives each value its name; one that nobody reads any more may pass its name on."""

    def __init__(self, flow: Flow, taken: Collection[str]) -> None:
        self.flow, self.taken = flow, set(taken)
        self.owner: dict[str, Value] = {}

    def give(self) -> None:
        for value in self.flow.arguments:
            self._name_by_blob(value, -1)
        chain = next(name for name in CHAIN if name not in self.owner and name not in self.taken)
        self.taken.add(chain)
        for number, statement in enumerate(self.flow.statements):
            passed_on = len(statement.tops) == 1 and number + 1 < len(self.flow.statements)
            for value in statement.tops:
                value.name = "_"
                if passed_on and set(value.uses) == {number + 1}:
                    value.name = chain
                elif value.uses:
                    self._name_by_blob(value, number)

    def _name_by_blob(self, value: Value, number: int) -> None:
        """The blob's name, or with a number behind it, so that no value loses its name that is read later."""
        name = candidate = identifier(value.blob)
        count = 1
        while candidate in self.taken or self._is_read_later(candidate, number):
            count += 1
            candidate = f"{name}_{count}"
        self.owner[candidate] = value
        value.name = candidate

    def _is_read_later(self, name: str, number: int) -> bool:
        return name in self.owner and (number < 0 or max(self.owner[name].uses, default=-1) > number)
