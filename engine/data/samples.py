"""Sample projects, made on this machine from pictures that travel inside installed packages. Nothing is downloaded.

What draws the pictures is in `sample_pictures` and `scenes`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps
from sqlalchemy import select

from engine import locks, workspace
from engine.data import projects, store
from engine.data.projects import Project
from engine.data.sample_pictures import ClassFolders, Notes, Pictures, Things, digits, patches
from engine.errors import StudioError

__all__ = ["SAMPLES", "Sample", "cover", "ensure", "made", "make", "sample"]

COVER_PX = 160


@dataclass(frozen=True)
class Sample:
    """One sample project: what it is in words, who made the pictures, under which licence, and what makes them here.

    `ready` ones are made in a fresh workspace; the others are offered, and made on one click.
    """

    key: str
    title: str
    words: str
    task: str
    credit: str
    licence: str
    pictures: Pictures
    ready: bool = True

    @property
    def cover(self) -> Path:
        """A picture of what is in it."""
        return cover(self.key)


_WHOLE = (0.0, 0.0, 1.0, 1.0)
_DIGITS_BY = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository; as packaged with scikit-learn"
_THINGS_BY = (
    "Brooklyn Museum (coins), M. Häggström (retina), vultilion (flower), danielbuechele (palace), cc0textures.com and LinolaFett (grounds), NASA, "
    "S. van der Walt and R. Michetti (what lies between), as packaged with scikit-image and scikit-learn"
)
_THINGS_LICENCE = "CC BY 2.0 (flower, palace), CC0 1.0 or no known restrictions (all else)"

SAMPLES: tuple[Sample, ...] = (
    Sample(
        "digits",
        "Handwritten digits",
        "Real handwriting: 600 digits from 0 to 9. A classic first model.",
        "image-classification",
        _DIGITS_BY,
        "CC BY 4.0",
        ClassFolders(partial(digits, 60)),
    ),
    Sample(
        "surfaces",
        "Surfaces",
        "Photographs of brick, grass and gravel, seen close up in changing light.",
        "image-classification",
        "cc0textures.com and LinolaFett, as packaged with scikit-image",
        "CC0 1.0",
        ClassFolders(partial(patches, {"brick": ("brick.png", _WHOLE), "grass": ("grass.png", _WHOLE), "gravel": ("gravel.png", _WHOLE)}, 1, (0.35, 0.9))),
    ),
    Sample(
        "scales",
        "Cells, eyes, galaxies",
        "Stained tissue under the microscope, the back of an eye, and the Hubble deep field, in small pieces.",
        "image-classification",
        "Center for Microscopy and Molecular Imaging (tissue), M. Häggström (retina), NASA (Hubble deep field), as packaged with scikit-image",
        "no known restrictions (tissue), CC0 1.0 (retina), public domain (Hubble deep field)",
        ClassFolders(
            partial(
                patches,
                {"eye": ("retina.jpg", (0.2, 0.2, 0.8, 0.8)), "galaxies": ("hubble_deep_field.jpg", _WHOLE), "tissue": ("ihc.png", _WHOLE)},
                2,
                (0.6, 1.0),
            )
        ),
    ),
    Sample(
        "things",
        "Coins, flowers and eyes",
        "Where are they, and which is which? Cut out of photographs and laid on other photographs, with a box round each.",
        "object-detection",
        _THINGS_BY,
        _THINGS_LICENCE,
        Things(boxes=True),
        ready=False,
    ),
    Sample(
        "outlines",
        "Coins, flowers and eyes, outlined",
        "Which pixels show a coin, a flower, the back of an eye? Every one is known, since they were cut out and laid there.",
        "semantic-segmentation",
        _THINGS_BY,
        _THINGS_LICENCE,
        Things(boxes=False),
        ready=False,
    ),
    Sample(
        "notes",
        "Digits on a note",
        "Which digits stand on the note? One to three of them, in real handwriting, so a picture has several tags.",
        "multi-label-classification",
        _DIGITS_BY,
        "CC BY 4.0",
        Notes(360),
        ready=False,
    ),
)


def sample(key: str) -> Sample:
    """Return the sample of that key.

    Raises:
        StudioError: if there is none.
    """
    found = next((one for one in SAMPLES if one.key == key), None)
    if found is None:
        raise StudioError(f"there is no sample '{key}'", f"Choose one of {', '.join(one.key for one in SAMPLES)}.")
    return found


def make(key: str) -> Project:
    """Make a sample project, or return it where it is made already. A sample in the bin is brought back.

    Raises:
        StudioError: if there is no such sample, or a package it needs is missing.
    """
    from engine.data import importing  # not above: the first page knows the samples, and waits for what they import

    wanted = sample(key)
    lock = locks.hold(workspace.locks_folder() / f"sample-{key}")
    assert lock is not None, "a blocking hold returns only with the lock"
    with lock:
        project = _existing(key) or projects.create(_free_title(wanted.title), wanted.task, sample=key)
        if not projects.summary(project.id).items:  # new, or killed half-way last time
            with tempfile.TemporaryDirectory(dir=workspace.uploads()) as folder:
                wanted.pictures.write(Path(folder))
                importing.import_path(project.id, folder, in_place=False)
        return project


def _existing(key: str) -> Project | None:
    for binned in (False, True):
        for project in projects.list_projects(deleted=binned):
            if project.sample == key:
                if binned:
                    projects.restore(project.id)
                return projects.get(project.id)
    return None


def _free_title(title: str) -> str:
    taken = {project.name.casefold() for project in projects.list_projects()}
    return next(name for name in (title, *(f"{title} ({number})" for number in range(2, 1000))) if name.casefold() not in taken)


def ensure() -> None:
    """In a fresh workspace, make the sample projects that are to be ready; in one that ever held a project, do nothing."""
    if made():
        return
    with store.session() as connection:
        used = connection.execute(select(1).select_from(store.projects).where(store.projects.c.sample == "").limit(1)).first() is not None
    if not used:
        for one in reversed(SAMPLES):  # the newest project stands first
            if one.ready:
                make(one.key)
            else:
                cover(one.key)  # so that no page waits for it
    _marker().parent.mkdir(exist_ok=True)
    _marker().touch()


def made() -> bool:
    """Tell whether `ensure` has done its work in this workspace."""
    return _marker().exists()


def _marker() -> Path:
    return workspace.home() / "projects" / ".samples"


def cover(key: str) -> Path:
    """Return a JPEG of six of a sample's pictures, 3 x 2, made on first use."""
    wanted = sample(key)
    path = workspace.cache("thumbs") / f"sample-{key}.jpg"
    if not path.exists():
        sheet = Image.new("RGB", (3 * COVER_PX, 2 * COVER_PX), "white")
        for place, picture in enumerate(islice(wanted.pictures.faces(), 6)):
            square = ImageOps.fit(picture.convert("RGB"), (COVER_PX, COVER_PX))
            sheet.paste(square, (place % 3 * COVER_PX, place // 3 * COVER_PX))
        with workspace.replacing(path) as beside:
            sheet.save(beside, "JPEG", quality=88)
    return path
