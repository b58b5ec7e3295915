"""Everything a user can set, said once. Forms, validation, the command line and the docs are made from `Recipe`.

A recipe is what the user chose, in plain JSON. What the dry run chose (precision, batch size where left automatic)
is not in it: that is the run's plan, an event.

Longer than 400 lines because it is one table: a row a setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from engine.errors import StudioError

__all__ = ["DRAWN", "GROUPS", "PRESETS", "Preset", "Recipe", "Setting", "differing", "recipe_from", "setting", "settings", "usual"]

Level = Literal["basic", "expert", "hidden"]


def setting(
    default: Any,
    *,
    title: str,
    help: str,
    group: str,
    level: Level = "expert",
    unit: str = "",
    scale: Literal["linear", "log"] = "linear",
    step: float | None = None,
    ge: float | None = None,
    le: float | None = None,
    automatic: bool = False,
    tasks: tuple[str, ...] = (),
) -> Any:
    """Declare one setting: default, bounds, unit, plain-words help, level; whether 0 leaves it to Graft. `tasks` empty means every task."""
    extra: dict[str, Any] = {"group": group, "level": level, "unit": unit, "scale": scale, "step": step, "automatic": automatic, "tasks": list(tasks)}
    return Field(default, title=title, description=help, ge=ge, le=le, allow_inf_nan=False if isinstance(default, float) else None, json_schema_extra=extra)


WHOLE = ("image-classification", "multi-label-classification")
"""Tasks that learn what whole pictures show."""
DRAWN = ("object-detection", "semantic-segmentation", "instance-segmentation")
"""Tasks that learn from shapes drawn in pictures."""

GROUPS = {
    "run": "The run",
    "model": "The model",
    "learning": "How it learns",
    "pictures": "How pictures are varied",
    "machine": "The machine",
}
"""Groups of settings in the order a form shows them."""


class Recipe(BaseModel):
    """What the user set for one run. Frozen; an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    task: str = setting("image-classification", title="Task", help="What the model learns to do.", group="run", level="hidden")
    start: str = setting(
        "linear/efficientnet_lite0",
        title="Starting point",
        help="The model that training starts from, written HEAD/BACKBONE, a catalogue name, run:ID or an ONNX file.",
        group="run",
        level="hidden",
    )
    preset: Literal["quick", "balanced", "best"] = setting(
        "balanced",
        title="Goal",
        help="Quick look: a first answer in seconds. Balanced: good accuracy in minutes. Best: takes its time.",
        group="run",
        level="basic",
    )
    name: str = setting("", title="Name", help="A name for this run. Left empty, Graft makes one.", group="run", level="hidden")
    seed: int = setting(
        0,
        title="Seed",
        help="Runs with the same seed, data and settings give the same model. Change it to see how much is luck.",
        group="run",
        ge=0,
        le=2**31 - 1,
    )

    phases: Literal["head", "head_then_all", "all"] = setting(
        "head_then_all",
        title="What to train",
        help="Head: only the new last layers, in seconds. Head, then all: the new layers first, then the whole network, gently. "
        "All: everything from the first step.",
        group="model",
        level="basic",
    )
    epochs: int = setting(
        8,
        title="Epochs",
        help="How many times fine-tuning goes over all the training pictures. More takes longer and helps less and less. "
        "0 lets the dry run choose by how many pictures there are.",
        group="learning",
        automatic=True,
        level="basic",
        ge=0,
        le=1000,
        unit="passes",
    )
    image_size: int = setting(
        0,
        title="Picture size",
        help="Pictures are resized to this many pixels a side. 0 takes the size the starting point was made for. Smaller is faster, larger sees finer detail.",
        group="model",
        automatic=True,
        ge=0,
        le=1024,
        step=32,
        unit="px",
    )
    batch_size: int = setting(
        0,
        title="Batch size",
        help="Pictures per training step. 0 lets the dry run choose what fits this machine.",
        group="machine",
        automatic=True,
        ge=0,
        le=4096,
        unit="pictures",
    )
    freeze_depth: float = setting(
        0.0,
        title="Frozen share of the backbone",
        help="Share of the backbone, counted from the picture inwards, that keeps its old weights while fine-tuning. 0 trains all of it, 1 none.",
        group="model",
        ge=0.0,
        le=1.0,
        step=0.05,
    )
    reuse_depth: float = setting(
        1.0,
        title="Reused share of an earlier run",
        help="When starting from one of your own runs: the share of its network, counted from the picture inwards, whose weights are taken over. "
        "The rest comes from the original backbone.",
        group="model",
        ge=0.0,
        le=1.0,
        step=0.05,
    )
    dropout: float = setting(
        0.1,
        title="Dropout",
        help="Share of features switched off at random in the new last layers while training, against learning by heart.",
        group="model",
        tasks=WHOLE,
        ge=0.0,
        le=0.9,
        step=0.05,
    )
    drop_path: float = setting(
        0.0,
        title="Stochastic depth",
        help="Share of residual branches skipped at random while training, where the backbone supports it.",
        group="model",
        ge=0.0,
        le=0.9,
        step=0.05,
    )

    head_width: int = setting(
        0,
        title="Width of the head",
        help="Channels in the layers that find or outline things. 0 takes what suits few pictures; papers use 256. Wider sees more, is slower and wants more "
        "pictures.",
        group="model",
        automatic=True,
        tasks=DRAWN,
        ge=0,
        le=768,
        step=32,
        unit="channels",
    )
    head_layers: int = setting(
        0,
        title="Layers of the head",
        help="Layers that decide what is where: in each branch of a convolutional head, or in the decoder of a transformer. 0 takes the architecture's own.",
        group="model",
        automatic=True,
        tasks=DRAWN,
        ge=0,
        le=10,
        unit="layers",
    )
    head_light: Literal["auto", "on", "off"] = setting(
        "auto",
        title="Light head",
        help="Depthwise layers in the head: faster on small devices, a little weaker. Auto takes the architecture's own.",
        group="model",
        tasks=("object-detection",),
    )
    anchor_size: int = setting(
        0,
        title="Smallest anchor box",
        help="Side of the smallest box that things are compared with, in steps of the finest map (8 px). Smaller for smaller things. 0 takes 3.",
        group="model",
        automatic=True,
        tasks=("object-detection",),
        ge=0,
        le=4,
        unit="steps",
    )
    finest_map: Literal["auto", "8", "4"] = setting(
        "auto",
        title="Finest map",
        help="How fine the finest map is that is searched: one place every 8 or 4 pixels. 4 finds smaller things at four times the work. Auto takes 8.",
        group="model",
        tasks=("object-detection", "instance-segmentation"),
    )
    output_stride: Literal["auto", "32", "16", "8"] = setting(
        "auto",
        title="Coarsest map",
        help="How coarse the map is that the answer is made from: one place every 32, 16 or 8 pixels. 8 is sharper and slower. Auto takes 16.",
        group="model",
        tasks=("semantic-segmentation",),
    )
    queries: int = setting(
        0,
        title="Things in a picture",
        help="How many things a transformer asks for in each picture: it can find no more. 0 takes the architecture's own, 50 or 100.",
        group="model",
        automatic=True,
        tasks=DRAWN,
        ge=0,
        le=300,
        step=10,
        unit="questions",
    )
    dice: Literal["auto", "on", "off"] = setting(
        "auto",
        title="Learn from overlap (Dice)",
        help="Beside each pixel's class, the overlap of whole areas counts: steadier where a class covers few pixels. Auto switches it on.",
        group="model",
        tasks=("semantic-segmentation",),
    )

    optimizer: Literal["adamw", "sgd", "adam", "rmsprop"] = setting(
        "adamw", title="Optimizer", help="The rule that turns gradients into weight changes. AdamW is a safe choice.", group="learning"
    )
    lr_head: float = setting(
        1e-3,
        title="Learning rate, head",
        help="How large a step the new last layers take. Too large diverges, too small crawls.",
        group="learning",
        ge=1e-7,
        le=10.0,
        scale="log",
    )
    lr_backbone: float = setting(
        0.0,
        title="Learning rate, backbone",
        help="How large a step the pretrained layers take; usually a fraction of the head's. 0 takes what suits the network: 0.0005 where it normalises "
        "over batches, as most convolutional networks do, else 0.0002.",
        group="learning",
        ge=0.0,
        le=10.0,
        scale="log",
        automatic=True,
    )
    schedule: Literal["cosine", "linear", "constant", "one_cycle"] = setting(
        "cosine", title="Schedule", help="How the learning rate falls over the run.", group="learning"
    )
    warmup: float = setting(
        0.1, title="Warm-up", help="Share of the steps over which the learning rate rises from nothing.", group="learning", ge=0.0, le=0.9, step=0.05
    )
    weight_decay: float = setting(
        0.02,
        title="Weight decay",
        help="Pulls weights towards zero a little each step, against learning by heart.",
        group="learning",
        ge=0.0,
        le=1.0,
        scale="log",
    )
    clip_norm: float = setting(
        1.0, title="Gradient clipping", help="Gradients longer than this are shortened to it. 0 switches it off.", group="learning", ge=0.0, le=1000.0
    )
    label_smoothing: float = setting(
        0.05,
        title="Label smoothing",
        help="Share of certainty taken from the given label and spread over the others; helps where labels are noisy.",
        group="learning",
        tasks=WHOLE,
        ge=0.0,
        le=0.5,
        step=0.01,
    )
    ema: float = setting(
        0.0,
        title="Weight averaging (EMA)",
        help="Keeps a running average of the weights and uses that as the model. 0.99 to 0.9999 are usual, 0 switches it off.",
        group="learning",
        ge=0.0,
        le=0.99999,
    )
    class_balance: Literal["none", "loss", "sampling"] = setting(
        "none",
        title="Class balance",
        help="For classes of unequal size. Loss: rare classes weigh more. Sampling: rare classes are shown more often.",
        group="learning",
        level="basic",
    )
    patience: int = setting(
        0,
        title="Early stopping",
        help="Stop when the validation score has not risen for this many epochs. 0 never stops early.",
        group="learning",
        ge=0,
        le=1000,
        unit="epochs",
    )

    flip_horizontal: bool = setting(
        True,
        title="Mirror left-right",
        help="Mirror half of the pictures. Switch off where left and right differ, as in text.",
        group="pictures",
        level="basic",
    )
    flip_vertical: bool = setting(
        False,
        title="Mirror top-bottom",
        help="Turn half of the pictures upside down; for pictures without an up, as under a microscope.",
        group="pictures",
        level="basic",
    )
    rotate_degrees: float = setting(
        10.0, title="Rotate", help="Turn pictures at random by up to this angle either way.", group="pictures", ge=0.0, le=180.0, step=1.0, unit="degrees"
    )
    crop_min: float = setting(
        0.6,
        title="Smallest crop",
        help="Each time a picture is shown, a random part of at least this share of its area is cut out. 1 shows it whole.",
        group="pictures",
        tasks=WHOLE,
        ge=0.05,
        le=1.0,
        step=0.05,
    )
    brightness: float = setting(
        0.2, title="Brightness", help="Make pictures darker or lighter by up to this share.", group="pictures", ge=0.0, le=1.0, step=0.05
    )
    contrast: float = setting(0.2, title="Contrast", help="Make pictures flatter or starker by up to this share.", group="pictures", ge=0.0, le=1.0, step=0.05)
    saturation: float = setting(0.2, title="Colour", help="Make colours paler or stronger by up to this share.", group="pictures", ge=0.0, le=1.0, step=0.05)
    erase: float = setting(
        0.0,
        title="Random erasing",
        help="Share of pictures in which a random rectangle is blanked out, so that the model does not lean on one detail.",
        group="pictures",
        tasks=WHOLE,
        ge=0.0,
        le=1.0,
        step=0.05,
    )
    mixup: float = setting(
        0.0,
        title="Mixup",
        help="Blend pairs of pictures and their labels; the number is the Beta distribution's parameter. 0 switches it off, 0.2 is usual.",
        group="pictures",
        tasks=WHOLE,
        ge=0.0,
        le=10.0,
        step=0.05,
    )
    cutmix: float = setting(
        0.0,
        title="CutMix",
        help="Paste a piece of one picture into another and mix their labels; Beta parameter. 0 switches it off, 1 is usual.",
        group="pictures",
        tasks=WHOLE,
        ge=0.0,
        le=10.0,
        step=0.05,
    )
    scale_min: float = setting(
        0.6,
        title="Smallest zoom",
        help="Each time a picture is shown, it is made smaller by down to this factor, so that near and far things are learnt alike.",
        group="pictures",
        tasks=DRAWN,
        ge=0.1,
        le=1.0,
        step=0.05,
    )
    scale_max: float = setting(
        1.6,
        title="Largest zoom",
        help="Each time a picture is shown, it is made larger by up to this factor, and a part of it is seen.",
        group="pictures",
        tasks=DRAWN,
        ge=1.0,
        le=4.0,
        step=0.05,
    )
    mosaic: float = setting(
        0.0,
        title="Mosaic",
        help="Share of pictures put together of four at half their size: more and smaller things at once. Helps with few pictures and small things.",
        group="pictures",
        tasks=("object-detection", "instance-segmentation"),
        ge=0.0,
        le=1.0,
        step=0.05,
    )
    copy_paste: float = setting(
        0.0,
        title="Copy and paste",
        help="Share of pictures into which things cut out of another picture are pasted.",
        group="pictures",
        tasks=("instance-segmentation",),
        ge=0.0,
        le=1.0,
        step=0.05,
    )

    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", title="Precision", help="Auto tries both for a few steps and takes the faster one that computes the same answer.", group="machine"
    )
    layout: Literal["auto", "contiguous", "channels_last"] = setting(
        "auto", title="Memory layout", help="How picture tensors lie in memory. Auto measures.", group="machine"
    )
    threads: int = setting(
        0,
        title="Processor threads",
        help="Threads for computing on the CPU. 0 takes the physical cores.",
        group="machine",
        automatic=True,
        ge=0,
        le=512,
        unit="threads",
    )
    device: str = setting("auto", title="Device", help="Where to train: auto takes the first GPU, else the CPU; cpu, cuda:0, mps choose one.", group="machine")
    cut: str = setting(
        "",
        title="Cut",
        help="For your own ONNX model: the tensor after which the old head is cut off. Empty lets Graft find it.",
        group="model",
        level="hidden",
    )


@dataclass(frozen=True)
class Preset:
    """A goal in words and the settings it changes from the defaults."""

    title: str
    promise: str
    values: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "quick": Preset("Quick look", "A first answer in seconds: only the new last layers learn.", {"phases": "head"}),
    "balanced": Preset(
        "Balanced", "Good accuracy in minutes: the new layers first, then all but the first layers, gently.", {"epochs": 12, "freeze_depth": 0.3}
    ),
    "best": Preset(
        "Best",
        "Takes its time: longer, with stronger variation and averaged weights.",
        {"epochs": 30, "ema": 0.995, "mixup": 0.2, "erase": 0.2, "patience": 10},
    ),
}


_USUAL: dict[str, dict[str, dict[str, Any]]] = {
    "multi-label-classification": {"": {"crop_min": 0.8}},  # what is cut off takes its tag with it
} | {
    task: {
        "": {"start": start, "rotate_degrees": 0.0, "lr_backbone": 3e-4, "weight_decay": 0.05, "ema": 0.995, "epochs": 0, **more},
        "quick": {"ema": 0.0},
        "balanced": {"epochs": 0, "freeze_depth": 0.0},
        "best": {"epochs": 0, "mixup": 0.0, "erase": 0.0, "patience": 25, "ema": 0.998, **best},
    }
    for task, start, more, best in (
        ("object-detection", "fcos/efficientnet_lite0", {}, {"mosaic": 0.3}),
        ("semantic-segmentation", "unet/efficientnet_lite0", {}, {}),
        ("instance-segmentation", "mask_rcnn/efficientnet_lite0", {"copy_paste": 0.3}, {"mosaic": 0.3, "copy_paste": 0.5}),
    )
}
"""What other tasks usually set where it differs from the defaults and presets above: for each preset ('' for all of them)."""


def usual(task: str, preset: str) -> dict[str, Any]:
    """Return the value that each setting has for a task and a goal before the user changes anything.

    Raises:
        StudioError: if there is no such preset.
    """
    if preset not in PRESETS:
        raise StudioError(f"there is no preset '{preset}'", f"Choose one of {', '.join(PRESETS)}.")
    own = _USUAL.get(task, {})
    return {**{row.key: row.default for row in _SETTINGS}, **own.get("", {}), **PRESETS[preset].values, **own.get(preset, {}), "task": task, "preset": preset}


@dataclass(frozen=True)
class Setting:
    """One row of the schema, as a form, a check or a flag reads it."""

    key: str
    title: str
    help: str
    group: str
    level: Level
    kind: Literal["bool", "int", "float", "choice", "text"]
    default: Any
    unit: str = ""
    scale: Literal["linear", "log"] = "linear"
    step: float | None = None
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] = ()
    automatic: bool = False
    tasks: tuple[str, ...] = ()


def _kind(annotation: Any) -> Literal["bool", "int", "float", "choice", "text"]:
    if get_origin(annotation) is Literal:
        return "choice"
    return {bool: "bool", int: "int", float: "float"}.get(annotation, "text")  # type: ignore[return-value]


def _bound(info: FieldInfo, name: str) -> float | None:
    return next((getattr(mark, name) for mark in info.metadata if getattr(mark, name, None) is not None), None)


def _row(key: str, info: FieldInfo) -> Setting:
    extra: dict[str, Any] = dict(info.json_schema_extra) if isinstance(info.json_schema_extra, dict) else {}
    kind = _kind(info.annotation)
    return Setting(
        key=key,
        title=info.title or key,
        help=info.description or "",
        group=extra["group"],
        level=extra["level"],
        kind=kind,
        default=info.default,
        unit=extra["unit"],
        scale=extra["scale"],
        step=extra["step"],
        low=_bound(info, "ge"),
        high=_bound(info, "le"),
        options=get_args(info.annotation) if kind == "choice" else (),
        automatic=extra["automatic"],
        tasks=tuple(extra["tasks"]),
    )


_SETTINGS = tuple(_row(key, info) for key, info in Recipe.model_fields.items())


def settings(task: str | None = None) -> tuple[Setting, ...]:
    """Return every setting, or those that concern one task, in the order a form shows them."""
    return tuple(row for row in _SETTINGS if task is None or not row.tasks or task in row.tasks)


def recipe_from(values: Mapping[str, Any], *, preset: str | None = None) -> Recipe:
    """Build a recipe: defaults, then the preset's values, then what the user set. Strings are parsed, as from a shell.

    Raises:
        StudioError: if a key is unknown (the nearest one is named) or a value is out of its type or bounds.
    """
    chosen = preset or str(values.get("preset", "balanced"))
    before = usual(str(values.get("task", WHOLE[0])), chosen)
    for key in values:
        if key not in Recipe.model_fields:
            near = difflib.get_close_matches(key, Recipe.model_fields, n=1, cutoff=0.0)[0]
            raise StudioError(f"there is no setting '{key}'", f"The nearest is '{near}': {Recipe.model_fields[near].description}")
    try:
        return Recipe.model_validate({**before, **values, "preset": chosen})
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> StudioError:
    """Say the first fault in the setting's own words."""
    fault = error.errors()[0]
    row = next(row for row in _SETTINGS if row.key == fault["loc"][0])
    given = str(fault["input"])[:60]
    if row.kind == "choice":
        remedy = f"Choose one of {', '.join(row.options)}."
    elif row.low is not None:
        remedy = f"Give {'a whole number' if row.kind == 'int' else 'a number'} from {row.low:g} to {row.high:g}{' ' + row.unit if row.unit else ''}."
    else:
        remedy = {"bool": "Say true or false."}.get(row.kind, "Give a short text.")
    return StudioError(f"{row.title} ({row.key}) cannot be '{given}'", remedy)


def differing(recipes: list[Recipe]) -> dict[str, list[Any]]:
    """Return the settings in which the recipes are not all alike: key -> one value a recipe."""
    columns = {key: [getattr(recipe, key) for recipe in recipes] for key in Recipe.model_fields if key != "name"}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values[1:])}
