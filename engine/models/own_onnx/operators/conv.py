"""Convolution and pooling, with every form of padding ONNX knows."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator, OperatorError, ints

__all__ = ["OPERATORS"]

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVG_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _pads(node: Node, size: torch.Size, kernel: list[int], strides: list[int], dilations: list[int]) -> list[tuple[int, int]]:
    """Padding (before, after) of each spatial axis, from `pads` or `auto_pad`."""
    rank, auto = len(kernel), node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        amounts = node.get("pads") or [0] * (2 * rank)
        return [(amounts[i], amounts[i + rank]) for i in range(rank)]
    if auto == "VALID":
        return [(0, 0)] * rank
    pads = []
    for i in range(rank):
        reach = (kernel[i] - 1) * dilations[i] + 1
        total = max((-(-size[i] // strides[i]) - 1) * strides[i] + reach - size[i], 0)
        small = total // 2
        pads.append((small, total - small) if auto == "SAME_UPPER" else (total - small, small))
    return pads


def _flat(pads: list[tuple[int, int]]) -> list[int]:
    return [amount for pair in reversed(pads) for amount in pair]


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = x.dim() - 2
    if rank not in _CONV:
        raise OperatorError(f"convolution over {rank} spatial axes")
    strides, dilations = node.get("strides") or [1] * rank, node.get("dilations") or [1] * rank
    pads = _pads(node, x.shape[2:], list(weight.shape[2:]), strides, dilations)
    padding = [before for before, _ in pads]
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):  # a cast in the file, in a module of lower precision
        x = x.to(weight.dtype)
    if any(before != after for before, after in pads):
        x, padding = functional.pad(x, _flat(pads)), [0] * rank
    return _CONV[rank](x, weight, bias, strides, padding, dilations, node.get("group", 1))


def _fused_conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """ONNX Runtime's own: convolution, a sum, an activation."""
    y = _conv(node, x, weight, bias)
    y = y if added is None else y + added
    parameters = node.get("activation_params") or []
    match node.get("activation", ""):
        case "":
            return y
        case "Relu":
            return torch.relu(y)
        case "Clip":
            return y.clamp(*parameters[:2])
        case "LeakyRelu":
            return functional.leaky_relu(y, parameters[0] if parameters else 0.01)
        case "Sigmoid":
            return torch.sigmoid(y)
        case "Tanh":
            return torch.tanh(y)
        case "HardSigmoid":
            return torch.clamp(parameters[0] * y + parameters[1], 0, 1)
        case other:
            raise OperatorError(f"a convolution fused with {other}")


def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = x.dim() - 2
    kernel = list(weight.shape[2:])
    strides, dilations = node.get("strides") or [1] * rank, node.get("dilations") or [1] * rank
    extra, auto = node.get("output_padding") or [0] * rank, node.get("auto_pad", "NOTSET")
    reach = [(kernel[i] - 1) * dilations[i] + 1 for i in range(rank)]
    wanted = node.get("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [x.shape[2 + i] * strides[i] for i in range(rank)]
    amounts = node.get("pads") or [0] * (2 * rank)
    pads = [(amounts[i], amounts[i + rank]) for i in range(rank)]
    if wanted is not None:
        totals = [strides[i] * (x.shape[2 + i] - 1) + extra[i] + reach[i] - wanted[-rank:][i] for i in range(rank)]
        pads = [(t // 2, t - t // 2) if auto == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]
    if all(before == after >= 0 for before, after in pads) and all(extra[i] < max(strides[i], dilations[i]) for i in range(rank)):
        padding = [before for before, _ in pads]
        return _CONV_TRANSPOSE[rank](x, weight, bias, strides, padding, extra, node.get("group", 1), dilations)
    full = _CONV_TRANSPOSE[rank](x, weight, bias, strides, [0] * rank, [0] * rank, node.get("group", 1), dilations)
    grown = [(0, extra[i]) for i in range(rank)]
    cut = [(-before, grown[i][1] - after) for i, (before, after) in enumerate(pads)]
    if bias is not None and any(after > 0 or before > 0 for before, after in cut):
        full = _CONV_TRANSPOSE[rank](x, weight, None, strides, [0] * rank, [0] * rank, node.get("group", 1), dilations)
        return functional.pad(full, _flat(cut)) + bias.reshape(-1, *(1,) * rank)
    return functional.pad(full, _flat(cut))


def _pool_geometry(node: Node, x: Tensor) -> tuple[list[int], list[int], list[int], list[tuple[int, int]], list[int]]:
    """Kernel, strides, dilations, pads, and the extra padding at the end that rounding up asks for."""
    kernel = node.get("kernel_shape")
    rank = len(kernel)
    strides, dilations = node.get("strides") or [1] * rank, node.get("dilations") or [1] * rank
    pads = _pads(node, x.shape[2:], kernel, strides, dilations)
    extra = [0] * rank
    if node.get("ceil_mode", 0):
        for i in range(rank):
            size, reach = x.shape[2 + i] + sum(pads[i]), (kernel[i] - 1) * dilations[i] + 1
            count = math.ceil((size - reach) / strides[i]) + 1
            if (count - 1) * strides[i] >= x.shape[2 + i] + pads[i][0]:  # the last window must start inside the picture
                count -= 1
            extra[i] = max((count - 1) * strides[i] + reach - size, 0)
    return kernel, strides, dilations, pads, extra


def _max_pool(node: Node, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    kernel, strides, dilations, pads, extra = _pool_geometry(node, x)
    rank = len(kernel)
    kind = x.dtype
    if not x.is_floating_point():
        x = x.to(torch.float64)
    simple = all(a == b and a <= k // 2 for (a, b), k in zip(pads, kernel, strict=True)) and not any(extra)
    if simple and not node.wants(1):
        return _MAX_POOL[rank](x, kernel, strides, [a for a, _ in pads], dilations).to(kind)
    full = [(a, b + extra[i]) for i, (a, b) in enumerate(pads)]
    padded = functional.pad(x, _flat(full), value=-math.inf)
    if not node.wants(1):
        return _MAX_POOL[rank](padded, kernel, strides, 0, dilations).to(kind)
    best, place = _MAX_POOL[rank](padded, kernel, strides, 0, dilations, return_indices=True)
    return best.to(kind), _unpadded_index(place, x.shape, padded.shape, full, bool(node.get("storage_order", 0)))


def _unpadded_index(place: Tensor, shape: torch.Size, padded: torch.Size, pads: list[tuple[int, int]], column_major: bool) -> Tensor:
    """Turn flat positions inside one padded channel into flat positions inside the whole tensor, as ONNX counts them."""
    rank, parts, rest = len(pads), [], place
    for size in reversed(padded[2:]):
        parts.append(rest % size)
        rest = rest // size
    coordinates = [part - pads[i][0] for i, part in enumerate(reversed(parts))]
    flat, axes = torch.zeros_like(place), list(range(rank))
    for axis in reversed(axes) if column_major else axes:
        flat = flat * shape[2 + axis] + coordinates[axis]
    channel = torch.arange(shape[0] * shape[1], device=place.device).reshape(shape[0], shape[1], *(1,) * rank)
    return channel * math.prod(shape[2:]) + flat


def _average_pool(node: Node, x: Tensor) -> Tensor:
    kernel, strides, dilations, pads, extra = _pool_geometry(node, x)
    rank, include = len(kernel), bool(node.get("count_include_pad", 0))
    if max(dilations) == 1 and all(a == b and a <= k // 2 for (a, b), k in zip(pads, kernel, strict=True)) and not any(extra):
        return _AVG_POOL[rank](x, kernel, strides, [a for a, _ in pads], count_include_pad=include)
    full = [(a, b + extra[i]) for i, (a, b) in enumerate(pads)]
    inside = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    if include:  # declared padding counts, what rounding up added does not
        inside = functional.pad(inside, _flat(pads), value=1.0)
        inside = functional.pad(inside, _flat([(0, more) for more in extra]))
    else:
        inside = functional.pad(inside, _flat(full))
    window = torch.ones((1, 1, *kernel), dtype=x.dtype, device=x.device)
    channels = functional.pad(x, _flat(full)).flatten(0, 1).unsqueeze(1)
    total = _CONV[rank](channels, window, None, strides, 0, dilations)
    count = _CONV[rank](inside, window, None, strides, 0, dilations)
    return (total / count).reshape(*x.shape[:2], *total.shape[2:])


def _lp_pool(node: Node, x: Tensor) -> Tensor:
    kernel, strides, dilations, pads, extra = _pool_geometry(node, x)
    p, rank = node.get("p", 2), len(kernel)
    padded = functional.pad(x, _flat([(a, b + extra[i]) for i, (a, b) in enumerate(pads)]))
    window = torch.ones((1, 1, *kernel), dtype=x.dtype, device=x.device)
    total = _CONV[rank](padded.abs().pow(p).flatten(0, 1).unsqueeze(1), window, None, strides, 0, dilations)
    return total.pow(1.0 / p).reshape(*x.shape[:2], *total.shape[2:])


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


def _global_average(_node: Node, x: Tensor) -> Tensor:
    return x.mean(_spatial(x), keepdim=True)


def _global_max(_node: Node, x: Tensor) -> Tensor:
    return x.amax(_spatial(x), keepdim=True)


def _global_lp(node: Node, x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, node.get("p", 2), dim=_spatial(x), keepdim=True)


def _max_unpool(node: Node, x: Tensor, indices: Tensor, output_shape: Tensor | None = None) -> Tensor:
    kernel = node.get("kernel_shape")
    rank = len(kernel)
    strides, pads = node.get("strides") or [1] * rank, node.get("pads") or [0] * (2 * rank)
    small = [(x.shape[2 + i] - 1) * strides[i] - pads[i] - pads[i + rank] + kernel[i] for i in range(rank)]
    flat = torch.zeros(x.shape[0] * x.shape[1] * math.prod(small), dtype=x.dtype, device=x.device)
    y = flat.scatter(0, indices.reshape(-1), x.reshape(-1)).reshape(*x.shape[:2], *small)
    if output_shape is None:
        return y
    grown = ints(output_shape)[2:]
    return functional.pad(y, _flat([(0, grown[i] - small[i]) for i in range(rank)]))


def _causal_conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
    width = weight.shape[2]
    before = x.new_zeros(x.shape[0], x.shape[1], width - 1) if past is None else past
    padded = torch.cat([before, x], 2)
    y = functional.conv1d(padded, weight, bias, groups=x.shape[1])
    if node.get("activation", "none") in ("silu", "swish"):
        y = functional.silu(y)
    return y, padded[:, :, padded.shape[2] - (width - 1) :]


def _deform_conv(node: Node, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    from torchvision.ops import deform_conv2d

    pads = node.get("pads") or [0] * 4
    if pads[:2] != pads[2:]:
        x, pads = functional.pad(x, [pads[1], pads[3], pads[0], pads[2]]), [0] * 4
    return deform_conv2d(x, offset, weight, bias, node.get("strides") or [1, 1], pads[:2], node.get("dilations") or [1, 1], mask)


def _col2im(node: Node, x: Tensor, image_shape: Tensor, block_shape: Tensor) -> Tensor:
    """Add columns back where they came from, for any number of spatial axes."""
    image, block = ints(image_shape), ints(block_shape)
    rank = len(image)
    strides, dilations, pads = node.get("strides") or [1] * rank, node.get("dilations") or [1] * rank, node.get("pads") or [0] * (2 * rank)
    padded = [image[i] + pads[i] + pads[i + rank] for i in range(rank)]
    place = torch.zeros(1, 1, dtype=torch.int64)
    for i in range(rank):
        steps = (padded[i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        axis = torch.arange(block[i])[:, None] * dilations[i] + torch.arange(steps)[None] * strides[i]
        place = (place[:, None, :, None] * padded[i] + axis[None, :, None, :]).reshape(place.shape[0] * block[i], -1)
    batch, channels = x.shape[0], x.shape[1] // math.prod(block)
    columns = x.reshape(batch * channels, -1)
    flat = x.new_zeros(batch * channels, math.prod(padded)).index_add(1, place.reshape(-1).to(x.device), columns)
    y = flat.reshape(batch, channels, *padded)
    return functional.pad(y, _flat([(-pads[i], -pads[i + rank]) for i in range(rank)]))


OPERATORS: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "CausalConvWithState": _causal_conv,
    "Col2Im": _col2im,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform_conv,
    "GlobalAveragePool": _global_average,
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global_max,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
    "com.microsoft.FusedConv": _fused_conv,
}
