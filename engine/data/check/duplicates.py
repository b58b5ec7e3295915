"""Pictures that show the same: a perceptual hash of each, and those that lie near each other, found without comparing every pair.

The hash is the sign of the 64 lowest frequencies of a 32 x 32 grey picture (pHash: Zauner 2010, "Implementation and benchmarking of
perceptual image hash functions"). Copies that were saved again, resized or blurred differ by 0 to 4 bits, brightened ones by up to 8, cropped
ones by up to 14; of 386,000 pairs of different photographs of clothes one differed by 6, none by less. Drawings of few strokes come closer:
there a pair should be confirmed by what it looks like (`alike`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.data import images

__all__ = [
    "FLAT",
    "GREY_PX",
    "OPEN_PX",
    "alike",
    "fingerprint",
    "fingerprint_of",
    "fingerprints_of",
    "grey",
    "groups_of",
    "near_groups",
    "near_pairs",
    "same_look",
]

FLAT = "0" * 16
"""The fingerprint of a picture of one colour: it looks like every other such picture, which says nothing."""

GREY_PX = 32

OPEN_PX = 128
"""What pictures are opened for (see `images.check_and_shade`): the same for all, so that a file has one fingerprint, and enough to see blur."""

_REDUCED_FROM = 2 * 3 * GREY_PX
"""From this side on, in pixels, Pillow averages whole pixels before it filters, which is fast."""

_SAFE_BITS = 4
_BITS, _BANDS = 64, 4
_BAND_BITS = _BITS // _BANDS
_FLATTEST = 1.5  # standard deviation of 32 x 32 grey values in 0..255
_SAME_LOOK = (
    0.986  # correlation: of 180,000 pairs of different digits the nearest reaches 0.9856, of photographs 0.95; copies saved small or badly 0.987 and more
)
_MOST_EACH = 8
_CHUNK = 1 << 22
_MOST_PAIRS = 5_000_000


def _waves(side: int, count: int) -> NDArray[np.float64]:
    """Return the first rows of the orthonormal cosine transform (DCT-II) of that many samples; scipy's takes 0.3 s to import."""
    rows_81, places_S = np.arange(count)[:, None], np.arange(side)[None, :]
    waves_8S = np.sqrt(2 / side) * np.cos(np.pi * (2 * places_S + 1) * rows_81 / (2 * side))
    waves_8S[0] /= np.sqrt(2)
    return waves_8S


_WAVES_8S = _waves(GREY_PX, 8)


@lru_cache(maxsize=512)
def _lanczos(side: int) -> NDArray[np.float32]:
    """Return the matrix [GREY_PX, side] that resizes by Pillow's antialiased Lanczos filter."""
    scale = side / GREY_PX
    wide = max(1.0, scale)
    apart_SN = (np.arange(side)[None, :] + 0.5 - (np.arange(GREY_PX)[:, None] + 0.5) * scale) / wide
    weights_SN = np.where(np.abs(apart_SN) < 3, np.sinc(apart_SN) * np.sinc(apart_SN / 3), 0.0)
    return (weights_SN / weights_SN.sum(1, keepdims=True)).astype(np.float32)


def grey(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a picture as GREY_PX x GREY_PX grey values, whatever its shape."""
    shade = picture if picture.mode == "L" else picture.convert("L")
    if not GREY_PX <= shade.height <= shade.width < _REDUCED_FROM:
        return np.asarray(shade.resize((GREY_PX, GREY_PX), Image.Resampling.LANCZOS, reducing_gap=3.0))
    # the same by two products of matrices, rounded in between as Pillow does, in half the time: twenty thousand small pictures are not rare
    narrow_HS = np.rint(np.asarray(shade, np.float32) @ _lanczos(shade.width).T).clip(0, 255)
    return np.rint(_lanczos(shade.height) @ narrow_HS).clip(0, 255).astype(np.uint8)


def fingerprint_of(grey_SS: NDArray[np.uint8]) -> str:
    """Return the perceptual hash of what `grey` gave: 64 bits as 16 hexadecimal digits."""
    return fingerprints_of(grey_SS[None])[0]


def fingerprints_of(greys_NSS: NDArray[np.uint8]) -> list[str]:
    """Do what `fingerprint_of` does for many pictures at once, in a fifth of the time."""
    flat_N = greys_NSS.reshape(len(greys_NSS), -1).std(1) < _FLATTEST
    low_N64 = (_WAVES_8S @ greys_NSS.astype(np.float64) @ _WAVES_8S.T).reshape(len(greys_NSS), -1)
    bits_N64 = low_N64 > np.median(low_N64[:, 1:], axis=1, keepdims=True)  # the first is the brightness
    return [FLAT if flat else bits.tobytes().hex() for flat, bits in zip(flat_N, np.packbits(bits_N64, axis=1), strict=True)]


def fingerprint(path: Path) -> str:
    """Return the perceptual hash of a picture file: 64 bits as 16 hexadecimal digits, as `items.fingerprint` holds it.

    Raises:
        StudioError: if it is gone, damaged or no picture.
    """
    return fingerprint_of(grey(images.check_and_shade(path, OPEN_PX)[1]))


def same_look(one_SS: NDArray[np.uint8], other_SS: NDArray[np.uint8]) -> bool:
    """Tell whether two small grey pictures are copies: whether their values go together, whatever brightness and contrast."""
    spread = float(one_SS.std()) * float(other_SS.std())
    if spread < _FLATTEST**2:
        return False
    together = float(((one_SS - one_SS.mean()) * (other_SS - other_SS.mean())).mean())
    return together / spread >= _SAME_LOOK


def alike(one: Path, other: Path) -> bool:
    """Tell whether two picture files show the same view: what confirms a pair of near fingerprints.

    Raises:
        StudioError: if one is gone, damaged or no picture.
    """
    return same_look(*(grey(images.check_and_shade(path, OPEN_PX)[1]) for path in (one, other)))


def near_pairs(fingerprints: Mapping[int, str], most_bits: int = 10) -> list[tuple[int, int]]:
    """Return the pairs of ids whose fingerprints differ by at most that many bits, the smaller id first; flat pictures are left out.

    Found by bands: of four bands of 16 bits one differs by at most a quarter of the bits. Where more than a few pictures share
    fingerprints, each stands for itself only against a few of the others, so that a film of one scene does not give every pair.
    """
    sharing: dict[int, list[int]] = {}
    for one in sorted(fingerprints):
        if fingerprints[one] != FLAT:
            sharing.setdefault(int(fingerprints[one], 16), []).append(one)
    values_V = np.array(list(sharing), dtype=np.uint64)
    members = list(sharing.values())
    pairs = {pair for those in members for pair in _within(those)}
    for first, second in _near_values(values_V, most_bits).tolist():
        pairs.update((min(pair), max(pair)) for pair in product(members[first][:_MOST_EACH], members[second][:_MOST_EACH]))
    return sorted(pairs)


def _within(those: list[int]) -> Iterator[tuple[int, int]]:
    yield from combinations(those[:_MOST_EACH], 2)
    for place in range(_MOST_EACH, len(those)):  # each later one against the first ones and the one before it
        yield those[place - 1], those[place]
        yield from ((those[early], those[place]) for early in range(_MOST_EACH - 1))


def _near_values(values_V: NDArray[np.uint64], most_bits: int) -> NDArray[np.int64]:
    """Return the pairs of rows [P, 2] of different values that differ by at most that many bits, the smaller row first."""
    found: list[NDArray[np.int64]] = []
    for band in range(_BANDS):
        keys_V = ((values_V >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(np.int64)
        order_V = np.argsort(keys_V, kind="stable")
        sorted_V = keys_V[order_V]
        for mask in _masks(most_bits // _BANDS):
            low_V, high_V = np.searchsorted(sorted_V, keys_V ^ mask, "left"), np.searchsorted(sorted_V, keys_V ^ mask, "right")
            for rows_P, others_P in _expanded(low_V, high_V, order_V):
                near_P = (rows_P < others_P) & (np.bitwise_count(values_V[rows_P] ^ values_V[others_P]) <= most_bits)
                found.append(np.stack([rows_P[near_P], others_P[near_P]], axis=1))
    pairs_P2 = np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, 2), np.int64)
    if len(pairs_P2) > _MOST_PAIRS:  # a film of thousands of frames: the nearest tell enough
        apart_P = np.bitwise_count(values_V[pairs_P2[:, 0]] ^ values_V[pairs_P2[:, 1]])
        pairs_P2 = pairs_P2[np.argsort(apart_P, kind="stable")[:_MOST_PAIRS]]
    return pairs_P2


def _masks(radius: int) -> list[int]:
    """Return every way to change at most that many bits of a band."""
    return [sum(1 << bit for bit in bits) for count in range(radius + 1) for bits in combinations(range(_BAND_BITS), count)]


def _expanded(low_V: NDArray[np.int64], high_V: NDArray[np.int64], order_V: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (rows, those they share a key with), some millions at a time."""
    counts_V = high_V - low_V
    full_V = np.flatnonzero(counts_V)
    ends_V = np.cumsum(counts_V[full_V])
    start = 0
    while start < len(full_V):
        before = int(ends_V[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends_V, before + _CHUNK, "right")))
        some_V = full_V[start:end]
        sizes_V = counts_V[some_V]
        rows_P = np.repeat(some_V, sizes_V)
        within_P = np.arange(len(rows_P)) - np.repeat(np.cumsum(sizes_V) - sizes_V, sizes_V)
        yield rows_P, order_V[np.repeat(low_V[some_V], sizes_V) + within_P]
        start = end


def groups_of(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return what hangs together through pairs: groups of ids, sorted, the group with the smallest id first.

    >>> groups_of([(4, 7), (1, 2), (7, 9)])
    [[1, 2], [4, 7, 9]]
    """
    known = list(pairs)
    ids = sorted({one for pair in known for one in pair})
    if not ids:
        return []
    above = {one: one for one in ids}

    def top(one: int) -> int:
        while above[one] != one:
            above[one] = one = above[above[one]]
        return one

    for first, second in known:
        low, high = sorted((top(first), top(second)))
        above[high] = low
    groups: dict[int, list[int]] = {}
    for one in ids:
        groups.setdefault(top(one), []).append(one)
    return list(groups.values())


def near_groups(
    fingerprints: Mapping[int, str],
    *,
    most_bits: int = _SAFE_BITS,
    confirm: Callable[[int, int], bool] | None = None,
    among: Collection[int] | None = None,
) -> list[list[int]]:
    """Return groups of two and more ids whose pictures show nearly the same, each group sorted, the one with the smallest id first.

    Args:
        fingerprints: id -> what `fingerprint` gave.
        most_bits: how far apart two fingerprints may be; up to 4 is safe for photographs, up to 10 where `confirm` has the last word.
        confirm: asked of each pair, such as by `alike`; without it, near fingerprints are enough.
        among: only groups that hold one of these ids.
    """
    pairs = near_pairs(fingerprints, most_bits)
    groups = groups_of(pair for pair in pairs if confirm is None or confirm(*pair))
    return groups if among is None else [group for group in groups if not set(group).isdisjoint(among)]
