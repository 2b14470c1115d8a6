"""LSTM and RNN beside torch's own cells, and the state that goes on from pass to pass."""

from __future__ import annotations

import torch
from torch import Tensor

import netc

TEXT = """
layer { name: "i" type: "Input" top: "x" top: "m"
  input_param { shape { dim: 4 dim: 3 dim: 2 } shape { dim: 4 dim: 3 } } }
layer { name: "l" type: "LSTM" bottom: "x" bottom: "m" top: "h"
  recurrent_param { num_output: 5 weight_filler { type: "gaussian" std: 0.7 } bias_filler { value: 0.2 } } }
"""


def by_torch(params: list[Tensor], x: Tensor, marks: Tensor) -> Tensor:
    """torch.nn.LSTMCell has the gates in the order i, f, g, o."""
    order = torch.tensor([0, 1, 3, 2])
    weight, bias, hidden = (p.unflatten(0, (4, 5))[order].flatten(0, 1) for p in params)
    cell = torch.nn.LSTMCell(2, 5)
    cell.load_state_dict({"weight_ih": weight, "weight_hh": hidden, "bias_ih": bias, "bias_hh": torch.zeros(20)})
    h = c = torch.zeros(3, 5)
    outputs = []
    for row, mark in zip(x, marks, strict=True):
        h, c = cell(row, (h * mark[:, None], c * mark[:, None]))
        outputs.append(h)
    return torch.stack(outputs)


def test_lstm_is_torchs_and_goes_on_where_it_stopped() -> None:
    torch.manual_seed(1)
    net = netc.load_net(TEXT)
    x, marks = torch.randn(8, 3, 2), torch.tensor([[0, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 0]] * 2).float()
    with torch.no_grad():
        expected = by_torch([p.detach() for p in net.params["l"]], x, marks)
        first = net(x=x[:4], m=marks[:4])["h"]
        second = net(x=x[4:], m=marks[4:])["h"]
    torch.testing.assert_close(torch.cat([first, second]), expected, atol=1e-6, rtol=1e-5)


def test_another_batch_size_starts_afresh() -> None:
    net = netc.load_net(TEXT)
    x, marks = torch.randn(4, 3, 2), torch.ones(4, 3)
    with torch.no_grad():
        fresh = net(x=x[:, :2], m=marks[:, :2])["h"]
        net(x=x, m=marks)
        again = net(x=x[:, :2], m=marks[:, :2])["h"]
    assert torch.equal(fresh, again)
