"""ONNX's own operator cases: a part in every test run, all of them where slow tests run."""

from __future__ import annotations

import pytest

from benchmarks.onnx_conformance import ours, outcome, selected

CASES_IN_ALL, MUST_PASS = 1344, 1330
FAMILIES = ("Conv", "Attention", "Resize", "LSTM", "Loop", "Scan", "Col2Im", "DequantizeLinear", "Unique", "GridSample", "STFT", "Pad", "ScatterND")
RANDOM = ("test_bernoulli", "test_training_dropout", "test_randomuniform")
"""Cases whose expected values come from another random generator."""


@pytest.fixture(scope="module")
def cases():
    return list(selected())


def test_the_selection_is_the_one_whose_figures_are_quoted(cases) -> None:
    assert len(cases) == CASES_IN_ALL


@pytest.mark.parametrize("family", FAMILIES)
def test_every_case_of_a_family_passes(family: str, cases) -> None:
    chosen = [case for case in cases if any(node.op_type == family for node in case.model.graph.node)][:40]
    assert chosen
    assert {case.name: outcome(ours, case) for case in chosen if outcome(ours, case)} == {}


@pytest.mark.slow
def test_all_but_the_random_cases_pass(cases) -> None:
    failed = {case.name: why for case in cases if (why := outcome(ours, case)) and not case.name.startswith(RANDOM)}
    assert failed == {}
    assert len(cases) - len(failed) >= MUST_PASS
