"""Fourier transforms, windows and mel weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator, ints
from engine.models.own_onnx.operators.types import TORCH_TYPES

__all__ = ["OPERATORS"]


def _complex(x: Tensor) -> Tensor:
    return x.squeeze(-1) if x.shape[-1] == 1 else torch.view_as_complex(x.contiguous())


def _dft(node: Node, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    along = (ints(axis)[0] if axis is not None else node.get("axis", 1 if node.opset < 20 else -2)) % x.dim()
    inverse, half = bool(node.get("inverse", 0)), bool(node.get("onesided", 0))
    signal = _complex(x)
    if inverse and half:
        count = ints(length)[0] if length is not None else 2 * (x.shape[along] - 1)
        return torch.fft.irfft(signal, count, along).unsqueeze(-1)
    count = ints(length)[0] if length is not None else x.shape[along]
    result = torch.fft.ifft(signal, count, along) if inverse else torch.fft.fft(signal, count, along)
    result = result.narrow(along, 0, count // 2 + 1) if half else result
    return torch.view_as_real(result.to(torch.complex64 if x.dtype == torch.float32 else torch.complex128))


def _stft(node: Node, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None) -> Tensor:
    hop = ints(step)[0]
    size = ints(length)[0] if length is not None else (x.shape[1] if window is None else window.shape[0])
    signal = _complex(x) if x.dim() == 3 else x
    frames = signal.unfold(1, size, hop)
    if window is not None:
        frames = frames * functional.pad(window, [0, size - window.shape[0]])
    result = torch.fft.fft(frames, dim=-1)
    return torch.view_as_real(result[..., : size // 2 + 1].contiguous() if node.get("onesided", 1) else result)


def _mel(node: Node, bins: Tensor, dft_length: Tensor, rate: Tensor, low: Tensor, high: Tensor) -> Tensor:
    count, length = ints(bins)[0], ints(dft_length)[0]
    low_mel, high_mel = (2595 * math.log10(1 + float(edge) / 700) for edge in (low, high))
    steps = np.arange(count + 2)
    hertz = 700 * (10 ** ((steps * ((high_mel - low_mel) / (count + 2)) + low_mel) / 2595) - 1)
    places = (((length + 1) * hertz) // float(rate)).astype(int)
    weights = np.zeros((length // 2 + 1, count))
    for i in range(count):
        lower, centre, upper = places[i : i + 3]
        if centre == lower:
            weights[centre, i] = 1
        for j in range(lower, centre + 1):
            if centre != lower:
                weights[j, i] = (j - lower) / (centre - lower)
        for j in range(centre, upper):
            weights[j, i] = (upper - j) / (upper - centre)
    return torch.from_numpy(weights).to(TORCH_TYPES[node.get("output_datatype", TensorProto.FLOAT)])


def _window(coefficients: tuple[float, ...]) -> Operator:
    def run(node: Node, size: Tensor) -> Tensor:
        count = ints(size)[0]
        angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / (count if node.get("periodic", 1) else count - 1)
        y = sum(((-1) ** i * c * torch.cos(i * angle) for i, c in enumerate(coefficients)), torch.zeros(count, dtype=torch.float64))
        return y.to(TORCH_TYPES[node.get("output_datatype", TensorProto.FLOAT)])

    return run


OPERATORS: dict[str, Operator] = {
    "BlackmanWindow": _window((0.42, 0.5, 0.08)),
    "DFT": _dft,
    "HammingWindow": _window((25 / 46, 21 / 46)),
    "HannWindow": _window((0.5, 0.5)),
    "MelWeightMatrix": _mel,
    "STFT": _stft,
}
