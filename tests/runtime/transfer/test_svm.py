"""Linear machines on features, against scikit-learn used by hand."""

from __future__ import annotations

import numpy as np
import pytest

from netc.errors import NetcError
from netc.runtime.transfer.svm import outcomes
from netc.runtime.transfer.task import Item, Split, Task

svm = pytest.importorskip("sklearn.svm")
metrics = pytest.importorskip("sklearn.metrics")


def clouds(count: int, dimensions: int, classes: int, seed: int = 0):
    """Points of `classes` overlapping clouds, and the number of each one's cloud."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, count)
    centres = random.standard_normal((classes, dimensions))
    x = centres[truth] + 1.5 * random.standard_normal((count, dimensions))
    return x / np.linalg.norm(x, axis=1, keepdims=True), truth


def task(labels, measure="mean class recall", count=90) -> Task:
    items = [Item(str(index), "") for index in range(len(labels))]
    split = Split(np.arange(count), np.arange(count, len(labels)))
    classes = [f"class {k}" for k in range(labels.shape[1])]
    return Task("clouds", classes, items, labels, [split], measure)


def single(truth, classes):
    return np.where(np.arange(classes) == truth[:, None], 1, -1).astype(np.int8)


def test_recall_of_one_against_the_rest() -> None:
    x, truth = clouds(150, 7, 4)
    (found,) = outcomes(task(single(truth, 4)), x, grid=[1.0])
    machine = svm.LinearSVC(C=1.0, dual="auto", random_state=0, max_iter=20_000).fit(x[:90], truth[:90])
    by_hand = metrics.recall_score(truth[90:], machine.predict(x[90:]), average=None)
    assert np.allclose(found.figures["recall"], by_hand)
    assert 0.3 < found.mean("recall") < 1
    assert (found.c, found.validation, found.unsettled) == (1.0, {}, 0)


def test_c_is_chosen_without_the_test_images() -> None:
    x, truth = clouds(150, 7, 4)
    (found,) = outcomes(task(single(truth, 4)), x, grid=[10, 0.001, 0.1])
    assert set(found.validation) == {0.001, 0.1, 10}
    assert found.validation[found.c] == max(found.validation.values())
    other = x.copy()
    other[90:] = np.random.default_rng(5).permutation(other[90:])
    assert outcomes(task(single(truth, 4)), other, grid=[10, 0.001, 0.1])[0].validation == found.validation
    (fixed,) = outcomes(task(single(truth, 4)), x, grid=[found.c])  # then all 90 are trained on
    assert np.array_equal(fixed.figures["recall"], found.figures["recall"])


def test_precision_and_what_counts_as_neither() -> None:
    x, truth = clouds(160, 6, 3)
    random = np.random.default_rng(2)
    labels = single(truth, 3)
    labels[random.random(labels.shape) < 0.2] = 0
    (found,) = outcomes(task(labels, "mean average precision"), x, grid=[1.0])
    for k in range(3):
        kept, held = labels[:90, k] != 0, labels[90:, k] != 0
        machine = svm.LinearSVC(C=1.0, dual="auto", random_state=0, max_iter=20_000)
        machine.fit(x[:90][kept], labels[:90, k][kept])
        scores, positive = machine.decision_function(x[90:][held]), labels[90:, k][held] == 1
        precision, recall, _ = metrics.precision_recall_curve(positive, scores)
        highest = [precision[recall >= at - 1e-12].max() for at in np.arange(11) / 10]
        assert found.figures["average precision (11-point)"][k] == pytest.approx(np.mean(highest))
        area = found.figures["average precision (area)"][k]
        assert area >= metrics.average_precision_score(positive, scores) - 1e-12


def test_a_class_that_is_not_there_to_test_on_is_left_out_of_the_mean() -> None:
    x, truth = clouds(120, 5, 3)
    truth[90:] = np.where(truth[90:] == 2, 0, truth[90:])
    (found,) = outcomes(task(single(truth, 3)), x, grid=[1.0])
    recalls = found.figures["recall"]
    assert np.isnan(recalls[2])
    assert found.mean("recall") == pytest.approx(recalls[:2].mean())


@pytest.mark.parametrize("wrong", [np.zeros((9, 4)), np.zeros(120), np.full((120, 2), np.nan)])
def test_features_that_do_not_fit(wrong) -> None:
    with pytest.raises(NetcError) as caught:
        outcomes(task(single(clouds(120, 5, 3)[1], 3)), wrong)
    assert caught.value.code == "D591"


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netc.runtime.transfer.svm.find_spec", lambda name: None)
    with pytest.raises(NetcError, match="scikit-learn") as caught:
        outcomes(task(single(clouds(120, 5, 3)[1], 3)), np.zeros((120, 2)))
    assert (caught.value.code, caught.value.hint) == ("C300", "pip install 'netc[features]'")
