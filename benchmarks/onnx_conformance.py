"""How many of ONNX's own operator cases each converter computes: Graft's importer, onnx2torch, onnx2pytorch, ONNX Runtime.

The cases are those of `onnx.backend.test` (kind "node") with a float32 input, tensors only at both ends and no operator
outside the standard domain: 1,344 of 1,884 in onnx 1.23.2. A case passes when every output has the expected shape and
agrees to rtol 1e-3, atol 1e-5. Every case Graft fails is listed with its reason.

    python -m benchmarks.onnx_conformance [--only OPERATOR] [--ours] [--json FILE]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.operators.types import from_numpy

RTOL, ATOL = 1e-3, 1e-5

REASONS = {
    "test_bernoulli": "draws random numbers: the expected values are those of another generator",
    "test_training_dropout": "draws random numbers: the expected values are those of another generator",
    "test_randomuniform": "draws random numbers: the expected values are those of another generator",
}
"""Why a case cannot pass, by the start of its name."""


def selected(only: str = "") -> Iterator[TestCase]:
    """Yield the cases counted, or those that have one operator in them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    for case in cases:
        graph = case.model.graph
        values = [*graph.input, *graph.output]
        tensors = all(value.type.WhichOneof("value") == "tensor_type" for value in values)
        if not tensors or not any(value.type.tensor_type.elem_type == TensorProto.FLOAT for value in graph.input):
            continue
        operators = {node.op_type for node in graph.node}
        if all(node.domain in ("", "ai.onnx") for node in graph.node) and (not only or only in operators):
            yield case


def array(value: Any) -> np.ndarray:
    """Return a case's stored value as an array."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def as_numbers(value: Any) -> np.ndarray:
    """Return a result as an array that can be compared, whatever library it came from."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 or "float8" in str(value.dtype) else value).numpy()
    return np.asarray(value)


def difference(found: Any, expected: np.ndarray) -> str:
    """Say how a result differs from what was expected; empty where it does not."""
    values = as_numbers(found)
    if values.shape != expected.shape:
        return f"shape {values.shape}, expected {expected.shape}"
    if expected.dtype.kind in "OSUT":
        return "" if (values.astype(str) == expected.astype(str)).all() else "other text"
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = values.astype(wide), expected.astype(wide)
    if np.allclose(a, b, rtol=RTOL, atol=ATOL, equal_nan=True):
        return ""
    return f"differs by {np.nanmax(np.abs(a - b)):.3g}"


def ours(case: TestCase, inputs: list[np.ndarray]) -> list[Any]:
    """Run a case through Graft's importer."""
    result = ImportedGraph(case.model)(*[from_numpy(item) for item in inputs])
    return list(result) if isinstance(result, tuple) else [result]


def by_onnx2torch(case: TestCase, inputs: list[np.ndarray]) -> list[Any]:
    """Run a case through onnx2torch."""
    import onnx2torch

    result = onnx2torch.convert(case.model)(*[from_numpy(item) for item in inputs])
    return list(result) if isinstance(result, list | tuple) else [result]


def by_onnx2pytorch(case: TestCase, inputs: list[np.ndarray]) -> list[Any]:
    """Run a case through onnx2pytorch."""
    from onnx2pytorch import ConvertModel

    result = ConvertModel(case.model, experimental=True)(*[from_numpy(item) for item in inputs])
    return list(result) if isinstance(result, list | tuple) else [result]


def by_onnxruntime(case: TestCase, inputs: list[np.ndarray]) -> list[Any]:
    """Run a case through ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


CONVERTERS: dict[str, Callable[[TestCase, list[np.ndarray]], list[Any]]] = {
    "graft": ours,
    "onnx2torch": by_onnx2torch,
    "onnx2pytorch": by_onnx2pytorch,
    "onnxruntime": by_onnxruntime,
}


def outcome(run: Callable[[TestCase, list[np.ndarray]], list[Any]], case: TestCase) -> str:
    """Run one case and return why it failed, or nothing."""
    for stored_inputs, stored_outputs in case.data_sets or []:
        try:
            with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                found = run(case, [array(item) for item in stored_inputs])
        except Exception as error:  # noqa: BLE001 (whatever a converter raises is its result here)
            return f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
        faults = [difference(a, array(b)) for a, b in zip(found, stored_outputs, strict=False)]
        if len(found) < len(stored_outputs):
            return f"{len(found)} outputs, expected {len(stored_outputs)}"
        if any(faults):
            return next(fault for fault in faults if fault)
    return ""


def table(results: dict[str, dict[str, str]], operators: dict[str, list[str]]) -> Iterator[str]:
    """Format passes by operator, one column a converter."""
    names = list(next(iter(results.values())))
    yield f"{'operator':28}{'cases':>7}" + "".join(f"{name:>14}" for name in names)
    for operator, cases in sorted(operators.items()):
        counts = [sum(not results[case][name] for case in cases) for name in names]
        yield f"{operator:28}{len(cases):7}" + "".join(f"{count:14}" for count in counts)
    totals = [sum(not row[name] for row in results.values()) for name in names]
    yield f"{'all cases':28}{len(results):7}" + "".join(f"{total:14}" for total in totals)


def main() -> None:
    """Run the cases and print the table, then what Graft fails and why."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases with this operator only")
    parser.add_argument("--ours", action="store_true", help="Graft's importer only")
    parser.add_argument("--json", type=Path, help="write the result of every case here")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    chosen = {"graft": ours} if arguments.ours else CONVERTERS
    results: dict[str, dict[str, str]] = {}
    operators: dict[str, list[str]] = collections.defaultdict(list)
    start = time.perf_counter()
    for case in selected(arguments.only):
        results[case.name] = {name: outcome(run, case) for name, run in chosen.items()}
        for operator in {node.op_type for node in case.model.graph.node}:
            operators[operator].append(case.name)
    print(f"onnx {onnx.__version__}, torch {torch.__version__}, {time.perf_counter() - start:.0f} s")
    print("\n".join(table(results, operators)))
    print("\nwhat Graft fails:")
    for name, row in results.items():
        if row["graft"]:
            known = next((why for start, why in REASONS.items() if name.startswith(start)), "")
            print(f"  {name}: {known or row['graft']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
