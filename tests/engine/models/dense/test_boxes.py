"""Boxes: anchors, coders and NMS, held against torchvision and against the exported graph."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.detection import _utils as det_utils

from benchmarks.cells import compare
from engine.models.dense import boxes, table
from engine.models.dense.networks import BUILDERS
from engine.models.dense.onnx_form import to_onnx
from engine.models.dense.two_stage import paste, sampled

SIZE = 128


def test_anchors_lie_in_the_middle_of_their_patch() -> None:
    anchors, counts = boxes.grid_anchors(
        [torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 1)], (8, 32), [torch.tensor([[4.0, 8.0]]), torch.tensor([[32.0, 32.0]])]
    )
    assert counts == [6, 1]
    assert anchors[0].tolist() == [2, 0, 6, 8]
    assert anchors[1].tolist() == [10, 0, 14, 8]  # the next column, then the next row
    assert anchors[3].tolist() == [2, 8, 6, 16]
    assert anchors[6].tolist() == [0, 0, 32, 32]


def random_boxes(seed: int, pictures: int, count: int, classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crowded boxes with distinct scores, some of them 0."""
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(pictures, count, 2, generator=g) * 60
    side = 5 + torch.rand(pictures, count, 2, generator=g) * 60
    scores = torch.stack([torch.randperm(count, generator=g) for _ in range(pictures)]).float() / count  # one of them is 0
    return torch.cat((corner, corner + side), -1), scores, torch.randint(0, classes, (pictures, count), generator=g)


class Suppress(nn.Module):
    output_names = ("kept",)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (boxes.nms_mask(images[..., :4], images[..., 4], images[..., 5], 0.5),)


@cache
def suppress_session() -> onnxruntime.InferenceSession:
    one = torch.cat([part if part.dim() == 3 else part[..., None].float() for part in random_boxes(0, 1, 40, 3)], -1)
    return onnxruntime.InferenceSession(to_onnx(Suppress(), one).SerializeToString(), providers=["CPUExecutionProvider"])


@given(seed=st.integers(0, 10**6), pictures=st.integers(1, 4), classes=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_nms_in_torch_and_in_the_file_is_torchvisions(seed: int, pictures: int, classes: int) -> None:
    boxes_BM4, scores_BM, classes_BM = random_boxes(seed, pictures, 40, classes)
    mask_BM = boxes.nms_mask(boxes_BM4, scores_BM, classes_BM, 0.5)
    for picture in range(pictures):
        kept = torchvision.ops.batched_nms(boxes_BM4[picture], scores_BM[picture], classes_BM[picture], 0.5)
        expected = sorted(place for place in kept.tolist() if scores_BM[picture, place] > 0)
        assert torch.nonzero(mask_BM[picture])[:, 0].tolist() == expected
    fed = torch.cat((boxes_BM4, scores_BM[..., None], classes_BM[..., None].float()), -1)
    assert np.array_equal(suppress_session().run(None, {"images": fed.numpy()})[0], mask_BM.numpy())


@given(seed=st.integers(0, 10**6), pictures=st.integers(1, 3), classes=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_nms_in_plain_steps_keeps_the_same_boxes(seed: int, pictures: int, classes: int) -> None:
    boxes_BM4, scores_BM, classes_BM = random_boxes(seed, pictures, 60, classes)
    order_BM = scores_BM.argsort(1, descending=True)
    scores_BM, classes_BM = scores_BM.gather(1, order_BM), classes_BM.gather(1, order_BM)
    boxes_BM4 = boxes_BM4.gather(1, order_BM[..., None].expand(-1, -1, 4))
    scores_BM[:, seed % 60] = 0  # as proposals too small to count leave it
    expected = boxes.nms_mask(boxes_BM4, scores_BM, classes_BM, 0.5)
    with boxes.plain_steps():
        assert torch.equal(boxes.nms_mask(boxes_BM4, scores_BM, classes_BM, 0.5), expected)
    assert not boxes.in_plain_steps()


def test_regions_are_sampled_as_torchvision_does() -> None:
    generator = torch.Generator().manual_seed(0)
    map_BChw = torch.rand(2, 5, 12, 16, generator=generator)
    low_R2 = torch.rand(14, 2, generator=generator) * torch.tensor((100.0, 70.0))
    high_R2 = torch.minimum(low_R2 + torch.rand(14, 2, generator=generator) * 90, torch.tensor((128.0, 96.0)))
    high_R2[3] = low_R2[3]  # an empty one, as filled-up lists have them
    regions_R5 = torch.cat((torch.arange(2.0).repeat_interleave(7)[:, None], low_R2, high_R2), 1)
    expected = torchvision.ops.roi_align(map_BChw, regions_R5, (7, 7), 1 / 8, 2)
    assert torch.allclose(sampled(map_BChw, regions_R5, 7, 8), expected, atol=1e-5)


def test_selected_boxes_come_best_first_and_filled_up() -> None:
    boxes_BN4 = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]]])
    scores_BNK = torch.tensor([[[0.9, 0.0], [0.8, 0.6], [0.0, 0.95]]])
    found = boxes.select(boxes_BN4, scores_BNK, 5, iou=0.5)[0]
    assert found[:3, 4].tolist() == pytest.approx([0.95, 0.9, 0.6])
    assert found[:3, 5].tolist() == [1, 0, 1]  # the second box of class 0 is suppressed, of class 1 it stays
    assert found[3:].abs().sum() == 0


def targets_strategy() -> Any:
    side, corner = st.integers(12, 60), st.integers(0, SIZE - 61)
    return st.lists(st.tuples(corner, corner, side, side), min_size=1, max_size=3)


@pytest.mark.parametrize("name", ["fcos", "retinanet", "ssd"])
@given(rows=targets_strategy())
@settings(max_examples=25, deadline=None)
def test_decoding_encoded_targets_gives_them_back(name: str, rows: list[tuple[int, int, int, int]]) -> None:
    """Each target, encoded at the place that lies nearest its middle, comes out where it was."""
    head = detector(name)
    with torch.no_grad():
        outputs = head(maps())
    truth_N4 = torch.tensor([[x, y, x + width, y + height] for x, y, width, height in rows], dtype=torch.float32)
    anchors_A4 = outputs["anchors"]
    background = int(name == "ssd")
    outputs["cls_logits"] = torch.full_like(outputs["cls_logits"], -20.0)
    outputs["cls_logits"][..., :background] = 0.0
    middles_A2, middles_N2 = (one[:, :2] + one[:, 2:] for one in (anchors_A4, truth_N4))
    for number, truth_4 in enumerate(truth_N4):
        distance_A = (middles_A2 - middles_N2[number]).abs().sum(1)
        distance_A[outputs["cls_logits"][0].max(1).values > 1] = np.inf  # taken by an earlier target
        place = int(distance_A.argmin())
        coder = head.method.box_coder
        encode = coder.encode if isinstance(coder, det_utils.BoxLinearCoder) else coder.encode_single
        pair = (anchors_A4[place][None], truth_4[None]) if name == "fcos" else (truth_4[None], anchors_A4[place][None])
        outputs["bbox_regression"][0, place] = encode(*pair)[0]
        outputs["cls_logits"][0, place, number + background] = 20.0
        if "bbox_ctrness" in outputs:
            outputs["bbox_ctrness"][0, place] = 20.0
    found = head.decode(outputs, 10)["detections_BD6"][0]
    for number, truth_4 in enumerate(truth_N4):
        own = found[(found[:, 4] > 0.5) & (found[:, 5] == number)]
        assert len(own) == 1
        assert torch.allclose(own[0, :4], truth_4, atol=1e-2)


def maps() -> list[torch.Tensor]:
    return [torch.zeros(1, 8, SIZE // stride, SIZE // stride) for stride in (8, 16, 32)]


@cache
def detector(name: str) -> Any:
    torch.manual_seed(0)
    return BUILDERS[name]((8, 16, 32), (8, 8, 8), 3, (SIZE, SIZE), table.architecture(name).chosen({})).eval()


@given(x=st.integers(0, 40), y=st.integers(0, 40), width=st.integers(8, 50), height=st.integers(8, 50))
@settings(max_examples=40, deadline=None)
def test_pasted_masks_are_a_bilinear_resize_of_the_box(x: int, y: int, width: int, height: int) -> None:
    mask_hw = torch.rand(28, 28, generator=torch.Generator().manual_seed(x + 100 * y))
    pasted = paste(mask_hw[None, None], torch.tensor([[[x, y, x + width, y + height]]], dtype=torch.float32), 96, 96)[0, 0]
    outside = pasted.clone()
    outside[y : y + height, x : x + width] = 0
    grid_y, grid_x = ((torch.arange(length) + 0.5) / length * 2 - 1 for length in (height, width))
    grid = torch.stack(torch.meshgrid(grid_y, grid_x, indexing="ij")[::-1], -1)
    expected = torch.nn.functional.grid_sample(mask_hw[None, None], grid[None], align_corners=False)[0, 0]
    assert torch.allclose(pasted[y : y + height, x : x + width], expected, atol=1e-4)
    assert outside.abs().max() <= mask_hw.max() / 2 + 1e-4  # what runs over the edge is less than half a mask pixel


def test_agreement_sees_what_differs() -> None:
    ours = [np.array([[[0, 0, 10, 10, 0.9, 0], [20, 20, 40, 40, 0.8, 1], [0, 0, 0, 0, 0, 0]]], np.float32)]
    swapped = [ours[0][:, [1, 0, 2]]]
    assert compare("object-detection", ours, swapped)["passed"]
    for place, value in ((0, 5.0), (4, 0.85), (5, 2.0)):
        other = [ours[0].copy()]
        other[0][0, 0, place] = value
        told = compare("object-detection", ours, other)
        assert not told["passed"]
        assert told["unmatched"] == 2
    missing = [ours[0].copy()]
    missing[0][0, 1] = 0
    assert compare("object-detection", ours, missing)["unmatched"] == 1
