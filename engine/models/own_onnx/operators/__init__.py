"""Every operator the importer can run and train, one family a file. Imports torch: the UI process never does.

Names are ONNX's own; operators of other domains carry theirs ("com.microsoft.Gelu").
"""

from __future__ import annotations

from engine.models.own_onnx.operators import attention, control, conv, loss, math, norm, quant, reduce, resize, rnn, shape, signal, types
from engine.models.own_onnx.operators.node import Node, Operator, OperatorError

__all__ = ["FAMILIES", "OPERATORS", "OperatorError", "Node", "Operator", "key"]

FAMILIES: dict[str, dict[str, Operator]] = {
    "math": math.OPERATORS,
    "shape": shape.OPERATORS,
    "types": types.OPERATORS,
    "conv": conv.OPERATORS,
    "norm": norm.OPERATORS,
    "reduce": reduce.OPERATORS,
    "resize": resize.OPERATORS,
    "rnn": rnn.OPERATORS,
    "attention": attention.OPERATORS,
    "quant": quant.OPERATORS,
    "signal": signal.OPERATORS,
    "loss": loss.OPERATORS,
    "control": control.OPERATORS,
}


def _merged() -> dict[str, Operator]:
    table: dict[str, Operator] = {}
    for family, rows in FAMILIES.items():
        twice = table.keys() & rows.keys()
        assert not twice, f"{family} repeats {sorted(twice)}"
        table.update(rows)
    return table


OPERATORS = _merged()


def key(op: str, domain: str) -> str:
    """Return an operator's name in the table."""
    return op if domain in ("", "ai.onnx") else f"{domain}.{op}"
