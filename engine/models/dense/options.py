"""What a recipe's settings mean for an architecture: its options, and which of the settings it has none for. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.models.dense.table import ARCHITECTURES, Architecture

__all__ = ["SETTINGS", "idle_settings", "options_of"]

SETTINGS = {
    "head_width": ("width", "hidden"),
    "head_layers": ("convs", "layers"),
    "head_light": ("light",),
    "anchor_size": ("anchor",),
    "finest_map": ("finest",),
    "output_stride": ("output_stride",),
    "queries": ("queries",),
    "dice": ("dice",),
}
"""A recipe's setting -> the options it stands for, whichever of them an architecture has."""

_WORDS = {"auto": None, "on": True, "off": False}


def options_of(found: Architecture, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a recipe's settings mean for an architecture; 0 and 'auto' leave its own.

    Raises:
        StudioError: if it has such an option, but not with that value.
    """
    options: dict[str, Any] = {}
    for key, names in SETTINGS.items():
        value = values.get(key)
        value = _WORDS[value] if value in _WORDS else int(value or 0) or None
        name = next((name for name in names if name in found.options), None)
        if name is not None and value is not None:
            options[name] = value
    found.chosen(options)
    return options


def idle_settings(head: str) -> dict[str, str]:
    """Return the settings of SETTINGS that do nothing with this architecture, each with the reason; all of them where it is none."""
    row = ARCHITECTURES.get(head)
    if row is None:
        return dict.fromkeys(SETTINGS, "It comes with the starting point")
    return {key: f"{row.title} has no such part" for key, names in SETTINGS.items() if not set(names) & set(row.options)}
