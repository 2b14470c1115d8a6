"""Counter-based randomness: one definition in Python, numpy and torch; uniform; independent of how a batch is split."""

import numpy as np
import torch

from netc.runtime.net import rand


def test_three_implementations_agree():
    key = rand.key(7, "layer", "drop6")
    numbers = rand.uniform(key, np.arange(60))
    assert rand.draws(7, "layer", "drop6", n=60) == numbers.tolist()
    signed = torch.tensor(rand._signed(key))
    tensor = rand.uniform_tensor(signed, first=3, rows=4, row_size=5)
    assert np.array_equal(tensor.numpy().ravel(), (np.floor(numbers[15:35] * 2**24) / 2**24).astype(np.float32))


def test_step_key_agrees_with_python():
    key = rand.key("x")
    for step in (0, 1, 12345, 370_000):
        assert rand._signed(rand.step_key_int(key, step)) == rand.step_key(key, torch.tensor(step)).item()


def test_splitting_a_batch_changes_nothing():
    key = torch.tensor(rand._signed(rand.key(1, "a")))
    whole = rand.uniform_tensor(key, 0, 7, 11)
    parts = [rand.uniform_tensor(key, 0, 3, 11), rand.uniform_tensor(key, 3, 4, 11)]
    assert torch.equal(whole, torch.cat(parts))


def test_uniform_and_uncorrelated():
    n = 200_000
    a = rand.uniform(rand.key(0, "a", 0), np.arange(n))
    b = rand.uniform(rand.key(0, "a", 1), np.arange(n))
    counts = np.histogram(a, bins=100, range=(0, 1))[0]
    chi2 = ((counts - n / 100) ** 2 / (n / 100)).sum()
    assert 50 < chi2 < 160  # 99 degrees of freedom: beyond these only once in 10^4 runs
    for other in (b, np.roll(a, 1), np.roll(a, 4096)):
        assert abs(np.corrcoef(a, other)[0, 1]) < 5 / np.sqrt(n)


def test_permutation_is_one_and_changes_with_the_epoch():
    first, again, second = (rand.permutation(1000, 5, "data", epoch) for epoch in (0, 0, 1))
    assert sorted(first) == list(range(1000))
    assert np.array_equal(first, again)
    assert (first == second).mean() < 0.02
