"""One node of an ONNX graph, decoded once: its attributes as Python values, its subgraphs as runnable bodies.

An operator is a plain function `operator(node, *inputs) -> tensor | tuple of tensors`; an absent optional input is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["OperatorError", "Node", "Operator", "ints"]

Operator = Callable[..., Any]


class OperatorError(Exception):
    """This operator, in this form, is not one the importer can run. The message says why, for the X-ray."""


@dataclass(slots=True)
class Node:
    """What an operator is told about its node.

    Attributes:
        opset: version of the operator's domain in the model; older versions of an operator differ in meaning.
        training: whether the module is in training mode (Dropout, BatchNormalization).
        bodies: subgraphs of If, Loop and Scan by attribute name, each callable (see `interpreter.Body`).
        outer: values of the enclosing graph that the bodies use; set by the interpreter just before the call.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    domain: str = ""
    training: bool = False
    bodies: dict[str, Any] = field(default_factory=dict)
    outer: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value, or default where the file leaves it out."""
        return self.attributes.get(name, default)

    def wants(self, position: int) -> bool:
        """Tell whether the output at that position is asked for."""
        return len(self.outputs) > position and bool(self.outputs[position])


def ints(value: Any) -> list[int]:
    """Return a tensor or list of whole numbers as Python integers."""
    if isinstance(value, torch.Tensor):
        return [int(item) for item in value.reshape(-1).tolist()]
    return [int(item) for item in value]
