"""The gallery of backbones: searched, filtered, a page at a time; weights fetched where they are not here yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from engine.models import catalogue
from engine.models.catalogue import Backbone
from engine.runs import Run
from pages.parts.downloads import begin_download, downloads_of, follow_downloads
from pages.parts.jobs import outcome
from pages.parts.text import plain
from pages.parts.wording import megabytes, percent

__all__ = ["FROM_SCRATCH", "backbone_gallery", "weights_badge"]

Refusal = Callable[[Backbone], str | None]

FROM_SCRATCH = "Without pretrained weights it must learn everything from your pictures, which takes thousands of them and far more time."
PAGE = 12
_WHERE = {"": "All", "now": "Ready here", "downloadable": "To download", "absent": "None"}


def weights_badge(row: Backbone) -> None:
    """Say where a backbone's pretrained weights are."""
    match row.weights:
        case "packaged":
            st.badge("Ready", icon=":material/check_circle:", color="green", help="Its pretrained weights came with Graft.")
        case "here":
            st.badge("On this computer", icon=":material/check_circle:", color="green", help="Its pretrained weights were downloaded.")
        case "downloadable":
            st.badge(
                "To download",
                icon=":material/cloud_download:",
                color="blue",
                help=f"Its pretrained weights, about {megabytes(row.weights_mb)}, come from the network once.",
            )
        case _:
            st.badge(
                "From scratch",
                icon=":material/hourglass_empty:",
                color="orange",
                help=f"No pretrained weights are known. {FROM_SCRATCH}",
            )


def backbone_gallery(chosen: str, pick: Callable[[str], None], refuses: Refusal | None = None) -> None:
    """Show the backbones; `pick` hears the name of the one chosen. `refuses` says in words why one does not go with what stands on it, or None."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.text_input(
            "Find a backbone", key="backbone-query", placeholder="resnet, mobilenet, convnext…", icon=":material/search:", live=True, width=300
        )
        known = {name: f"{title} ({count})" for name, title, count in catalogue.families()}
        family = st.selectbox("Family", ["", *known], format_func=lambda name: known.get(name, "All families"), key="backbone-family", width=240)
        where = st.segmented_control("Pretrained weights", list(_WHERE), format_func=_WHERE.__getitem__, default="", required=True, key="backbone-where")
    found = _found(query or "", family or None, where or "")
    st.caption(f"{len(found):,} backbones. Accuracy is as published for ImageNet, a test with 1,000 classes; your own data will differ.")
    pages = max(1, -(-len(found) // PAGE))
    key = f"backbone-page-{query}-{family}-{where}"
    number = min(int(st.session_state.get(key, 1)), pages)
    shown = found[(number - 1) * PAGE : number * PAGE]
    downloads = downloads_of(lambda name: not name.startswith("ready/"))
    with st.grid("auto", min_column_width=250, gap="small"):
        for row in shown:
            _card(row, chosen, pick, downloads.get(row.name), refuses(row) if refuses else None)
    if not found:
        st.markdown("No backbone matches. Try a shorter word, or all families.")
    if pages > 1:
        with st.container(horizontal_alignment="center"):
            st.pagination(pages, key=key)
    follow_downloads(downloads, str)


def _found(query: str, family: str | None, where: str) -> list[Backbone]:
    if where == "now":
        return [*catalogue.backbones(query, family, "packaged"), *catalogue.backbones(query, family, "here")]
    return catalogue.backbones(query, family, where or None)  # type: ignore[arg-type]


def _card(row: Backbone, chosen: str, pick: Callable[[str], None], download: Run | None, refused: str | None) -> None:
    with st.container(border=True, height="stretch", gap="xsmall", key=f"backbone-{row.name.replace('.', '-')}"):
        st.markdown(f"**{plain(row.title)}**")
        with st.container(horizontal=True, gap="xsmall"):
            weights_badge(row)
            st.badge(plain(row.licence or "licence not stated", 30), color="gray", help="The licence of its weights.")
        source = f" ([source]({row.accuracy_source}))" if row.accuracy_source.startswith("https://") else ""
        accuracy = f"**{percent(row.accuracy / 100)}** on ImageNet{source}" if row.accuracy is not None else "No published accuracy"
        speed = catalogue.measured_speed(row.name)
        measured = f"{speed:.0f} pictures/s on this computer" if speed is not None else "Speed here: not measured yet"
        st.markdown(f"{accuracy}  \n{row.params_m:.1f} M parameters · {row.image_size} px")
        st.caption(f"{measured}  \n`{row.name}`")
        st.space("stretch")
        if refused is not None:
            st.caption(f":material/block: {plain(refused)}.")
            st.button("Does not fit", key=f"pick-{row.name}", width="stretch", disabled=True)
            return
        _button(row, chosen, pick, download)


def _button(row: Backbone, chosen: str, pick: Callable[[str], None], download: Run | None) -> None:
    here = row.weights in ("packaged", "here")
    if row.weights == "downloadable":
        _download(row, download)
    if row.name == chosen:
        words = "Chosen" if here else "Chosen, from scratch"
        st.button(words, key=f"pick-{row.name}", icon=":material/check:", type="primary", width="stretch")
    else:
        words = "Choose" if here else "Choose, from scratch"
        kind: Literal["secondary", "tertiary"] = "tertiary" if row.weights == "downloadable" else "secondary"
        st.button(words, key=f"pick-{row.name}", type=kind, help=None if here else FROM_SCRATCH, width="stretch", on_click=pick, args=(row.name,))


def _download(row: Backbone, download: Run | None) -> None:
    if download is not None and outcome(download).active:
        st.button("Downloading…", key=f"fetch-{row.name}", icon=":material/downloading:", width="stretch", disabled=True)
    elif st.button(f"Download, {megabytes(row.weights_mb)}", key=f"fetch-{row.name}", icon=":material/download:", width="stretch"):
        begin_download(row.name)
        st.rerun()
