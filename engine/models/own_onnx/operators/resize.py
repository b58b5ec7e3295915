"""Resize, Upsample, and sampling at given places (GridSample, AffineGrid, RoiAlign).

Resizing is separable: one matrix an axis, out x in, so that every mode of the specification is the same two lines and
gradients come for free. The forms real models use take torch's own kernels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator, OperatorError, ints

__all__ = ["OPERATORS"]


def _source(node: Node, scale: float, size: int, count: int, roi: tuple[float, float] | None) -> Tensor:
    """Where each of the `count` output places lies on the input axis of length `size`."""
    mode = node.get("coordinate_transformation_mode", "half_pixel")
    x, width = torch.arange(count, dtype=torch.float64), scale * size
    if mode == "align_corners":
        return torch.zeros(count, dtype=torch.float64) if width == 1 else x * (size - 1) / (width - 1)
    if mode == "asymmetric":
        return x / scale
    if mode == "tf_crop_and_resize":
        first, last = roi or (0.0, 1.0)
        span = torch.full((count,), (last - first) * (size - 1) / 2, dtype=torch.float64) if width == 1 else x * (last - first) * (size - 1) / (width - 1)
        return span + first * (size - 1)
    if mode == "pytorch_half_pixel" and width == 1:
        return torch.full((count,), -0.5, dtype=torch.float64)
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - count / width) + (x + 0.5) / scale - 0.5
    return (x + 0.5) / scale - 0.5


def _nearest(node: Node, place: Tensor) -> Tensor:
    match node.get("nearest_mode", "round_prefer_floor"):
        case "floor":
            return torch.floor(place)
        case "ceil":
            return torch.ceil(place)
        case "round_prefer_ceil":
            return torch.floor(place + 0.5)
        case _:
            return torch.ceil(place - 0.5)


def _cubic(distance: Tensor, a: float) -> Tensor:
    d = distance.abs()
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def _matrix(node: Node, mode: str, scale: float, size: int, count: int, roi: tuple[float, float] | None) -> Tensor:
    """The resizing of one axis as a matrix of shape count x size."""
    place = _source(node, scale, size, count, roi)
    if mode == "nearest":
        index = _nearest(node, place).clamp(0, size - 1).long()
        matrix = torch.nn.functional.one_hot(index, size).double()
    else:
        shrink = min(scale, 1.0) if node.get("antialias", 0) else 1.0
        radius = (1 if mode == "linear" else 2) / shrink
        reach = math.ceil(radius) + 1
        taps = torch.floor(place)[:, None] + torch.arange(-reach, reach + 1, dtype=torch.float64)[None]
        distance = (taps - place[:, None]) * shrink
        weight = (1 - distance.abs()).clamp(min=0) if mode == "linear" else _cubic(distance, node.get("cubic_coeff_a", -0.75))
        outside = (taps < 0) | (taps > size - 1)
        if node.get("exclude_outside", 0):
            weight = torch.where(outside, torch.zeros_like(weight), weight)
        if node.get("exclude_outside", 0) or shrink != 1:
            total = weight.sum(1, keepdim=True)
            weight = weight / torch.where(total == 0, torch.ones_like(total), total)
        matrix = torch.zeros(count, size, dtype=torch.float64).scatter_add(1, taps.clamp(0, size - 1).long(), weight)
    return matrix


def _sizes(node: Node, x: Tensor, axes: list[int], scales: Tensor | None, sizes: Tensor | None) -> tuple[list[float], list[int]]:
    """Scale and output length of each resized axis."""
    lengths = [x.shape[axis] for axis in axes]
    if sizes is None or sizes.numel() == 0:
        assert scales is not None
        factors = [float(value) for value in scales.tolist()]
        return factors, [math.floor(size * factor + 1e-9) for size, factor in zip(lengths, factors, strict=True)]
    wanted = ints(sizes)
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        choose = min if policy == "not_larger" else max
        one = choose(want / size for want, size in zip(wanted, lengths, strict=True))
        return [one] * len(axes), [math.floor(size * one + 0.5) for size in lengths]
    return [want / size for want, size in zip(wanted, lengths, strict=True)], wanted


def _fast(node: Node, x: Tensor, mode: str, axes: list[int], factors: list[float], counts: list[int]) -> Tensor | None:
    """Torch's own kernel for the forms that exporters write, or None."""
    how = node.get("coordinate_transformation_mode", "half_pixel")
    spatial = [i for i, axis in enumerate(axes) if axis >= 2]
    if x.dim() != 4 or len(spatial) != 2 or node.get("antialias", 0) or node.get("exclude_outside", 0) or not x.is_floating_point():
        return None
    if any(factors[i] != 1 for i in range(len(axes)) if i not in spatial):
        return None
    size = [counts[i] for i in spatial]
    if any(abs(factors[i] * x.shape[axes[i]] - counts[i]) > 1e-4 for i in spatial):
        return None
    if mode == "nearest" and how == "asymmetric" and node.get("nearest_mode", "round_prefer_floor") == "floor":
        return functional.interpolate(x, size, mode="nearest")
    if (
        mode in ("linear", "cubic")
        and how in ("align_corners", "half_pixel", "pytorch_half_pixel")
        and min(size) > 1
        and node.get("cubic_coeff_a", -0.75) == -0.75
    ):
        return functional.interpolate(x, size, mode="bilinear" if mode == "linear" else "bicubic", align_corners=how == "align_corners")
    return None


def _resize(node: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None) -> Tensor:
    if node.opset < 11 and scales is None:  # opset 10: data, scales
        roi, scales = None, roi
    if scales is not None and scales.numel() == 0:
        scales = None
    axes = [axis % x.dim() for axis in node.get("axes") or range(x.dim())]
    factors, counts = _sizes(node, x, axes, scales, sizes)
    mode = {"bilinear": "linear", "trilinear": "linear"}.get(node.get("mode", "nearest"), node.get("mode", "nearest"))
    quick = _fast(node, x, mode, axes, factors, counts)
    if quick is not None:
        return quick
    crop = node.get("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    corners = roi.tolist() if roi is not None and roi.numel() else []
    kind, outside, y = x.dtype, torch.zeros((), dtype=torch.bool), x if x.is_floating_point() else x.float()
    for i, axis in enumerate(axes):
        edge = (corners[i], corners[i + len(axes)]) if crop and corners else None
        if factors[i] == 1 and counts[i] == x.shape[axis] and edge is None:
            continue
        matrix = _matrix(node, mode, factors[i], x.shape[axis], counts[i], edge).to(y.dtype).to(x.device)
        y = torch.matmul(y.movedim(axis, -1), matrix.t()).movedim(-1, axis)
        if crop:
            place = _source(node, factors[i], x.shape[axis], counts[i], edge)
            out = ((place < 0) | (place > x.shape[axis] - 1)).reshape([-1 if j == axis else 1 for j in range(x.dim())])
            outside = outside | out
    if crop:
        y = torch.where(outside.to(x.device), torch.full_like(y, node.get("extrapolation_value", 0.0)), y)
    return y.to(kind)


def _upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    named = torch.tensor(node.get("scales")) if scales is None else scales
    old = Node(node.op, node.name, node.inputs, node.outputs, {**node.attributes, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, 13)
    return _resize(old, x, None, named)


_GRID_MODES = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}


def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = _GRID_MODES[node.get("mode", "linear")]
    if x.dim() == 5 and mode == "bicubic":
        raise OperatorError("cubic sampling of volumes")
    return functional.grid_sample(x, grid, mode, node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0)))


def _affine_grid(node: Node, theta: Tensor, size: Tensor) -> Tensor:
    return functional.affine_grid(theta, ints(size), bool(node.get("align_corners", 0)))


def _roi_align(node: Node, x: Tensor, rois: Tensor, batch: Tensor) -> Tensor:
    from torchvision.ops import roi_align

    if node.get("mode", "avg") == "max":
        return _roi_align_max(node, x, rois, batch)
    boxes = torch.cat([batch.to(rois.dtype)[:, None], rois], 1)
    size = (node.get("output_height", 1), node.get("output_width", 1))
    aligned = node.opset >= 16 and node.get("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    return roi_align(x, boxes, size, node.get("spatial_scale", 1.0), node.get("sampling_ratio", 0) or -1, aligned)


def _roi_align_max(node: Node, x: Tensor, rois: Tensor, batch: Tensor) -> Tensor:
    """The largest of the weighted corners of every sample, as the specification's reference has it."""
    rows, columns, ratio = node.get("output_height", 1), node.get("output_width", 1), node.get("sampling_ratio", 0)
    shift = 0.5 if node.opset >= 16 and node.get("coordinate_transformation_mode", "half_pixel") == "half_pixel" else 0.0
    height, width = x.shape[2:]
    out = []
    for box, which in zip((rois * node.get("spatial_scale", 1.0) - shift).tolist(), batch.tolist(), strict=True):
        x1, y1, x2, y2 = box
        box_h, box_w = (y2 - y1, x2 - x1) if shift else (max(y2 - y1, 1.0), max(x2 - x1, 1.0))
        grid_h, grid_w = ratio or math.ceil(box_h / rows), ratio or math.ceil(box_w / columns)
        ys = y1 + (torch.arange(rows * grid_h, device=x.device) + 0.5) * box_h / (rows * grid_h)
        xs = x1 + (torch.arange(columns * grid_w, device=x.device) + 0.5) * box_w / (columns * grid_w)
        valid = ((ys >= -1) & (ys <= height))[:, None] & ((xs >= -1) & (xs <= width))[None]
        ys, xs = ys.clamp(0, height - 1), xs.clamp(0, width - 1)
        y0, x0 = ys.floor().long(), xs.floor().long()
        y9, x9 = (y0 + 1).clamp(max=height - 1), (x0 + 1).clamp(max=width - 1)
        ly, lx = ys - y0, xs - x0
        plane = x[which]
        corners = [
            plane[:, a][:, :, b] * (wa[:, None] * wb[None])
            for a, wa, b, wb in ((y0, 1 - ly, x0, 1 - lx), (y0, 1 - ly, x9, lx), (y9, ly, x0, 1 - lx), (y9, ly, x9, lx))
        ]
        best = torch.stack(corners).amax(0) * valid
        out.append(best.reshape(-1, rows, grid_h, columns, grid_w).amax((2, 4)))
    return torch.stack(out)


def _max_roi_pool(node: Node, x: Tensor, rois: Tensor) -> Tensor:
    from torchvision.ops import roi_pool

    return roi_pool(x, rois, tuple(node.get("pooled_shape")), node.get("spatial_scale", 1.0))


OPERATORS: dict[str, Operator] = {
    "AffineGrid": _affine_grid,
    "GridSample": _grid_sample,
    "MaxRoiPool": _max_roi_pool,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Upsample": _upsample,
}
