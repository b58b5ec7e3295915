"""How an ONNX network takes its pictures: size, layout, colour order and scaling, each with what the file says; and a preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from engine.data import images, items
from engine.data.projects import Project
from engine.errors import StudioError
from engine.models.own_onnx.dropped import Choices, Dropped
from pages.parts.state import show_error

__all__ = ["PRESETS", "SCALES", "parsed", "preparation_form", "preparation_preview", "scale_of"]

PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "signed": ((0.5,) * 3, (0.5,) * 3),
    "bytes": ((0.0,) * 3, (1 / 255,) * 3),
}
SCALES = {
    "imagenet": "ImageNet: mean and spread of a million photographs",
    "unit": "0 to 1",
    "signed": "-1 to 1",
    "bytes": "0 to 255",
    "custom": "My own numbers",
}
_LAYOUTS = {"NCHW": "Channels first", "NHWC": "Channels last"}
_COLOURS = {"rgb": "Red, green, blue", "bgr": "Blue, green, red"}
_PREVIEW_PX = 320
_FEW = (1, 3, 4)


def scale_of(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Return which preset these numbers are.

    >>> scale_of((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), scale_of((0.1, 0.5, 0.5), (0.5, 0.5, 0.5))
    ('signed', 'custom')
    """
    return next((key for key, pair in PRESETS.items() if np.allclose(pair, (mean, std), atol=1e-6)), "custom")


def parsed(text: str) -> tuple[float, ...]:
    """Read numbers from a line; one stands for all three colours.

    >>> parsed("0.5"), parsed("0.485, 0.456 0.406"), parsed("a")
    ((0.5, 0.5, 0.5), (0.485, 0.456, 0.406), ())
    """
    try:
        numbers = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        return ()
    return numbers * 3 if len(numbers) == 1 else numbers


def _said(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in numbers)


def _free_layout(found: Mapping[str, Any]) -> bool:
    """Whether the file leaves open which axis holds the colours."""
    shape = found["port"]["shape"]
    return all(shape[axis] is None or shape[axis] in _FEW for axis in (1, 3))


def preparation_form(dropped: Dropped, found: Mapping[str, Any], keep: Callable[[Choices], None]) -> None:
    """Show and edit how pictures go in; every change is kept at once."""
    guess, draft, key = found["preparation"], dropped.draft(), dropped.key
    mean, std = tuple(draft.mean or guess["mean"]), tuple(draft.std or guess["std"])
    sure = ":material/verified: The file says so" if guess["sure"] else ":material/help: A guess"
    st.caption(f"{sure}: {guess['source']}.")

    def took(**values: Any) -> None:
        keep(replace(dropped.draft(), **values))

    own = [size for size in found["port"]["shape"][1 if guess["layout"] == "NHWC" else 2 :][:2] if size]
    st.session_state[f"{key}-size"] = draft.image_size or guess["image_size"]
    st.number_input(
        "Picture size (pixels)",
        min_value=8,
        max_value=4096,
        key=f"{key}-size",
        help=f"The file is made for {' × '.join(map(str, own))}. Another size is tried before it is taken."
        if own
        else "The file takes any size. Larger sees more and is slower.",
        on_change=lambda: took(image_size=_other(int(st.session_state[f"{key}-size"] or 0), int(guess["image_size"]))),
    )
    _scaling(key, mean, std, found, took)
    with st.container(horizontal=True):
        st.session_state[f"{key}-layout"] = draft.layout or guess["layout"]
        st.segmented_control(
            "Layout",
            list(_LAYOUTS),
            format_func=_LAYOUTS.__getitem__,
            key=f"{key}-layout",
            required=True,
            disabled=not _free_layout(found),
            help="Whether colours are the first axis of a picture (PyTorch) or the last (TensorFlow). Locked where the file itself decides it.",
            on_change=lambda: took(layout=_other(st.session_state[f"{key}-layout"], guess["layout"], "")),
        )
        if guess["channels"] != 1:
            st.session_state[f"{key}-colours"] = draft.colours
            st.segmented_control(
                "Colour order",
                list(_COLOURS),
                format_func=_COLOURS.__getitem__,
                key=f"{key}-colours",
                required=True,
                help="Networks from OpenCV or Caffe often take blue first.",
                on_change=lambda: took(colours=st.session_state[f"{key}-colours"]),
            )


def _other(value: Any, guessed: Any, nothing: Any = 0) -> Any:
    """A value that is what the file says anyway is no choice."""
    return nothing if value == guessed else value


def _scaling(key: str, mean: tuple[float, ...], std: tuple[float, ...], found: Mapping[str, Any], took: Callable[..., None]) -> None:
    guess = found["preparation"]
    open_ = st.session_state.get(f"_{key}-custom", False)
    st.session_state[f"{key}-scale"] = "custom" if open_ else scale_of(mean, std)

    def scaled() -> None:
        scale = st.session_state[f"{key}-scale"]
        st.session_state[f"_{key}-custom"] = scale == "custom"
        if scale in PRESETS:
            guessed = scale == scale_of(tuple(guess["mean"]), tuple(guess["std"]))
            new = ((), ()) if guessed else PRESETS[scale]
            took(mean=new[0], std=new[1])

    st.selectbox(
        "Pixels are scaled to",
        list(SCALES),
        format_func=SCALES.__getitem__,
        key=f"{key}-scale",
        on_change=scaled,
        help="A network sees colours as numbers in the range it was trained on. With the wrong range it learns slower and worse.",
    )
    if st.session_state[f"{key}-scale"] != "custom":
        return
    st.session_state.setdefault(f"{key}-mean", _said(mean))
    st.session_state.setdefault(f"{key}-std", _said(std))

    def typed() -> None:
        new = Choices(mean=parsed(st.session_state[f"{key}-mean"]), std=parsed(st.session_state[f"{key}-std"]))
        try:
            new.check()
            if not new.mean:
                raise StudioError("mean and spread are three numbers each: red, green and blue", "Write them like 0.485, 0.456, 0.406.")
        except StudioError as error:
            st.session_state[f"_{key}-fault"] = error
            return
        st.session_state.pop(f"_{key}-fault", None)
        took(mean=new.mean, std=new.std)

    with st.container(horizontal=True):
        st.text_input("Mean (red, green, blue)", key=f"{key}-mean", on_change=typed, help="Subtracted from colours of 0 to 1.")
        st.text_input("Spread (red, green, blue)", key=f"{key}-std", on_change=typed, help="What is left is divided by this (standard deviation).")
    if f"_{key}-fault" in st.session_state:
        show_error(st.session_state[f"_{key}-fault"])


def preparation_preview(project: Project, found: Mapping[str, Any], choices: Choices) -> None:
    """Show one of the project's pictures as the network will get it, and which numbers it becomes."""
    guess = found["preparation"]
    total = items.count_items(project.id)
    if not total:
        st.caption(":material/photo_library: Once the project has pictures, one is shown here as the network will see it.")
        return
    turn = int(st.session_state.get("_xray-turn", 0))
    item = items.list_items(project.id, offset=(turn * 7919) % total, limit=1)[0]
    told = {"image_size": choices.image_size or guess["image_size"], "crop_share": guess["crop_share"], "interpolation": guess["interpolation"]}
    seen = images.for_model(images.open_rgb(item.path, images.store_px_of(told)), told)
    mean, std = np.array(choices.mean or guess["mean"]), np.array(choices.std or guess["std"])
    values = (seen / 255 - mean) / std
    shown = seen.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2) if guess["channels"] == 1 else seen
    st.image(shown, width=min(_PREVIEW_PX, max(160, seen.shape[0])), alt="A picture of this project as the network sees it")
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    st.caption(f"What the network sees: {seen.shape[1]} × {seen.shape[0]} pixels, as numbers from {low} to {high}.")
    st.button("Another picture", icon=":material/shuffle:", key="xray-turn", on_click=st.session_state.__setitem__, args=("_xray-turn", turn + 1))
