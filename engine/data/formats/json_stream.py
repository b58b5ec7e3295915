"""Large JSON files element by element: what a data set lists is never in memory as a whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["elements"]

_BLOCK = 1 << 20
MOST_LETTERS = 4 << 20
"""Of one element, or up to twice that: a label with some 300,000 corners. More is refused before it is parsed."""

_SPACE = re.compile(r"[\s,]*")


class _Text:
    """The text of a stream from the present position on; grows by being asked."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self.text, self.at, self.over = "", 0, False

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
            if end == len(self.text) and not self.over:  # a number may go on
                self.grow()
                continue
            self.at = end
            return found


_DECODER = json.JSONDecoder()


def elements(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield (key, element) for the elements of every list at the top of a JSON object, or ('', element) for those of a top list.

    Values at the top that are no lists come as they are. The stream is read once, in order.

    Raises:
        ValueError: if it is not JSON, or one element is absurdly large. What came before it has been yielded.
        RecursionError: if it is nested absurdly deep.
    """
    text = _Text(stream)
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
                yield key, text.value()
    else:
        raise ValueError("it is not JSON")


def _list(text: _Text, key: str) -> Iterator[tuple[str, Any]]:
    while (letter := text.next()) != "]":
        if not letter:
            raise ValueError("it ends in the middle")
        yield key, text.value()
    text.at += 1
