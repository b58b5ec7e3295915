"""The architectures that find or outline things in pictures, which backbones each takes, and which to take for what. No torch here.

A starting point is written ARCHITECTURE/BACKBONE (`fcos/efficientnet_lite0`). Networks are built by `engine.models.dense.build`;
the backbones' strides and channels are facts of assets/catalog/pyramids.csv, made by `engine.models.dense.make_pyramids`.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from engine.errors import StudioError
from engine.models.catalogue import Backbone

__all__ = ["ARCHITECTURES", "TRAITS", "Architecture", "Option", "Pyramid", "architecture", "pyramid", "rank", "refusal"]

TaskName = Literal["object-detection", "semantic-segmentation", "instance-segmentation"]

TRAITS = {"speed": "Speed", "accuracy": "Accuracy", "small_objects": "Small objects", "edge": "Small devices", "few_pictures": "Few pictures"}
"""What a user may say matters -> its title."""

_PYRAMIDS = Path(__file__).resolve().parents[3] / "assets" / "catalog" / "pyramids.csv"


@dataclass(frozen=True)
class Pyramid:
    """What a backbone gives to the heads: one map a stride, the finest first.

    Attributes:
        strides: input pixels to one map pixel; channels: of each map.
        size_step: sides of pictures must be multiples of this.
        fixed_size: whether its weights fit one picture size only; a new size is set when the network is built.
        reason: why it gives no maps, '' where it does.
    """

    strides: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    size_step: int = 32
    fixed_size: bool = False
    reason: str = ""

    @property
    def single(self) -> bool:
        """Whether all it gives is one size, fine enough for the heads to make the others from (`engine.models.dense.plain`)."""
        return set(self.strides) in ({8}, {16})


@dataclass(frozen=True)
class Option:
    """One thing that can be set about an architecture: its first choice is the default, made for few pictures and small machines.

    With `step`, every multiple of it between the smallest choice and the largest will do.
    """

    choices: tuple[Any, ...]
    words: str
    step: int = 0

    def takes(self, value: Any) -> bool:
        """Tell whether it can be set to a value."""
        return value in self.choices or bool(self.step and value % self.step == 0 and min(self.choices) <= value <= max(self.choices))

    def said(self) -> str:
        """Say what it can be set to."""
        return f"{min(self.choices)} to {max(self.choices)} in steps of {self.step}" if self.step else f"one of: {', '.join(map(str, self.choices))}"


@dataclass(frozen=True)
class Architecture:
    """One method of detection or segmentation, on top of any backbone that gives it the maps it needs.

    Attributes:
        name: as in `--start NAME/BACKBONE`.
        strides: of the maps it cannot do without; wanted: of maps it uses where the backbone gives them.
        size_step: sides of pictures must be multiples of this.
        free_size: whether an exported file may take pictures of other sizes too (the backbone must as well: `Pyramid.fixed_size`).
        traits: 1 (weak) to 5 (strong) for each of TRAITS, from the papers' figures at like backbones: an order, not a measurement.
        method: the paper; code: whose implementation: 'torchvision', 'transformers' or 'Graft'.
    """

    name: str
    title: str
    task: TaskName
    words: str
    strides: tuple[int, ...]
    traits: Mapping[str, int]
    method: str
    code: str
    wanted: tuple[int, ...] = ()
    size_step: int = 32
    free_size: bool = True
    options: Mapping[str, Option] = field(default_factory=dict)

    def takes(self, row: Backbone) -> str | None:
        """Return None where it fits on this backbone, else the reason in words."""
        return refusal(self, pyramid(row.name), row.title)

    def chosen(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the value of each option: as given, else the default.

        Raises:
            StudioError: if an option is unknown or has no such choice.
        """
        given = dict(options or {})
        for key, value in given.items():
            if key not in self.options:
                raise StudioError(f"{self.title} has no option '{key}'", f"Use one of: {', '.join(self.options) or 'none'}.")
            if not self.options[key].takes(value):
                raise StudioError(f"{self.title}: '{key}' cannot be {value}", f"Use {self.options[key].said()}.")
        return {key: given.get(key, option.choices[0]) for key, option in self.options.items()}


def refusal(architecture: Architecture, found: Pyramid, title: str) -> str | None:
    """Return None where an architecture fits on a backbone that gives these maps, else the reason in words."""
    if found.reason:
        return f"{title} {found.reason}"
    if found.single:
        return None
    missing = [stride for stride in architecture.strides if stride not in found.strides]
    if missing:
        given = ", ".join(f"1/{stride}" for stride in found.strides)
        return f"{architecture.title} needs maps at 1/{missing[0]} of the picture's size; {title} gives {given}"
    return None


@cache
def _pyramids() -> dict[str, Pyramid]:
    with _PYRAMIDS.open(newline="", encoding="utf-8") as file:
        return {
            row["name"]: Pyramid(
                tuple(map(int, row["strides"].split())), tuple(map(int, row["channels"].split())), int(row["size_step"]), row["fixed"] == "1", row["reason"]
            )
            for row in csv.DictReader(file)
        }


def pyramid(backbone_name: str) -> Pyramid:
    """Return what a catalogued backbone gives; one the table does not know gives nothing, and says so."""
    return _pyramids().get(backbone_name, Pyramid(reason="has not been tried as the source of feature maps"))


def architecture(name: str) -> Architecture:
    """Return the architecture of that name.

    Raises:
        StudioError: if there is none; the nearest names are in it.
    """
    if name not in ARCHITECTURES:
        close = difflib.get_close_matches(name.lower(), ARCHITECTURES, n=2, cutoff=0.4)
        raise StudioError(f"there is no architecture '{name}'", f"Did you mean {' or '.join(close)}?" if close else f"Use one of: {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def rank(task: str, matters: Iterable[str] = ()) -> list[Architecture]:
    """Return the architectures of a task, the best first for what matters (keys of TRAITS); with nothing said, good all-rounders first."""
    wishes = [wish for wish in matters if wish in TRAITS] or list(TRAITS)
    return sorted((row for row in ARCHITECTURES.values() if row.task == task), key=lambda row: -sum(row.traits[wish] for wish in wishes))


def _traits(speed: int, accuracy: int, small_objects: int, edge: int, few_pictures: int) -> dict[str, int]:
    return {"speed": speed, "accuracy": accuracy, "small_objects": small_objects, "edge": edge, "few_pictures": few_pictures}


_WIDTH = Option((96, 64, 128, 256), "Channels of the pyramid and the heads. 256 is what the paper uses; fewer is faster and wants fewer pictures.", 32)
_CONVS = Option((2, 1, 3, 4), "Layers in each branch of the head. The paper uses 4.", 1)
_LIGHT = Option((False, True), "Depthwise layers in the head: faster on small devices, a little weaker.")
_ANCHOR = Option((3, 4, 2), "Side of the smallest anchor box, in steps of its map. 4 is what the paper uses; fewer for smaller things.", 1)
_OUTPUT = Option((16, 32, 8), "How much smaller the coarsest map may be, where the backbone can keep it larger. 8 is sharper and four times the work.")
_FINEST = Option((8, 4), "Finest map that is searched. 4 finds smaller things at four times the work.")
_DICE = Option((True, False), "Learn from the overlap (Dice) beside the cross-entropy: steadier where a class covers few pixels.")
_HIDDEN = Option((128, 64, 256), "Width of the transformer. 256 is what the paper uses.", 32)
_QUERIES = Option((100, 50, 300), "Most things that can be found in one picture.", 10)
_LAYERS = Option((3, 2, 6), "Decoder layers. 6 is what the paper uses.", 1)

_MASK_LAYERS = Option((4, 7, 10), "Decoder layers. 10 is what the paper uses.", 1)

_ROWS = (
    Architecture(
        "fcos",
        "FCOS",
        "object-detection",
        "One step and no anchor boxes: each place on the picture says what is there and how far its edges are. The right first choice.",
        (8, 16, 32),
        _traits(4, 3, 3, 4, 5),
        "Tian et al. 2019, FCOS: Fully Convolutional One-Stage Object Detection, arxiv.org/abs/1904.01355",
        "torchvision",
        options={"width": _WIDTH, "convs": _CONVS, "light": _LIGHT},
    ),
    Architecture(
        "retinanet",
        "RetinaNet",
        "object-detection",
        "One step from anchor boxes, with a loss that minds the hard places. Steady and well understood.",
        (8, 16, 32),
        _traits(3, 3, 3, 3, 4),
        "Lin et al. 2017, Focal Loss for Dense Object Detection, arxiv.org/abs/1708.02002",
        "torchvision",
        options={"width": _WIDTH, "convs": _CONVS, "light": _LIGHT, "anchor": _ANCHOR},
    ),
    Architecture(
        "ssd",
        "SSD",
        "object-detection",
        "The lightest: predicts straight from the backbone's maps. For small devices and things that are not tiny.",
        (16, 32),
        _traits(5, 2, 1, 5, 4),
        "Liu et al. 2016, SSD: Single Shot MultiBox Detector, arxiv.org/abs/1512.02325; light form: Sandler et al. 2018, arxiv.org/abs/1801.04381",
        "torchvision",
        wanted=(8,),
        options={"light": Option((True, False), "Depthwise layers, as in SSDLite.")},
    ),
    Architecture(
        "yolov3",
        "YOLOv3",
        "object-detection",
        "Three boxes at each place, and each thing is answered for by one of them. Quick, with little to weed out; overlooks small things that crowd.",
        (16, 32),
        _traits(5, 2, 2, 4, 3),
        "Redmon & Farhadi 2018, YOLOv3: An Incremental Improvement, arxiv.org/abs/1804.02767",
        "Graft",
        wanted=(8,),
        options={
            "width": Option((256, 128, 512), "Channels of the head at the coarsest map; each finer map has half as many. 512 is what the paper uses.", 32)
        },
    ),
    Architecture(
        "faster_rcnn",
        "Faster R-CNN",
        "object-detection",
        "Two steps: likely places first, then a close look at each. Exact on crowded pictures, slower.",
        (8, 16, 32),
        _traits(2, 4, 4, 1, 4),
        "Ren et al. 2015, Faster R-CNN, arxiv.org/abs/1506.01497; pyramid: Lin et al. 2017, arxiv.org/abs/1612.03144",
        "torchvision",
        wanted=(4,),
        options={"width": _WIDTH, "finest": _FINEST},
    ),
    Architecture(
        "rtdetr_v2",
        "RT-DETR v2",
        "object-detection",
        "A transformer made for real time: no overlapping answers to weed out. Strong with many pictures and patience.",
        (8, 16, 32),
        _traits(3, 5, 4, 2, 2),
        "Lv et al. 2024, RT-DETRv2, arxiv.org/abs/2407.17140",
        "transformers",
        free_size=False,
        options={"hidden": _HIDDEN, "queries": _QUERIES, "layers": _LAYERS},
    ),
    Architecture(
        "dfine",
        "D-FINE",
        "object-detection",
        "RT-DETR's successor: each edge of a box is refined as a distribution. The most exact boxes, with many pictures.",
        (8, 16, 32),
        _traits(3, 5, 4, 2, 2),
        "Peng et al. 2024, D-FINE, arxiv.org/abs/2410.13842",
        "transformers",
        free_size=False,
        options={"hidden": _HIDDEN, "queries": _QUERIES, "layers": _LAYERS},
    ),
    Architecture(
        "deformable_detr",
        "Deformable DETR",
        "object-detection",
        "A transformer that looks at a few places a question. Good on small things; wants long training.",
        (8, 16, 32),
        _traits(1, 4, 4, 1, 1),
        "Zhu et al. 2021, Deformable DETR, arxiv.org/abs/2010.04159",
        "transformers",
        free_size=False,
        options={"hidden": _HIDDEN, "queries": _QUERIES, "layers": _LAYERS},
    ),
    Architecture(
        "unet",
        "U-Net",
        "semantic-segmentation",
        "Coarse to fine, with the fine maps joined in on the way. Sharp edges, good with few pictures. The right first choice.",
        (8, 16, 32),
        _traits(3, 4, 5, 3, 5),
        "Ronneberger et al. 2015, U-Net, arxiv.org/abs/1505.04597",
        "Graft",
        wanted=(1, 2, 4),
        options={"width": Option((128, 64, 256), "Channels of the coarsest step; each finer step has half as many.", 32), "dice": _DICE},
    ),
    Architecture(
        "fpn",
        "FPN",
        "semantic-segmentation",
        "A feature pyramid whose levels are brought to one size and summed. Balanced between speed and sharpness.",
        (4, 8, 16, 32),
        _traits(4, 4, 4, 4, 4),
        "Kirillov et al. 2019, Panoptic Feature Pyramid Networks, arxiv.org/abs/1901.02446",
        "Graft",
        options={"width": _WIDTH, "dice": _DICE},
    ),
    Architecture(
        "deeplabv3",
        "DeepLabV3",
        "semantic-segmentation",
        "Looks at several distances around each place at once. Good on large areas and things of very different sizes.",
        (32,),
        _traits(2, 4, 2, 2, 3),
        "Chen et al. 2017, Rethinking Atrous Convolution, arxiv.org/abs/1706.05587",
        "torchvision",
        options={"output_stride": _OUTPUT, "dice": _DICE},
    ),
    Architecture(
        "fcn",
        "FCN",
        "semantic-segmentation",
        "The simplest: a small classifier at every place of the coarsest map. A baseline.",
        (32,),
        _traits(4, 2, 1, 3, 3),
        "Long et al. 2015, Fully Convolutional Networks, arxiv.org/abs/1411.4038",
        "torchvision",
        options={"output_stride": _OUTPUT, "dice": _DICE},
    ),
    Architecture(
        "lraspp",
        "LR-ASPP",
        "semantic-segmentation",
        "The lightest: two maps and almost nothing on top. For small devices.",
        (8, 32),
        _traits(5, 3, 2, 5, 4),
        "Howard et al. 2019, Searching for MobileNetV3, arxiv.org/abs/1905.02244",
        "torchvision",
        options={"dice": _DICE},
    ),
    Architecture(
        "segformer",
        "SegFormer",
        "semantic-segmentation",
        "Four maps through one small all-linear decoder: light, and good with transformer backbones.",
        (4, 8, 16, 32),
        _traits(4, 4, 3, 3, 4),
        "Xie et al. 2021, SegFormer, arxiv.org/abs/2105.15203",
        "transformers",
        options={"width": Option((128, 64, 256, 768), "Channels of the decoder. 256 and 768 are what the paper uses.", 32), "dice": _DICE},
    ),
    Architecture(
        "upernet",
        "UPerNet",
        "semantic-segmentation",
        "A pyramid that first looks at the whole picture, then goes from coarse to fine. Good on scenes where everything has a name; heavy.",
        (4, 8, 16, 32),
        _traits(2, 5, 3, 1, 3),
        "Xiao et al. 2018, Unified Perceptual Parsing, arxiv.org/abs/1807.10221",
        "transformers",
        free_size=False,
        options={"width": Option((128, 64, 256, 512), "Channels of the pyramid. 512 is what the paper uses.", 32), "dice": _DICE},
    ),
    Architecture(
        "mask2former_semantic",
        "Mask2Former",
        "semantic-segmentation",
        "A transformer that asks for whole regions and outlines each. Strong with many pictures; slow to train.",
        (4, 8, 16, 32),
        _traits(1, 5, 3, 1, 1),
        "Cheng et al. 2022, Masked-attention Mask Transformer, arxiv.org/abs/2112.01527",
        "transformers",
        free_size=False,
        options={"hidden": _HIDDEN, "queries": Option((50, 100), "Most regions in one picture.", 10), "layers": _MASK_LAYERS},
    ),
    Architecture(
        "mask_rcnn",
        "Mask R-CNN",
        "instance-segmentation",
        "Faster R-CNN that outlines each thing it finds. The right first choice for single things.",
        (8, 16, 32),
        _traits(3, 4, 4, 2, 4),
        "He et al. 2017, Mask R-CNN, arxiv.org/abs/1703.06870",
        "torchvision",
        wanted=(4,),
        options={"width": _WIDTH, "finest": _FINEST},
    ),
    Architecture(
        "mask2former",
        "Mask2Former",
        "instance-segmentation",
        "A transformer that asks for whole things and outlines each. Strong with many pictures; slow to train.",
        (4, 8, 16, 32),
        _traits(1, 5, 3, 1, 1),
        "Cheng et al. 2022, Masked-attention Mask Transformer, arxiv.org/abs/2112.01527",
        "transformers",
        free_size=False,
        options={"hidden": _HIDDEN, "queries": Option((50, 100), "Most things that can be found in one picture.", 10), "layers": _MASK_LAYERS},
    ),
)

ARCHITECTURES: dict[str, Architecture] = {row.name: row for row in _ROWS}
assert len(ARCHITECTURES) == len(_ROWS), "an architecture is in the table twice"
assert all(set(row.traits) == set(TRAITS) for row in _ROWS), "an architecture lacks a trait"
