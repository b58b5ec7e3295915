"""XML label files, read so that no entity, DTD or outside reference in them does anything (defusedxml)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from engine.errors import StudioError

__all__ = ["Element", "number", "parsed", "words"]


def parsed(content: bytes, name: str) -> Element:
    """Return the root of an XML document.

    Raises:
        StudioError: if it is damaged, or declares entities or a document type.
    """
    try:
        return SafeTree.fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise StudioError(f"{name} declares entities or a document type, which label files never need", "Do not use it unless you trust its maker.") from error
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise StudioError(f"{name} is not readable XML ({str(error)[:80]})", "Export it again.") from error


def words(element: Element | None, path: str) -> str:
    """Return the text of a part, '' where there is none."""
    found = None if element is None else element.findtext(path)
    return (found or "").strip()


def number(element: Element, path: str) -> float:
    """Return a part as a number.

    Raises:
        ValueError: if it is missing or none.
    """
    return float(words(element, path))
