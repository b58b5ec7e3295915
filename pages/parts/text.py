"""Names that people gave, shown as text: never as Markdown, HTML, an icon or an emoji."""

from __future__ import annotations

import re
import shlex

__all__ = ["plain", "quoted", "sentence", "short_name"]

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+\-.!|>~$:<&^=\"'])")
_REPLACED_LATER = re.compile(r":(?=[\w+\-/]+:)|-(?=[->])|<(?=-)|[<>~](?==)")
_JOINER = "\u2060"


def plain(text: str, most: int = 200) -> str:
    """Escape a name so that Markdown shows exactly its characters, on one line, cut after `most`.

    Backslashes do for what Markdown itself reads. Streamlit turns `:name:` and arrows into symbols only afterwards;
    an invisible joiner keeps those apart.

    >>> plain("cat*s_1")
    'cat\\\\*s\\\\_1'
    """
    line = " ".join(str(text).split())
    if len(line) > most:
        line = line[: most - 1] + "…"
    parts = _REPLACED_LATER.sub(lambda match: match[0] + _JOINER, line)
    return _PUNCTUATION.sub(r"\\\1", parts)


def sentence(problem: str, remedy: str) -> str:
    """Return a fault and its cure as two plain sentences for a message box: the first in bold, capitalised."""
    said = problem[:1].upper() + problem[1:]
    return f"**{plain(said, 600)}.** {plain(remedy, 600)}"


def short_name(path: str, most: int = 14) -> str:
    """Return a file's name without its folders, as it fits under a small picture: a long one loses its middle, since files in a row differ at their ends.

    >>> short_name("train/dress/4c1acd5c-80bc-4f85-adb4-404f553ca881.jpg"), short_name("cat/1.jpg")
    ('4c1a…ca881.jpg', '1.jpg')
    """
    name = path.rpartition("/")[2]
    head = most // 3
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"


def quoted(text: str) -> str:
    """Quote a name for a shell command that is shown."""
    return shlex.quote(text)
