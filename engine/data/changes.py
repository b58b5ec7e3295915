"""What changed between two versions of a data set, or between one and how the data are now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Change", "Difference", "difference"]


@dataclass(frozen=True, slots=True)
class Change:
    """One picture that differs. `before` and `after` say how in words: class names, what is drawn, or the split; '' where it is not there."""

    item_id: int
    sha256: str
    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Difference:
    """What changed, by kind. A picture can be both relabelled and moved. `same` counts the pictures that did not change at all."""

    added: list[Change] = field(default_factory=list)
    removed: list[Change] = field(default_factory=list)
    relabelled: list[Change] = field(default_factory=list)
    moved: list[Change] = field(default_factory=list)
    same: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.added or self.removed or self.relabelled or self.moved)

    def counts(self) -> dict[str, int]:
        """Return how many pictures changed in which way."""
        return {"added": len(self.added), "removed": len(self.removed), "relabelled": len(self.relabelled), "moved": len(self.moved), "same": self.same}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """Compare two manifests, picture by picture; a picture is known by its content."""
    found = Difference()
    old = {entry["sha256"]: entry for entry in before["items"]}
    new = {entry["sha256"]: entry for entry in after["items"]}
    same = 0
    for sha256, entry in new.items():
        was = old.get(sha256)
        if was is None:
            found.added.append(_change(entry, "", _shown(after, entry)))
            continue
        relabelled = _labels(before, was) != _labels(after, entry)
        if relabelled:
            found.relabelled.append(_change(entry, *_told_apart(_shown(before, was), _shown(after, entry))))
        if was["split"] != entry["split"]:
            found.moved.append(_change(entry, was["split"], entry["split"]))
        same += not relabelled and was["split"] == entry["split"]
    found.removed.extend(_change(entry, _shown(before, entry), "") for sha256, entry in old.items() if sha256 not in new)
    return Difference(found.added, found.removed, found.relabelled, found.moved, same)


def _change(entry: Mapping[str, Any], before: str, after: str) -> Change:
    return Change(int(entry["id"]), entry["sha256"], entry["name"], before, after)


def _labels(manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> Any:
    """Return what a picture's labels say, with class names: their numbers differ from version to version."""
    names = manifest["classes"]
    if "labels" in entry:
        return sorted(names[one] for one in entry["labels"])
    if "marks" not in entry:
        return names[entry["label"]]
    return sorted((names[mark["class"]], sorted((key, str(value)) for key, value in mark.items() if key != "class")) for mark in entry["marks"])


def _shown(manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    names = manifest["classes"]
    if "labels" in entry:
        return ", ".join(sorted(names[one] for one in entry["labels"])) or "none of these"
    if "marks" not in entry:
        return str(names[entry["label"]])
    counts: dict[str, int] = {}
    for mark in entry["marks"]:
        counts[names[mark["class"]]] = counts.get(names[mark["class"]], 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"


def _told_apart(before: str, after: str) -> tuple[str, str]:
    """Where the same classes are drawn as often, say that their shapes are others."""
    return (before, f"{after}, drawn anew") if before == after else (before, after)
