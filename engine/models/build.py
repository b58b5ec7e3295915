"""Networks: a backbone (images in, pooled features out) and a head (features in, logits out), and their weights on disk.

What there is to choose from is `engine.models.catalogue`'s; where weight files lie is `engine.models.weights`'; training is `engine.training`'s.

Shapes: B pictures, C channels, H x W pixels, F features, K classes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import timm
import torch
from safetensors import SafetensorError, safe_open
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

from engine import runs, workspace
from engine.data import geometry
from engine.errors import StudioError
from engine.models.published import PREFIX
from engine.recipe import Recipe
from engine.tasks import TASKS
from engine.tasks.heads import HEADS

if TYPE_CHECKING:
    from engine.models.catalogue import Backbone, Start

__all__ = ["ModelSpec", "Network", "build", "digest", "from_checkpoint", "from_published", "from_start", "read_weights", "ready", "save"]

ARCHITECTURES = {f"efficientnet_lite{i}": f"tf_efficientnet_lite{i}" for i in range(3)}
"""Catalogue name -> timm's, where they differ: the packaged weights are TensorFlow's, with its 'same' padding."""

_IMPORTED = "onnx-"
"""How the name of a backbone begins that came in as an ONNX file (`engine.models.own_onnx`)."""

_SPEC_KEY = "spec"

DENSE_PX = 320
"""Longer side of a picture in which things are looked for: small enough for a processor, large enough for things of a tenth of it."""


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a network again and to prepare its pictures. Plain JSON.

    Attributes:
        head: the new last layers of a pooled network, or a dense one's architecture.
        fit: 'crop' cuts the centre of the central square; 'stretch' presses all of a picture into a square; 'whole' shows all of it as it is, with a
            margin to the right or below.
        height, width: of the network's input where that is no square of image_size a side; image_size is then the longer one.
        options: of a dense one's architecture, where they are not its own.
    """

    backbone: str
    head: str = "linear"
    classes: tuple[str, ...] = ()
    image_size: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_share: float = 0.875
    dropout: float = 0.0
    drop_path: float = 0.0
    task: str = "image-classification"
    fit: str = "crop"
    height: int = 0
    width: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read it back; keys that a newer Graft wrote are passed over."""
        row: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(text).items()}
        return cls(**{key: value for key, value in row.items() if key in cls.__dataclass_fields__})

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width, in pixels, of the network's input."""
        return self.height or self.image_size, self.width or self.image_size

    @property
    def cache_px(self) -> int:
        """Side of the square that pictures are decoded to: its centre crop of image_size is exactly what the exported model sees."""
        return max(self.image_size, round(self.image_size / self.crop_share))


class Network(nn.Module):
    """backbone: images [B, 3, H, W] -> features [B, F]; head: features -> logits [B, K]."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits [B, K]."""
        return self.head(self.backbone(images_BCHW))

    def stages(self) -> list[list[str]]:
        """Return the names of the backbone's weights and buffers, grouped by depth, the stage nearest the picture first."""
        names = list(self.backbone.state_dict())
        matcher = getattr(self.backbone, "group_matcher", None)
        if matcher is None:
            return [[name] for name in names]
        groups = group_with_matcher(((name, None) for name in names), matcher(coarse=False), return_values=False, reverse=False)
        return [groups[depth] for depth in sorted(groups)]

    @property
    def features(self) -> int:
        """Number of features, F."""
        return _width(self.backbone)


def _width(backbone: nn.Module) -> int:
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)  # type: ignore[arg-type]


def _timm(name: str, image_size: int, drop_path: float) -> nn.Module:
    """Build a timm backbone without weights. Options it does not know are left out."""
    architecture = ARCHITECTURES.get(name, name)
    if not timm.is_model(architecture.split(".")[0]):
        raise StudioError(f"there is no backbone '{name}'", "Choose one from the Start page, or list them with: python -m engine starts")
    config = timm.models.get_pretrained_cfg(architecture)
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    if config is not None and config.fixed_input_size and config.input_size[-1] != image_size:
        options["img_size"] = image_size
    for dropped in ("", "drop_path_rate"):
        try:
            return timm.create_model(architecture, num_classes=0, **{key: value for key, value in options.items() if key != dropped})
        except TypeError:
            continue
    raise StudioError(f"'{name}' cannot work on pictures of {image_size} px", "Set the picture size to 0, the size it was made for.")


def _imported(name: str) -> nn.Module:
    """Build the backbone of a user's own ONNX file, with the weights it came with."""
    from engine.models.own_onnx.library import load_backbone

    return load_backbone(name)


def build(spec: ModelSpec, *, pretrained: bool = False, seed: int = 0) -> Network:
    """Build the network a spec describes.

    Args:
        spec: what to build.
        pretrained: load the backbone's weights that lie on this machine; without any, or if False, weights are random.
        seed: of the random weights.
    """
    if TASKS[spec.task].family == "dense":
        from engine.models import dense

        return dense.build(spec.head, spec.backbone, len(spec.classes), spec.input_hw, spec.options, pretrained=pretrained, seed=seed, drop_path=spec.drop_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _imported(spec.backbone) if spec.backbone.startswith(_IMPORTED) else _timm(spec.backbone, spec.image_size, spec.drop_path)
        head = HEADS[spec.head](_width(backbone), len(spec.classes), spec.dropout)
    if pretrained and not spec.backbone.startswith(_IMPORTED):
        from engine.models import weights

        path = weights.find(spec.backbone)
        if path is not None:
            _load_backbone(backbone, read_weights(path), path.name)
    return Network(backbone, head)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weight file: safetensors, or a packaged .pth of plain tensors. Nothing else is ever unpickled.

    Raises:
        StudioError: if the file is damaged.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, RuntimeError, ValueError, OSError, EOFError) as error:
        raise StudioError(f"the weight file {path.name} is damaged", "Delete it and download it again, or reinstall its package.") from error


def _load_backbone(backbone: nn.Module, found: Mapping[str, Tensor], source: str) -> None:
    """Copy weights in: by name where the names agree, else by order (the packaged files name the same tensors differently)."""
    own = backbone.state_dict()
    if set(own) <= set(found):
        matched = {name: found[name] for name in own}
    else:
        matched = dict(zip(own, found.values(), strict=False))
    wrong = [name for name, tensor in own.items() if name not in matched or matched[name].shape != tensor.shape]
    if wrong:
        raise StudioError(f"the weights in {source} do not fit the network ({len(wrong)} of {len(own)} tensors, first '{wrong[0]}')", "Choose other weights.")
    backbone.load_state_dict(matched)


def ready(spec: ModelSpec, path: Path) -> Network:
    """Build a packaged classifier with the classes it was trained on: its backbone and its own last layer.

    Args:
        spec: with `classes` in the order of the file's outputs.
        path: the packaged weight file, whose last two tensors are the classifier's weight and bias.
    """
    network = build(replace(spec, head="linear"))
    found = read_weights(path)
    _load_backbone(network.backbone, found, path.name)
    weight, bias = list(found.values())[-2:]
    linear = list(network.head.modules())[-1]
    assert isinstance(linear, nn.Linear)
    assert weight.shape == linear.weight.shape, (weight.shape, linear.weight.shape)
    linear.load_state_dict({"weight": weight, "bias": bias})
    return network.eval()


def from_start(start: Start, recipe: Recipe, classes: Sequence[str], aspect: float = 1.0) -> tuple[Network, ModelSpec, str]:
    """Build the network that a recipe starts from.

    Args:
        start: the resolved starting point.
        recipe: what the user set.
        classes: what it shall tell apart or find.
        aspect: width over height that the pictures usually have; where the task shows them whole, its input has about that shape.

    Returns:
        The network, its spec, and where its weights come from: 'pretrained', 'scratch', 'run' or 'run and head'.

    Raises:
        StudioError: if the starting point cannot be trained, or its files are missing or damaged.
    """
    if start.door == "onnx":
        return _from_onnx(start, recipe, tuple(classes))
    if start.run_id:
        return _from_run(start, recipe, tuple(classes))
    if start.backbone.startswith(PREFIX):
        return from_published(start.backbone, tuple(classes), recipe, aspect)
    from engine.models import catalogue, weights

    row = catalogue.backbone(start.backbone)
    spec = ModelSpec(
        backbone=row.name,
        head=start.head or "linear",
        classes=tuple(classes),
        **{"crop_share": row.crop_share, **_input(start.head, recipe, row, aspect)},
        mean=tuple(row.mean),
        std=tuple(row.std),
        interpolation=row.interpolation,
        dropout=recipe.dropout,
        drop_path=recipe.drop_path,
        task=recipe.task,
        options=_options(start.head, recipe),
    )
    return build(spec, pretrained=True, seed=recipe.seed), spec, "pretrained" if weights.find(row.name) else "scratch"


def _input(head: str, recipe: Recipe, row: Backbone, aspect: float) -> dict[str, Any]:
    """Return the size of the network's input, and what of a picture is shown there."""
    fit = TASKS[recipe.task].fit
    if fit != "whole":
        return {"image_size": recipe.image_size or row.image_size, **_square(fit)}
    from engine.models import dense

    step = math.lcm(dense.architecture(head).size_step, dense.pyramid(row.name).size_step)
    longer = recipe.image_size or (row.image_size if dense.pyramid(row.name).fixed_size else DENSE_PX)
    height, width = geometry.frame_of(longer, 1.0 if dense.pyramid(row.name).fixed_size else aspect, step)
    return {"image_size": max(height, width), "fit": "whole", "height": height, "width": width}


def _square(fit: str) -> dict[str, Any]:
    """Return what a spec says of a square input beyond its size: where all of a picture is pressed into it, nothing is cut off."""
    return {"fit": "stretch", "crop_share": 1.0} if fit == "stretch" else {"fit": "crop"}


def _options(head: str, recipe: Recipe) -> dict[str, Any]:
    """Return what the user set about the architecture."""
    if TASKS[recipe.task].family == "pooled":
        return {}
    from engine.models import dense
    from engine.models.dense.options import options_of

    return options_of(dense.architecture(head), recipe.model_dump())


def from_published(name: str, classes: tuple[str, ...], recipe: Recipe, aspect: float = 1.0) -> tuple[Network, ModelSpec, str]:
    """Build a finished model that was fetched, for the user's classes; no classes are its own.

    Raises:
        StudioError: if it is not here, or damaged.
    """
    from engine.models import published
    from engine.models.dense import architecture, finished

    row = published.find(name)
    if not row.here:
        raise StudioError(f"'{row.title}' is not on this computer yet", f"Download it on the Start page, or with: python -m engine download ready/{row.key}")
    labels, step = classes or finished.names_of(row.folder), architecture(row.architecture).size_step
    height, width = geometry.frame_of(recipe.image_size or row.image_size, aspect, step)
    spec = ModelSpec(
        backbone=f"{PREFIX}{row.key}",
        head=row.architecture,
        classes=labels,
        image_size=max(height, width),
        mean=row.mean,
        std=row.std,
        interpolation="bilinear",
        crop_share=1.0,
        task=row.task,
        fit="whole",
        height=height,
        width=width,
        options={"config": finished.config_of(row.folder)},
    )
    network: Any = finished.load(row.folder, labels, seed=recipe.seed)
    return network, spec, "pretrained"


def _from_onnx(start: Start, recipe: Recipe, classes: tuple[str, ...]) -> tuple[Network, ModelSpec, str]:
    """Import the user's own ONNX file, cut its old head off, and put a new one on."""
    from engine.models.own_onnx.start import settings_of

    told = settings_of(start.file, recipe.cut, recipe.image_size)
    spec = ModelSpec(head=start.head or "linear", classes=classes, dropout=recipe.dropout, task=recipe.task, options=_options(start.head, recipe), **told)
    if TASKS[recipe.task].fit == "whole":
        side = max(32, spec.image_size // 32 * 32)
        spec = replace(spec, fit="whole", image_size=side, height=side, width=side)
    else:
        spec = replace(spec, **_square(TASKS[recipe.task].fit))
    return build(spec, seed=recipe.seed), spec, "pretrained"


def _from_run(start: Start, recipe: Recipe, classes: tuple[str, ...]) -> tuple[Network, ModelSpec, str]:
    """Take over the first share of a finished run's network; what lies deeper comes from the original backbone.

    The head is taken over as well when task and classes are the same and the whole network is.
    """
    assert start.run_id
    earlier, old = from_checkpoint(runs.find(start.run_id).path("best.safetensors"))
    if old.task != recipe.task and not TASKS[old.task].family == TASKS[recipe.task].family == "pooled":
        raise StudioError(
            f"'{start.title}' learnt another kind of task ({TASKS[old.task].title.lower()})", "Start from a run of the same task, or from its backbone."
        )
    spec = replace(old, classes=classes, dropout=recipe.dropout, drop_path=recipe.drop_path, task=recipe.task)
    if old.fit != "whole":
        spec = replace(spec, image_size=recipe.image_size or old.image_size, **({} if old.task == recipe.task else _square(TASKS[recipe.task].fit)))
    elif recipe.image_size:
        height, width = geometry.frame_of(recipe.image_size, old.input_hw[1] / old.input_hw[0])
        spec = replace(spec, image_size=max(height, width), height=height, width=width)
    network = build(spec, pretrained=recipe.reuse_depth < 1, seed=recipe.seed)
    stages = network.stages()
    taken = {name for stage in stages[: round(recipe.reuse_depth * len(stages))] for name in stage}
    kept = {name: tensor for name, tensor in earlier.backbone.state_dict().items() if name in taken}
    own = network.backbone.state_dict()
    network.backbone.load_state_dict({**own, **{name: tensor for name, tensor in kept.items() if own[name].shape == tensor.shape}})
    if (old.task, old.classes) != (recipe.task, classes) or recipe.reuse_depth < 1:
        return network, spec, "run"
    network.head.load_state_dict(earlier.head.state_dict())
    return network, spec, "run and head"


def save(weights: Mapping[str, Tensor], spec: ModelSpec, path: Path) -> None:
    """Write a network's weights with its spec, atomically, as safetensors."""
    content = {name: tensor.detach().to("cpu", copy=False).contiguous() for name, tensor in weights.items()}
    with workspace.replacing(path) as beside:
        beside.write_bytes(safetensors.torch.save(content, {_SPEC_KEY: spec.to_json()}))


def from_checkpoint(path: Path) -> tuple[Network, ModelSpec]:
    """Build the network saved at `path`, in evaluation mode.

    Raises:
        StudioError: if the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            spec = ModelSpec.from_json((file.metadata() or {})[_SPEC_KEY])
        network = build(spec)
        network.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError as error:
        raise StudioError(f"there is no trained model at {path.parent.name}/{path.name}", "Let the run finish, or choose another one.") from error
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise StudioError(f"the trained model {path.parent.name}/{path.name} is damaged", "Train again, or restore the file from a backup.") from error
    return network.eval(), spec


def digest(module: nn.Module) -> str:
    """Return a short name of a module's weights: the sha256 of their names and bytes."""
    state = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()[:32]
