from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from netc.layers.base import Layer, Run, Shape, at_least, count, exactly, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


class Recurrent(Layer):
    """What RNN and LSTM share: x (T, N, …), continuation marks (T, N), perhaps a static input (N, …), hidden states.

    A mark of 0 starts a new sequence: the hidden state before it counts as 0. Without `expose_hidden`, the state after
    the last step is kept and is where the next forward pass starts; with it, the states are bottoms and tops.
    """

    bottoms = at_least(2)
    tops = at_least(1)
    no_gradient = (1,)
    force_backward_skips = (1,)
    in_place = False
    param_field = "recurrent_param"
    kind = "recurrent"
    weight_axes = 2
    blob_lists: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("input_weight", "input_bias", "hidden_weight"),
        ("input_weight", "input_bias", "static_weight", "hidden_weight"),
    )
    mixes_rows = True
    states: ClassVar[int]
    """How many hidden states there are."""
    gates: ClassVar[int]
    """How many values the input makes for each hidden unit."""
    step: ClassVar[str]
    """The function of netc.layers.functions.recurrent that makes one step."""

    @property
    def carries_state(self) -> bool:  # type: ignore[override]
        return not self.options.expose_hidden

    @property
    def _exposed(self) -> int:
        return self.states if self.options.expose_hidden else 0

    def top_count(self) -> int | None:
        return 1 + self._exposed

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        hidden = self.options.num_output
        if hidden < 1:
            self.fail("needs a num_output of at least 1", "recurrent_param.num_output", "add `num_output: 256`")
        self._check_bottoms(bottoms)
        steps, batch = bottoms[0][:2]
        static = bottoms[2] if self._has_static(len(bottoms)) else None
        self._learn(count(bottoms[0], 2), None if static is None else count(static, 1), hidden)
        return [(steps, batch, hidden), *[(1, batch, hidden)] * self._exposed]

    def _has_static(self, bottoms: int) -> bool:
        return bottoms == 3 + self._exposed

    def _check_bottoms(self, bottoms: Sequence[Shape]) -> None:
        least = 2 + self._exposed
        if not least <= len(bottoms) <= least + 1:
            self.fail(f"takes {least} or {least + 1} bottoms with these settings, found {len(bottoms)}", "bottom")
        if len(bottoms[0]) < 2:
            self.fail(f"needs a bottom 0 of (T, N, …), found {format_shape(bottoms[0])}", "bottom[0]", code="L302")
        steps, batch = bottoms[0][:2]
        if bottoms[1] != (steps, batch):
            found = f"needs a bottom 1 of {steps}×{batch}, found {format_shape(bottoms[1])}"
            self.fail(found, "bottom[1]", "one mark for each step and sample: 0 begins a sequence, 1 goes on", "L302")
        if self._has_static(len(bottoms)) and bottoms[2][:1] != (batch,):
            found = f"needs a static bottom of {batch} samples, found {format_shape(bottoms[2])}"
            self.fail(found, "bottom[2]", code="L302")
        for index in range(len(bottoms) - self._exposed, len(bottoms)):
            if bottoms[index] != (1, batch, self.options.num_output):
                found = f"needs a state of 1×{batch}×{self.options.num_output}, found {format_shape(bottoms[index])}"
                self.fail(found, f"bottom[{index}]", code="L302")

    def _learn(self, inputs: int, static: int | None, hidden: int) -> None:
        width = self.gates * hidden
        shapes = {
            "input_weight": (width, inputs),
            "input_bias": (width,),
            "static_weight": (width, static or 0),
            "hidden_weight": (width, hidden),
            "output_weight": (hidden, hidden),
            "output_bias": (hidden,),
        }
        for name in self.blob_lists[static is not None]:
            self.add_param(name, shapes[name], f"recurrent_param.{name.partition('_')[2]}_filler")

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import recurrent

        x, marks, exposed = bottoms[0], bottoms[1], self._exposed
        static = bottoms[2] if self._has_static(len(bottoms)) else None
        if exposed:
            state: list[Tensor] | None = [state.squeeze(0) for state in bottoms[-exposed:]]
        else:
            state = recurrent.carried_on(run.state(self).get("hidden"), x)
        step = getattr(recurrent, self.step)
        y, last = recurrent.unrolled(step, x, marks, list(params), static, state, self.states)
        if exposed:
            return [y, *[state.unsqueeze(0) for state in last]]
        run.state(self)["hidden"] = [state.detach() for state in last]
        return [y]

    def emit(self, site: Site) -> Code:
        shapes = {blob.name: blob.shape for blob in self.blobs}
        settings = {"static": shapes["static_weight"][1]} if "static_weight" in shapes else {}
        settings |= self.changed(expose_hidden="expose_hidden")
        module = call(self.type, shapes["input_weight"][1], self.options.num_output, **settings)
        return Code(site.call(), module, together=site.tops > 1)

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        steps, batch = bottoms[0][:2]
        total = 0
        for blob in self.blobs:
            if len(blob.shape) == 2:
                total += count(blob.shape) * batch * (1 if blob.name == "static_weight" else steps)
        return total


@layer("RNN")
class RNN(Recurrent):
    """h_t = tanh(W_x x_t + W_s s + W_h (mark_t · h_{t-1}) + b), y_t = tanh(W_o h_t + b_o).

    Fields: `recurrent_param { num_output, weight_filler, bias_filler, expose_hidden }`.
    Bottoms: x (T, N, …), marks (T, N) (0 begins a sequence), optionally a static s (N, …), and with expose_hidden
    h (1, N, H). Tops: y (T, N, H), and with expose_hidden the last h (1, N, H).
    Parameters: W_x, b, [W_s,] W_h, W_o, b_o. Source: rnn_layer.cpp, recurrent_layer.cpp.
    """

    blob_lists = tuple((*names, "output_weight", "output_bias") for names in Recurrent.blob_lists)
    states = 1
    gates = 1
    step = "rnn_step"


@layer("LSTM")
class LSTM(Recurrent):
    """Long short-term memory: gates i, f, o, g = W_x x_t + W_s s + W_h (mark_t · h_{t-1}) + b, then an LSTMUnit.

    Fields: `recurrent_param { num_output, weight_filler, bias_filler, expose_hidden }`.
    Bottoms: x (T, N, …), marks (T, N) (0 begins a sequence), optionally a static s (N, …), and with expose_hidden
    h and c, each (1, N, H). Tops: h (T, N, H), and with expose_hidden the last h and c.
    Parameters: W_x (4H, D), b (4H), [W_s (4H, S),] W_h (4H, H). Source: lstm_layer.cpp, recurrent_layer.cpp.
    """

    states = 2
    gates = 4
    step = "lstm_step"


@layer("LSTMUnit")
class LSTMUnit(Layer):
    """c_t = mark · σ(f) · c_{t-1} + σ(i) · tanh(g), h_t = σ(o) · tanh(c_t), from gates in the order i, f, o, g.

    Shapes: c (1, N, H), gates (1, N, 4H), marks (1, N) → c_t, h_t (1, N, H). Errors: shapes that do not match.
    Source: lstm_unit_layer.cpp.
    """

    bottoms = exactly(3)
    tops = exactly(2)
    no_gradient = (2,)
    in_place = False
    kind = "recurrent"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        cell, gates, marks = bottoms
        fits = len(cell) == 3 and cell[0] == 1 and gates == (1, cell[1], 4 * cell[2]) and marks == (1, cell[1])
        if not fits:
            listed = ", ".join(map(format_shape, bottoms))
            self.fail(f"needs (1, N, H), (1, N, 4H) and (1, N), found {listed}", "bottom", code="L302")
        return [cell, cell]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import recurrent

        return list(recurrent.lstm_unit(bottoms[0], bottoms[1], bottoms[2].detach().unsqueeze(-1)))

    def emit(self, site: Site) -> Code:
        cell, gates, marks = site.bottoms
        return Code(f"lstm_unit({cell}, {gates}, {marks}.detach().unsqueeze(-1))", together=True)
