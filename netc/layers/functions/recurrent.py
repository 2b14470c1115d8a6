"""Cells that are unrolled over time (recurrent_layer.cpp, rnn_layer.cpp, lstm_layer.cpp, lstm_unit_layer.cpp)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def unrolled(
    step: Callable[..., tuple[Tensor, list[Tensor]]],
    x: Tensor,
    marks: Tensor,
    weights: list[Tensor],
    static: Tensor | None,
    state: list[Tensor] | None,
    states: int,
) -> tuple[Tensor, list[Tensor]]:
    """(outputs (T, N, H), the state behind the last step) of x (T, N, …) and marks (T, N), 0 where a sequence begins.

    `weights`: the input's weight and bias, that of `static` (N, …) where there is one, then those of `step`. `state`:
    `states` tensors (N, H) before the first step; None: zeros.
    """
    input_weight, input_bias, *rest = weights
    inputs = F.linear(x.flatten(2), input_weight, input_bias)
    if static is not None:
        static_weight, *rest = rest
        inputs = inputs + F.linear(static.flatten(1), static_weight)
    if state is None:
        state = [inputs.new_zeros(inputs.shape[1], rest[0].shape[1])] * states
    outputs = []
    for row, mark in zip(inputs.unbind(), marks.detach().unsqueeze(-1).unbind(), strict=True):
        y, state = step(row, mark, state, *rest)
        outputs.append(y)
    return torch.stack(outputs), state


def carried_on(state: list[Tensor] | None, x: Tensor) -> list[Tensor] | None:
    """A state kept from the call before, where x has its batch size and is on its device."""
    fits = state is not None and state[0].shape[0] == x.shape[1] and state[0].device == x.device
    return state if fits else None


def rnn_step(
    inputs: Tensor, mark: Tensor, state: list[Tensor], hidden_weight: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """h = tanh(inputs + W_h (mark · h)), y = tanh(W_o h + b_o)."""
    hidden = (inputs + F.linear(mark * state[0], hidden_weight)).tanh()
    return F.linear(hidden, weight, bias).tanh(), [hidden]


def lstm_step(inputs: Tensor, mark: Tensor, state: list[Tensor], hidden_weight: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Gates inputs + W_h (mark · h), and the unit behind them."""
    cell, hidden = lstm_unit(state[1], inputs + F.linear(mark * state[0], hidden_weight), mark)
    return hidden, [hidden, cell]


def lstm_unit(cell: Tensor, gates: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:
    """(new cell, hidden) from the cell before, the gates' inputs in the order i, f, o, g, and the mark."""
    enter, forget, leave, new = gates.chunk(4, -1)
    # where, not a product: a state of infinity or NaN ends with its sequence
    kept = (mark * forget.sigmoid() * cell).where(mark != 0, 0.0)
    cell = kept + enter.sigmoid() * new.tanh()
    return cell, leave.sigmoid() * cell.tanh()


class Recurrent(nn.Module):
    """What RNN and LSTM share: x (T, N, ...), marks (T, N) (0 begins a sequence), perhaps a static input (N, ...).

    With `expose_hidden` the states are arguments and results; else the last state is kept for the next call, and
    `state = None` forgets it.
    """

    gates: int
    """Values that the input makes for each hidden unit."""
    states: int
    step: Callable[..., tuple[Tensor, list[Tensor]]]

    def __init__(self, inputs: int, hidden: int, static: int | None = None, expose_hidden: bool = False) -> None:
        super().__init__()
        width, self.expose_hidden = self.gates * hidden, expose_hidden
        self.input_weight = nn.Parameter(torch.empty(width, inputs))
        self.input_bias = nn.Parameter(torch.zeros(width))
        self.static_weight = None if static is None else nn.Parameter(torch.empty(width, static))
        self.hidden_weight = nn.Parameter(torch.empty(width, hidden))
        for weight in (self.input_weight, self.static_weight, self.hidden_weight):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        self.state: list[Tensor] | None = None

    def forward(self, x: Tensor, marks: Tensor, *more: Tensor) -> Tensor | tuple[Tensor, ...]:
        weights: list[Tensor] = [weight for _, weight in self.named_parameters(remove_duplicate=False)]
        static = None if self.static_weight is None else more[0]
        given = [part.squeeze(0) for part in more[-self.states :]] if self.expose_hidden else None
        y, state = unrolled(self.step, x, marks, weights, static, given or carried_on(self.state, x), self.states)
        if self.expose_hidden:
            return (y, *[part.unsqueeze(0) for part in state])
        self.state = [part.detach() for part in state]
        return y


class LSTM(Recurrent):
    """Long short-term memory with the gates i, f, o, g in one matrix each for input and hidden state."""

    gates = 4
    states = 2
    step = staticmethod(lstm_step)


class RNN(Recurrent):
    """h_t = tanh(W_x x_t + W_h h_{t-1} + b), y_t = tanh(W_o h_t + b_o)."""

    gates = 1
    states = 1
    step = staticmethod(rnn_step)

    def __init__(self, inputs: int, hidden: int, static: int | None = None, expose_hidden: bool = False) -> None:
        super().__init__(inputs, hidden, static, expose_hidden)
        self.output_weight = nn.Parameter(torch.empty(hidden, hidden))
        nn.init.xavier_uniform_(self.output_weight)
        self.output_bias = nn.Parameter(torch.zeros(hidden))
