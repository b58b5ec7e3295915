"""Recurrent layers: torch's kernels for the usual forms, a plain loop over time for every other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator, OperatorError

__all__ = ["OPERATORS"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_TORCH_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""ONNX keeps gates as i o f c and z r h; torch as i f g o and r z n."""

_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ACTIVATIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "affine": lambda x, a, b: a * x + b,
    "elu": lambda x, a, _b: functional.elu(x, a or 1.0),
    "hardsigmoid": lambda x, a, b: torch.clamp((a or 0.2) * x + (b or 0.5), 0, 1),
    "leakyrelu": lambda x, a, _b: functional.leaky_relu(x, a or 0.01),
    "relu": lambda x, _a, _b: torch.relu(x),
    "scaledtanh": lambda x, a, b: a * torch.tanh(b * x),
    "sigmoid": lambda x, _a, _b: torch.sigmoid(x),
    "softplus": lambda x, _a, _b: functional.softplus(x),
    "softsign": lambda x, _a, _b: functional.softsign(x),
    "tanh": lambda x, _a, _b: torch.tanh(x),
    "thresholdedrelu": lambda x, a, _b: torch.where(x > (a or 1.0), x, torch.zeros_like(x)),
}


def _reordered(weight: Tensor, gates: int, order: tuple[int, ...]) -> Tensor:
    parts = weight.chunk(gates, 0)
    return torch.cat([parts[i] for i in order], 0)


def _fast(node: Node, kind: str, x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, states: list[Tensor]) -> tuple[Tensor, ...]:
    """One layer in one or two directions by torch's own kernel. x is T x B x I."""
    gates, order, flat = _GATES[kind], _TORCH_ORDER[kind], []
    for direction in range(w.shape[0]):
        flat += [_reordered(w[direction], gates, order), _reordered(r[direction], gates, order)]
        if b is not None:
            flat += [_reordered(half, gates, order) for half in b[direction].chunk(2)]
    common = (flat, b is not None, 1, 0.0, False, w.shape[0] == 2, False)
    if kind == "LSTM":
        y, h, c = torch.lstm(x, states, *common)
        last: tuple[Tensor, ...] = (h, c)
    else:
        kernel = torch.gru if kind == "GRU" else {"Tanh": torch.rnn_tanh, "Relu": torch.rnn_relu}[_named(node, kind)[0]]
        y, h = kernel(x, states[0], *common)
        last = (h,)
    steps, batch = y.shape[:2]
    return y.reshape(steps, batch, w.shape[0], -1).permute(0, 2, 1, 3), *last


def _named(node: Node, kind: str) -> list[str]:
    directions = 2 if node.get("direction", "forward") == "bidirectional" else 1
    return [name.title() if name.islower() else name for name in node.get("activations") or _DEFAULTS[kind] * directions]


def _is_usual(node: Node, kind: str, lengths: Tensor | None, peepholes: Tensor | None) -> bool:
    names = _named(node, kind)
    one = names[: len(_DEFAULTS[kind])]
    if one * (len(names) // len(one)) != names or (one != _DEFAULTS[kind] and one != ["Relu"]):
        return False
    if kind == "GRU" and not node.get("linear_before_reset", 0):
        return False
    unusual = lengths is not None or peepholes is not None or node.get("clip") or node.get("input_forget", 0) or node.get("direction") == "reverse"
    return not unusual


def _lstm_step(
    act: list[Callable[[Tensor], Tensor]], clip: Callable[[Tensor], Tensor], couple: bool, peep: list[Tensor]
) -> Callable[..., tuple[Tensor, Tensor]]:
    def step(xw: Tensor, h: Tensor, c: Tensor, r: Tensor, _b: Tensor) -> tuple[Tensor, Tensor]:
        i, o, f, g = (xw + h @ r.t()).chunk(4, -1)
        i = act[0](clip(i + peep[0] * c))
        f = 1 - i if couple else act[0](clip(f + peep[2] * c))
        new = f * c + i * act[1](clip(g))
        return act[0](clip(o + peep[1] * new)) * act[2](new), new

    return step


def _gru_step(act: list[Callable[[Tensor], Tensor]], clip: Callable[[Tensor], Tensor], linear_first: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    def step(xw: Tensor, h: Tensor, c: Tensor, r: Tensor, recurrent_bias: Tensor) -> tuple[Tensor, Tensor]:
        xz, xr, xh = xw.chunk(3, -1)
        rz, rr, rh = r.chunk(3, 0)
        bz, br, bh = recurrent_bias.chunk(3)
        z, reset = act[0](clip(xz + h @ rz.t() + bz)), act[0](clip(xr + h @ rr.t() + br))
        inner = reset * (h @ rh.t() + bh) if linear_first else (reset * h) @ rh.t() + bh
        return (1 - z) * act[1](clip(xh + inner)) + z * h, c

    return step


def _rnn_step(act: list[Callable[[Tensor], Tensor]], clip: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    def step(xw: Tensor, h: Tensor, c: Tensor, r: Tensor, _b: Tensor) -> tuple[Tensor, Tensor]:
        return act[0](clip(xw + h @ r.t())), c

    return step


def _step(node: Node, kind: str, direction: int, peepholes: Tensor | None, hidden: int) -> Callable[..., tuple[Tensor, Tensor]]:
    count = len(_DEFAULTS[kind])
    names = _named(node, kind)[direction * count : (direction + 1) * count]
    alphas, betas = node.get("activation_alpha") or [], node.get("activation_beta") or []
    act: list[Callable[[Tensor], Tensor]] = []
    for i, name in enumerate(names):
        function = _ACTIVATIONS.get(name.lower())
        if function is None:
            raise OperatorError(f"{kind} with activation {name}")
        alpha, beta = (values[direction * count + i] if len(values) > direction * count + i else 0.0 for values in (alphas, betas))
        act.append(lambda x, function=function, alpha=alpha, beta=beta: function(x, alpha, beta))  # type: ignore[misc]
    limit = node.get("clip")
    clip = (lambda x: x.clamp(-limit, limit)) if limit else (lambda x: x)
    if kind == "LSTM":
        peep = list(peepholes[direction].chunk(3)) if peepholes is not None else [torch.zeros(hidden)] * 3
        return _lstm_step(act, clip, bool(node.get("input_forget", 0)), peep)
    return _gru_step(act, clip, bool(node.get("linear_before_reset", 0))) if kind == "GRU" else _rnn_step(act, clip)


def _reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return torch.flip(x, [0])
    step = torch.arange(x.shape[0], device=x.device)[:, None]
    place = torch.where(step < lengths[None], lengths[None] - 1 - step, step)
    return torch.gather(x, 0, place[..., None].expand_as(x))


def _slow(
    node: Node, kind: str, x: Tensor, w: Tensor, r: Tensor, b: Tensor, lengths: Tensor | None, states: list[Tensor], peep: Tensor | None
) -> tuple[Tensor, ...]:
    hidden, outputs, finals = r.shape[-1], [], []
    for d in range(w.shape[0]):
        backwards = d == 1 or node.get("direction") == "reverse"
        series = _reverse(x, lengths) if backwards else x
        step = _step(node, kind, d, peep, hidden)
        input_bias, recurrent_bias = b[d].chunk(2)
        xw = series @ w[d].t() + (input_bias if kind == "GRU" else input_bias + recurrent_bias)
        h, c = states[0][d], states[-1][d]
        rows = []
        for t in range(x.shape[0]):
            new_h, new_c = step(xw[t], h, c, r[d], recurrent_bias)
            if lengths is not None:
                alive = (t < lengths)[:, None]
                rows.append(torch.where(alive, new_h, torch.zeros_like(new_h)))
                h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
            else:
                rows.append(new_h)
                h, c = new_h, new_c
        y = torch.stack(rows)
        outputs.append(_reverse(y, lengths) if backwards else y)
        finals.append((h, c))
    last = [torch.stack(parts) for parts in zip(*finals, strict=True)]
    return torch.stack(outputs, 1), *(last if kind == "LSTM" else last[:1])


def _recurrent(kind: str) -> Operator:
    def run(
        node: Node,
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lengths: Tensor | None = None,
        h: Tensor | None = None,
        c: Tensor | None = None,
        peepholes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        batch_first = bool(node.get("layout", 0))
        if batch_first:
            x = x.transpose(0, 1)
            h, c = (None if state is None else state.transpose(0, 1) for state in (h, c))
        if lengths is not None and bool((lengths == x.shape[0]).all()):
            lengths = None
        zero = x.new_zeros(w.shape[0], x.shape[1], r.shape[-1])
        states = [zero if h is None else h, *([zero if c is None else c] if kind == "LSTM" else [])]
        if _is_usual(node, kind, lengths, peepholes):
            y, *last = _fast(node, kind, x, w, r, b, states)
        else:
            bias = x.new_zeros(w.shape[0], 2 * w.shape[1]) if b is None else b
            y, *last = _slow(node, kind, x, w, r, bias, None if lengths is None else lengths.long(), states, peepholes)
        if batch_first:
            y, last = y.permute(2, 0, 1, 3), [state.transpose(0, 1) for state in last]
        return y, *last

    return run


OPERATORS: dict[str, Operator] = {"GRU": _recurrent("GRU"), "LSTM": _recurrent("LSTM"), "RNN": _recurrent("RNN")}
