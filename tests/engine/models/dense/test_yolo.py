"""YOLOv3's own parts: which box answers for a thing, and what is no mistake."""

from __future__ import annotations

import torch

from engine.models import dense
from engine.models.dense.yolo import YOLOv3

SIZE = 96


def head() -> YOLOv3:
    torch.manual_seed(0)
    return YOLOv3((16, 32), (8, 8), 2, (416, 416), {"width": 32})


def maps() -> list[torch.Tensor]:
    return [torch.randn(1, 8, SIZE // stride, SIZE // stride) for stride in (16, 32)]


def test_the_box_of_a_things_shape_in_the_cell_of_its_middle_answers_for_it() -> None:
    one = head()
    outputs = one(maps())
    things = torch.tensor([[20.0, 30.0, 80.0, 76.0], [18.0, 0.0, 78.0, 110.0]])  # 60 x 46, as the fine map's second; 60 x 110, as its third
    owners = one._owners(things, outputs)
    assert owners.tolist() == [(3 * 6 + 3) * 3 + 1, (3 * 6 + 3) * 3 + 2]
    large = torch.tensor([[-60.0, -30.0, 96.0, 168.0]])  # 156 x 198, the coarse map's second, its middle at 18, 69
    assert one._owners(large, outputs).tolist() == [6 * 6 * 3 + (2 * 3 + 0) * 3 + 1]


def test_what_answers_is_pushed_up_and_the_rest_down() -> None:
    one = head()
    given = maps()
    target = {"boxes_N4": torch.tensor([[20.0, 30.0, 80.0, 76.0]]), "labels_N": torch.tensor([1])}
    optimizer = torch.optim.Adam(one.parameters(), 1e-2)
    first = last = 0.0
    for step in range(60):
        parts = one.loss(one(given), [target])
        loss = sum(parts.values())
        last = float(loss.detach())
        first = last if step == 0 else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert last < first / 4
    found = one.decode(one(given), 5)["detections_BD6"][0]
    assert found[0, 4] > 0.5 > found[1, 4]
    assert found[0, 5] == 1
    assert torch.allclose(found[0, :4], target["boxes_N4"][0], atol=6)


def test_a_box_that_overlaps_a_thing_well_is_no_mistake() -> None:
    one = head()
    outputs = one(maps())
    box = one._boxes(outputs)[0, 40].detach()
    target = {"boxes_N4": box[None], "labels_N": torch.tensor([0])}
    owner = int(one._owners(box[None], outputs)[0])
    outputs["bbox_regression"].retain_grad()
    one.loss(outputs, [target])["things"].backward()
    pushed = outputs["bbox_regression"].grad[0, :, 4]
    assert pushed[owner] < 0
    assert owner == 40 or pushed[40] == 0
    assert (pushed > 0).sum() > 100


def test_on_any_backbone_with_three_maps() -> None:
    network = dense.build("yolov3", "efficientnet_lite0", 2, SIZE)
    assert network.backbone.strides == (8, 16, 32)
    assert [len(level) for level in network.head.anchors] == [3, 3, 3]
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 3, SIZE, SIZE))["cls_logits"].shape == (1, 3 * (12 * 12 + 6 * 6 + 3 * 3), 2)
