"""engine.errors: the one error a user reads."""

from __future__ import annotations

import pickle

from engine.errors import ConflictError, StudioError


def test_reads_as_two_sentences() -> None:
    assert (
        str(StudioError("class 'cat' has 1 picture; a split needs 3. ", "Add pictures of 'cat'."))
        == "class 'cat' has 1 picture; a split needs 3. Add pictures of 'cat'."
    )


def test_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(StudioError("a problem", "A remedy.")))
    assert (error.problem, error.remedy) == ("a problem", "A remedy.")
    assert type(pickle.loads(pickle.dumps(ConflictError("a problem", "A remedy.")))) is ConflictError
