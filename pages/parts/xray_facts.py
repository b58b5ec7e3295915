"""An X-ray in words: what a network is, what it can be retrained for and why, and how well it was understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from engine.tasks import TASKS
from pages.parts.text import plain
from pages.parts.wording import amount

__all__ = ["USE_OF", "agreement", "cut_words", "facts", "said_shape", "uses"]

USE_OF = {
    "multi-label-classification": "image-classification",
    "object-detection": "detection",
    "semantic-segmentation": "segmentation",
    "instance-segmentation": "segmentation",
}
"""A project's task -> what the X-ray calls that use of a network, where the names differ."""

_USES = {
    "image-classification": "Telling pictures apart",
    "detection": "Finding things in pictures",
    "segmentation": "Outlining things in pictures",
    "features": "Describing pictures by numbers",
}
_MADE_FOR = {
    "classification": "telling {classes} classes apart",
    "segmentation": "outlining things in pictures",
    "detection": "finding things in pictures",
    "features": "describing pictures by numbers",
}


def said_shape(shape: Sequence[int | None]) -> str:
    """Say a shape without its first axis, the number of pictures.

    >>> said_shape([None, 3, 224, 224]), said_shape([1, 1000]), said_shape([1, None]), said_shape([])
    ('3 × 224 × 224', '1,000', 'any', 'one value')
    """
    inner = list(shape[1:])
    return " × ".join("any" if size is None else f"{size:,}" for size in inner) if inner else "one value"


def _tight(shape: Sequence[int | None]) -> str:
    return said_shape(shape).replace(" × ", "×")


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MB"


def _weights(found: Mapping[str, Any]) -> str:
    count = found["parameters"]["total"]
    if not found["trainable"]:
        return "kept frozen"
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def facts(found: Mapping[str, Any]) -> None:
    """Show what the network is as a row of figures, and its inputs and outputs by name."""
    first, given = found["inputs"][:1], found["outputs"][:1]
    figures = [
        ("Takes", _tight(first[0]["shape"]) if first else "nothing", "The shape of one input: for a picture its channels, height and width."),
        ("Gives", _tight(given[0]["shape"]) if given else "nothing", "The shape of what it answers, before its old head is cut off."),
        ("Weights", _weights(found), "The numbers that learn, in millions (M)."),
        ("Steps", f"{found['nodes']:,}", "Operators in the file: convolutions, additions and so on."),
        ("Opset", str(found["opset"]), "The version of the ONNX language the file is written in."),
        ("Size", _size(found["bytes"]), "On disk, with its external data."),
    ]
    with st.grid(3, min_column_width=150, gap="small"):
        for title, value, help_ in figures:
            st.metric(title, value, help=help_, border=True)
    made_for = _MADE_FOR.get(found["made_for"], "").format(classes=f"{found['classes']:,}")
    version = f" {found['producer_version']}" if found["producer_version"] else ""
    st.markdown(f"Written by **{plain(found['producer'] + version)}**" + (f", made for **{made_for}**." if made_for else "."))
    rows = [f"- {word} `{_code(row['name'])}`: {said_shape(row['shape'])}, {row['dtype']}" for word, row in _ports(found)]
    if len(rows) > 2 or found["notes"]:
        with st.expander("More about the file", icon=":material/info:"):
            st.markdown("\n".join(rows))
            st.markdown("\n".join(f"- {plain(note[:1].upper() + note[1:], 400)}." for note in found["notes"]))
            common = ", ".join(f"{name} {count}" for name, count in list(found["operators"].items())[:12])
            st.caption(plain(f"Most frequent operators: {common}", 600))


def _ports(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("Input", row) for row in found["inputs"]] + [("Output", row) for row in found["outputs"]]


def _code(name: str) -> str:
    return name.replace("`", "'")[:80]


def uses(found: Mapping[str, Any]) -> None:
    """Show what it can be retrained for and why or why not; and whether its own weights learn."""
    for row in found["uses"]:
        there = row["task"] in {*TASKS, *USE_OF.values(), "features"}
        mark = ":green[:material/check_circle:]" if row["possible"] else ":gray[:material/do_not_disturb_on:]"
        later = " :gray-badge[no such project yet]" if row["possible"] and not there else ""
        st.markdown(f"{mark} **{_USES.get(row['task'], row['task'])}**{later}: {plain(row['why'], 400)}.")
    if found["trainable"]:
        st.markdown(":green[:material/model_training:] **All of it can learn**: its own weights are trained on, with a new head for your classes.")
        return
    why = "; ".join(found["why"]) or "it cannot be run for training"
    st.warning(
        f"**Its own weights stay as they are.** {plain(why[:1].upper() + why[1:], 600)}. "
        "It still works: the part up to the cut describes each picture, and a new head learns from that. What you take away is one ONNX file again.",
        icon=":material/ac_unit:",
    )


def agreement(found: Mapping[str, Any]) -> str:
    """Say how far the imported network and ONNX Runtime are apart.

    >>> agreement({"trainable": True, "parity": {"runtime": "ok", "max_rel": 6.7e-7, "file": {"random": {}, "picture": {}}}})
    'Checked against ONNX Runtime on random numbers and a photograph: the answers differ by at most 1 part in 1,490,000.'
    """
    parity = found["parity"]
    worst = parity.get("max_rel")
    if not found["trainable"]:
        return "The part that is kept runs in ONNX Runtime itself, so it answers exactly as your file does."
    if worst is None:
        return f"It could not be checked against ONNX Runtime: {parity.get('runtime', 'nothing to compare')}."
    on = "random numbers and a photograph" if "picture" in (parity.get("file") or parity.get("prepared") or {}) else "random numbers"
    if worst <= 1e-9:
        return f"Checked against ONNX Runtime on {on}: the answers are the same."
    parts = float(f"{1 / worst:.3g}")
    return f"Checked against ONNX Runtime on {on}: the answers differ by at most 1 part in {parts:,.0f}."


def cut_words(cut: Mapping[str, Any]) -> str:
    """Say where a cut is and what it gives."""
    name = (cut["node"] or cut["value"]).strip("/")
    return f"`{_code(name)}`: {amount(cut['features'], 'feature')} a picture, {100 * cut['kept_share']:.0f} % of the weights are kept"
