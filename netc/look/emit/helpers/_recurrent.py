"""Caffe's recurrent layers. Never imported by netc: its text goes into emitted files."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Recurrent(nn.Module):
    """What RNN and LSTM share: x (T, N, ...), marks (T, N) (0 begins a sequence), perhaps a static input (N, ...).

    With `expose_hidden` the states are arguments and results; else the last state is kept for the next call, and
    `state = None` forgets it.
    """

    gates: int
    """Values that the input makes for each hidden unit."""
    states: int

    def __init__(self, inputs: int, hidden: int, static: int | None = None, expose_hidden: bool = False) -> None:
        super().__init__()
        width, self.hidden, self.expose_hidden = self.gates * hidden, hidden, expose_hidden
        self.input_weight = nn.Parameter(torch.empty(width, inputs))
        self.input_bias = nn.Parameter(torch.zeros(width))
        self.static_weight = None if static is None else nn.Parameter(torch.empty(width, static))
        self.hidden_weight = nn.Parameter(torch.empty(width, hidden))
        for weight in (self.input_weight, self.static_weight, self.hidden_weight):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        self.state: list[Tensor] | None = None

    def forward(self, x: Tensor, marks: Tensor, *more: Tensor) -> Tensor | tuple[Tensor, ...]:
        steps = F.linear(x.flatten(2), self.input_weight, self.input_bias)
        if self.static_weight is not None:
            steps = steps + F.linear(more[0].flatten(1), self.static_weight)
        state = self.first_state(steps, more)
        outputs = []
        for step, mark in zip(steps.unbind(), marks.detach().unsqueeze(-1).unbind(), strict=True):
            y, state = self.step(step, mark, state)
            outputs.append(y)
        if self.expose_hidden:
            return (torch.stack(outputs), *[part.unsqueeze(0) for part in state])
        self.state = [part.detach() for part in state]
        return torch.stack(outputs)

    def first_state(self, steps: Tensor, more: tuple[Tensor, ...]) -> list[Tensor]:
        if self.expose_hidden:
            return [part.squeeze(0) for part in more[-self.states :]]
        shape = (steps.shape[1], self.hidden)
        if self.state is not None and self.state[0].shape == shape and self.state[0].device == steps.device:
            return self.state
        return [steps.new_zeros(shape)] * self.states

    def step(self, inputs: Tensor, mark: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        raise NotImplementedError


class LSTM(Recurrent):
    """Long short-term memory with the gates i, f, o, g in one matrix each for input and hidden state."""

    gates = 4
    states = 2

    def step(self, inputs: Tensor, mark: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        gates = inputs + F.linear(mark * state[0], self.hidden_weight)
        cell, hidden = lstm_unit(state[1], gates, mark)
        return hidden, [hidden, cell]


class RNN(Recurrent):
    """h_t = tanh(W_x x_t + W_h h_{t-1} + b), y_t = tanh(W_o h_t + b_o)."""

    gates = 1
    states = 1

    def __init__(self, inputs: int, hidden: int, static: int | None = None, expose_hidden: bool = False) -> None:
        super().__init__(inputs, hidden, static, expose_hidden)
        self.output_weight = nn.Parameter(torch.empty(hidden, hidden))
        nn.init.xavier_uniform_(self.output_weight)
        self.output_bias = nn.Parameter(torch.zeros(hidden))

    def step(self, inputs: Tensor, mark: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        hidden = torch.tanh(inputs + F.linear(mark * state[0], self.hidden_weight))
        return torch.tanh(F.linear(hidden, self.output_weight, self.output_bias)), [hidden]


def lstm_unit(cell: Tensor, gates: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:
    """(new cell, hidden) from the cell before, the gates' inputs in the order i, f, o, g, and the mark."""
    enter, forget, leave, new = gates.chunk(4, -1)
    # where, not a product: a state of infinity or NaN ends with its sequence
    kept = (mark * torch.sigmoid(forget) * cell).where(mark != 0, 0.0)
    cell = kept + torch.sigmoid(enter) * torch.tanh(new)
    return cell, torch.sigmoid(leave) * torch.tanh(cell)
