"""Figures of tagging, held to scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from engine.evaluation import tags

SHARES = [(60, 4, 0.3), (200, 7, 0.1), (40, 3, 0.6)]


def drawn(pictures: int, classes: int, share: float, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(pictures)
    targets = rng.random((pictures, classes)) < share
    scores = np.clip(rng.normal(0.35 + 0.3 * targets, 0.2), 0.001, 0.999)
    return targets, scores.round(1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", SHARES)
def test_average_precision_is_scikit_learns(shape, ties):
    targets, scores = drawn(*shape, ties=ties)
    theirs = sk.average_precision_score(targets, scores, average=None)
    assert tags.average_precisions(targets, scores) == pytest.approx(theirs)
    assert tags.mean_average_precision(targets, scores) == pytest.approx(theirs.mean())


def test_draws_of_pictures_count_as_if_the_pictures_were_there_as_often():
    targets, scores = drawn(60, 4, 0.3, ties=True)
    counts = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), 5)
    for row, found in zip(counts, tags.average_precisions(targets, scores, counts), strict=True):
        theirs = sk.average_precision_score(np.repeat(targets, row, 0), np.repeat(scores, row, 0), average=None)
        assert found == pytest.approx(theirs)
    assert tags.resampled(targets, scores, counts)[0] == pytest.approx(np.mean(tags.average_precisions(targets, scores, counts[:1])))


@pytest.mark.parametrize("shape", SHARES)
def test_the_headline_is_scikit_learns(shape):
    targets, scores = drawn(*shape)
    thresholds = np.linspace(0.3, 0.7, shape[1])
    said, found = scores >= thresholds, tags.headline(targets, scores, thresholds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["macro_f1"] == pytest.approx(sk.f1_score(targets, said, average="macro"))
        precision, recall, f1, support = sk.precision_recall_fscore_support(targets, said, average=None)
    assert found["micro_f1"] == pytest.approx(sk.f1_score(targets, said, average="micro"))
    assert found["exact_match"] == pytest.approx(sk.accuracy_score(targets, said))
    assert found["loss"] == pytest.approx(sum(sk.log_loss(true, sure) for true, sure in zip(targets.T, scores.T, strict=True)))
    rows = tags.per_class(targets, scores, thresholds)
    ours = np.array([(row.precision, row.recall, row.f1, row.support) for row in rows]).T
    assert ours == pytest.approx(np.array([precision, recall, f1, support]))
    assert tags.picture_f1(targets, said).mean() == pytest.approx(sk.f1_score(targets, said, average="samples", zero_division=1))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", SHARES)
def test_no_threshold_gives_a_better_f1_than_the_chosen_one(shape, ties):
    targets, scores = drawn(*shape, ties=ties)
    thresholds = tags.best_thresholds(targets, scores)
    for true, sure, threshold in zip(targets.T, scores.T, thresholds, strict=True):
        best = max(sk.f1_score(true, sure >= edge) for edge in np.unique(sure))
        assert sk.f1_score(true, sure >= threshold) == pytest.approx(best)
        assert np.abs(sure - threshold).min() > 1e-6  # no answer stands on the edge


def test_thresholds_stay_in_the_middle_where_nothing_speaks_against_it():
    targets, scores = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]], bool), np.array([[0.9, 0.1, 0.3], [0.2, 0.2, 0.25], [0.6, 0.3, 0.1]])
    assert tags.best_thresholds(targets, scores).tolist() == pytest.approx([0.5, 0.5, 0.175])


def test_a_class_that_no_picture_shows_has_no_average_precision_and_does_not_count():
    targets, scores = np.array([[1, 0], [0, 0]], bool), np.array([[0.9, 0.2], [0.1, 0.6]])
    assert np.isnan(tags.average_precisions(targets, scores)[1])
    assert tags.mean_average_precision(targets, scores) == 1.0
    assert tags.per_class(targets, scores, np.array([0.5, 0.5]))[1].ap is None
    empty = tags.headline(np.zeros((0, 2), bool), np.zeros((0, 2)))
    assert set(empty.values()) == {0.0}


def test_a_picture_that_shows_nothing_and_of_which_nothing_is_said_is_right():
    assert tags.picture_f1(np.zeros((1, 3), bool), np.zeros((1, 3), bool)).tolist() == [1.0]
    assert tags.picture_f1(np.zeros((1, 3), bool), np.array([[1, 0, 0]], bool)).tolist() == [0.0]


def test_reliability_counts_every_answer_once_and_finds_honest_ones_honest():
    rng = np.random.default_rng(0)
    sure = rng.random((4000, 3))
    bins = tags.reliability(rng.random((4000, 3)) < sure, sure)
    assert sum(row.count for row in bins) == 12000
    assert max(abs(row.confidence - row.accuracy) for row in bins) < 0.05
