"""JSON files element by element: what a large one lists is never in memory as a whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from pydantic_core import from_json

__all__ = ["batches", "elements"]

_BLOCK = 1 << 20
MOST_LETTERS = 4 << 20
"""Of one element, or up to twice that: a label with some 300,000 corners. More is refused before it is parsed."""

_WHOLE = 8 << 20
"""Bytes of a file that is parsed in one piece: a fifth of the time, and 100 MB of memory, in the worst case 250."""

_SPACE = re.compile(r"[\s,]*")
_MORE = re.compile(r"[\d.eE+-]*")
"""What a number may go on with, or would if the text did."""


class _Text:
    """The text of a stream from the present position on; grows by being asked."""

    def __init__(self, begun: bytes, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self.text, self.at, self.over = self._decoder.decode(begun), 0, False

    def grow(self) -> None:
        """Read on, the more the more is waiting, and forget what was taken."""
        waiting = len(self.text) - self.at
        if waiting > MOST_LETTERS:
            raise ValueError(f"one entry is longer than {MOST_LETTERS >> 20} MB")
        block = self._stream.read(max(_BLOCK, waiting))
        self.over = not block
        self.text = self.text[self.at :] + self._decoder.decode(block, final=self.over)
        self.at = 0

    def next(self) -> str:
        """Skip spaces and commas; return the next letter, '' at the end."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text) or self.over:
                return self.text[self.at : self.at + 1]
            self.grow()

    def value(self) -> Any:
        """Take the whole JSON value that `next` came to."""
        while True:
            try:
                found, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError:
                if self.over:
                    raise
                self.grow()
                continue
            if not self.over and _MORE.fullmatch(self.text, end):
                self.grow()
                continue
            self.at = end
            return found


_DECODER = json.JSONDecoder()


def elements(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield (key, element) as `batches` has them, one by one."""
    for key, some in batches(stream):
        for element in some:
            yield key, element


def batches(stream: BinaryIO) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield (key, elements) for the elements of every list at the top of a JSON object, or ('', elements) for those of a top list.

    A list comes in one piece or several. A value at the top that is no list is the only element of its key. The stream is read once, in order.

    Raises:
        ValueError: if it is not JSON, or one element is absurdly large. What came before it has been yielded.
        RecursionError: if it is nested absurdly deep.
    """
    begun = _begun(stream)
    whole = _whole(begun)
    if whole is not None:
        yield from whole
        return
    text = _Text(begun, stream)
    opening = text.next()
    if opening == "[":
        text.at += 1
        yield from _list(text, "")
    elif opening == "{":
        text.at += 1
        while text.next() != "}":
            key = text.value()
            if not isinstance(key, str) or text.next() != ":":
                raise ValueError("it is not JSON")
            text.at += 1
            if text.next() == "[":
                text.at += 1
                yield from _list(text, key)
            else:
                yield key, (text.value(),)
    else:
        raise ValueError("it is not JSON")


def _begun(stream: BinaryIO) -> bytes:
    """Return a stream's first bytes, some more than `_WHOLE` where it is longer."""
    found = b""
    while len(found) <= _WHOLE and (block := stream.read(_WHOLE + 1)):
        found += block
    return found


def _whole(content: bytes) -> list[tuple[str, Sequence[Any]]] | None:
    """Return what `batches` yields of a small file; None where it is larger, damaged, or odd."""
    if len(content) > _WHOLE:
        return None
    try:
        found = from_json(content.removeprefix(codecs.BOM_UTF8), cache_strings="keys")  # half of what the standard library's takes
    except ValueError:  # what of it can be read is read element by element
        return None
    if isinstance(found, list):
        return [("", found)]
    if not isinstance(found, dict):
        return None
    return [(key, value if isinstance(value, list) else (value,)) for key, value in found.items()]


def _list(text: _Text, key: str) -> Iterator[tuple[str, Sequence[Any]]]:
    while (letter := text.next()) != "]":
        if not letter:
            raise ValueError("it ends in the middle")
        yield key, (text.value(),)
    text.at += 1
