"""How large and how strange a file may be. Everything past these numbers is refused with a sentence."""

from __future__ import annotations

__all__ = ["CHECK_MEMORY_BYTES", "CHECK_SECONDS", "DOMAINS", "MOST"]

CHECK_SECONDS = 10
"""How long the check of a file may take, in a child process that is killed afterwards."""

CHECK_MEMORY_BYTES = 1 << 30
"""Memory of that child, beyond what is needed to hold the file itself."""

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training", "ai.onnx.training")
"""Operator domains that ONNX Runtime knows without a library of somebody's own."""

MOST = {
    "file_bytes": 64 << 30,
    "graph_bytes": (2 << 30) - 1,
    "weight_bytes": 32 << 30,
    "whole_bytes": 1 << 30,
    "nodes": 100_000,
    "tensors": 100_000,
    "expanded_nodes": 200_000,
    "elements": 2**32,
    "rank": 16,
    "attribute_ints": 100_000,
    "attribute": 2**20,
    "name": 4096,
    "loop_rounds": 1_000_000,
    "depth": 12,
}
"""Largest number of each; past `whole_bytes` of weights large tensors are kept out of the graph (`stored.py`).

2**32 elements are 16 GB of float32: no single tensor of a network that trains here is larger.
"""
