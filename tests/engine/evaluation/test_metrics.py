"""Our figures against scikit-learn's, torchmetrics' and scipy's, on random answers."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from engine.evaluation import metrics


def answers(seed: int, n: int, classes: int, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Random labels and float32 probabilities that lean towards them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    logits = random.normal(size=(n, classes)) * sharpness
    logits[np.arange(n), labels] += 1
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return labels, (raised / raised.sum(1, keepdims=True)).astype(np.float32)


cases = given(seed=st.integers(0, 2**31), n=st.integers(1, 200), classes=st.integers(2, 12))


@cases
@settings(max_examples=60, deadline=None)
def test_confusion_and_scores_agree_with_scikit_learn(seed: int, n: int, classes: int) -> None:
    labels, probabilities = answers(seed, n, classes)
    predicted, every = probabilities.argmax(1), np.arange(classes)
    table = metrics.confusion(labels, predicted, classes)
    assert table.tolist() == sklearn.metrics.confusion_matrix(labels, predicted, labels=every).tolist()
    assert metrics.accuracy(table) == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    assert metrics.macro_f1(table) == pytest.approx(sklearn.metrics.f1_score(labels, predicted, average="macro"))
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    found = [[getattr(score, name) for score in metrics.per_class(table)] for name in ("precision", "recall", "f1", "support")]
    np.testing.assert_allclose(found, np.array(expected))


@cases
@settings(max_examples=60, deadline=None)
def test_probabilistic_figures_agree_with_scikit_learn(seed: int, n: int, classes: int) -> None:
    labels, probabilities = answers(seed, n, classes)
    double = probabilities.astype(np.float64) / probabilities.astype(np.float64).sum(1, keepdims=True)
    assert metrics.log_loss(labels, probabilities) == pytest.approx(sklearn.metrics.log_loss(labels, double, labels=np.arange(classes)), rel=1e-5, abs=1e-6)
    k = min(3, classes - 1)
    if classes > 2:
        expected = sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=k, labels=np.arange(classes))
        assert metrics.top_k_accuracy(labels, probabilities, k) == pytest.approx(expected)


@pytest.mark.parametrize(("seed", "n", "classes"), [(0, 500, 3), (1, 50, 10), (2, 2000, 2), (3, 1, 4)])
def test_calibration_error_and_macro_f1_agree_with_torchmetrics(seed: int, n: int, classes: int) -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

    labels, probabilities = answers(seed, n, classes)
    pair = torch.from_numpy(probabilities), torch.from_numpy(labels)
    assert metrics.calibration_error(metrics.reliability(labels, probabilities)) == pytest.approx(
        float(multiclass_calibration_error(*pair, num_classes=classes, n_bins=15)), abs=1e-5
    )
    table = metrics.confusion(labels, probabilities.argmax(1), classes)
    assert metrics.macro_f1(table) == pytest.approx(float(multiclass_f1_score(*pair, num_classes=classes, average="macro")), abs=1e-6)


def test_reliability_counts_every_picture_once_also_at_the_ends() -> None:
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]], np.float32)
    bins = metrics.reliability(np.array([0, 1, 1]), probabilities, bins=10)
    assert sum(row.count for row in bins) == 3
    assert (bins[-1].count, bins[-1].accuracy, bins[-1].confidence) == (1, 1.0, 1.0)
    assert [row.low for row in bins] == pytest.approx([i / 10 for i in range(10)])


@given(seed=st.integers(0, 2**31), sharpness=st.floats(0.3, 8))
@settings(max_examples=25, deadline=None)
def test_temperature_is_the_minimum_of_the_log_loss(seed: int, sharpness: float) -> None:
    labels, probabilities = answers(seed, 300, 5, sharpness)
    found = metrics.fit_temperature(labels, probabilities)

    def loss(temperature: float) -> float:
        return metrics.log_loss(labels, metrics.sharpened(probabilities, temperature))

    best = optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-6})
    assert loss(found) <= best.fun + 1e-9


def test_temperature_undoes_a_known_one() -> None:
    random = np.random.default_rng(0)
    honest = random.dirichlet(np.ones(4), 20_000)
    labels = (honest.cumsum(1) > random.random((20_000, 1))).argmax(1)
    assert metrics.fit_temperature(labels, honest) == pytest.approx(1.0, abs=0.05)
    assert metrics.fit_temperature(labels, metrics.sharpened(honest, 1 / 3)) == pytest.approx(3.0, abs=0.1)


@given(total=st.integers(1, 5000), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_wilson_agrees_with_scipy(total: int, share: float) -> None:
    right = round(share * total)
    expected = stats.binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert metrics.wilson(right, total) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_is_answered_with_something() -> None:
    none, empty = np.zeros(0, np.int64), np.zeros((0, 3), np.float32)
    assert metrics.headline(none, empty) == {"accuracy": 0.0, "macro_f1": 0.0, "top5_accuracy": 0.0, "loss": 0.0, "ece": 0.0}
    assert metrics.wilson(0, 0) == (0.0, 1.0)
    assert metrics.fit_temperature(none, empty) == 1.0


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    assert metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]], np.float32)) == pytest.approx(87.3, abs=0.1)
