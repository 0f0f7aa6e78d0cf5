"""Finds truncated and malformed data sets before they are stored, without decoding a value.

A data set that stops in the middle must not be answered with success, and a parser that only wants the header does not
notice. This walker follows the lengths alone (PS3.5 section 7): every element, sequence, item and fragment must end
inside what holds it, and every undefined length must meet its delimiter.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

MAX_DEPTH = 64
MAX_INFLATED_BYTES = 1 << 30

_UNDEFINED = 0xFFFFFFFF
_PIXEL_DATA = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_ITEM_GROUP = 0xFFFE
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# PS3.5 table 7.1-2: these have a length of 16 bits, every other VR one of 32
_SHORT_LENGTH_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())


class MalformedDataSet(ValueError):
    """The encoded data set is truncated or its lengths contradict each other; says where, never what."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The top-level pixel data as encoded."""

    length: int
    """Bytes of the value, without the basic offset table when it is encapsulated."""
    fragments: int | None
    """Number of fragments; None when the pixel data are native."""


def check_structure(data: bytes | memoryview, transfer_syntax_uid: str) -> PixelElement | None:
    """Walk an encoded data set (no preamble, no file meta) from end to end.

    Returns its top-level pixel data (Pixel Data, Float Pixel Data or Double Float Pixel Data) or None.
    Raises :class:`MalformedDataSet`. A data set cut exactly between two top-level elements is a valid, shorter one:
    the caller asks for the elements that it needs.
    """
    if transfer_syntax_uid == DEFLATED:
        data = inflate(data)
    walk = _Walk(
        memoryview(data), transfer_syntax_uid == IMPLICIT_LITTLE, transfer_syntax_uid == EXPLICIT_BIG
    )
    walk.elements(0, len(data), 0, delimited=False)
    return walk.pixels


def inflate(data: bytes | memoryview) -> bytes:
    """Inflate a data set of the deflated transfer syntax (PS3.5 A.5, RFC 1951). Raises MalformedDataSet."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(data, MAX_INFLATED_BYTES)
    except zlib.error:
        raise MalformedDataSet("deflated data set cannot be inflated") from None
    if not inflater.eof:
        raise MalformedDataSet("deflated data set is truncated or too large")
    return plain


class _Head(NamedTuple):
    """What stands before a value."""

    tag: int
    vr: bytes
    """Empty in implicit VR and for items."""
    length: int
    value: int
    """Where the value begins."""


class _Walk:
    """One walk over one data set. Positions are byte offsets into the (inflated) data set."""

    def __init__(self, data: memoryview, implicit: bool, big_endian: bool) -> None:
        self._data = data
        self._implicit = implicit
        order = ">" if big_endian else "<"
        self._tag = struct.Struct(order + "HH")
        self._long = struct.Struct(order + "L")
        self._short = struct.Struct(order + "H")
        self.pixels: PixelElement | None = None

    def elements(
        self, position: int, stop: int, depth: int, *, delimited: bool, implicit: bool | None = None
    ) -> int:
        """Walk elements up to ``stop``, or to the item delimiter if ``delimited``; where the walk ended."""
        if depth > MAX_DEPTH:
            raise MalformedDataSet(f"sequences nested deeper than {MAX_DEPTH}")
        implicit = self._implicit if implicit is None else implicit
        while position < stop:
            head = self._header(position, stop, implicit)
            if head.tag == _ITEM_END and delimited:
                return head.value
            if head.tag >> 16 == _ITEM_GROUP:
                raise MalformedDataSet(f"delimiter without its item at byte {position}")
            position = self._value(head, stop, depth, implicit)
        if delimited:
            raise MalformedDataSet("truncated: an item has no end")
        return position

    def _header(self, position: int, stop: int, implicit: bool) -> _Head:
        if stop - position < 8:
            raise MalformedDataSet(f"truncated in an element header at byte {position}")
        group, element = self._tag.unpack_from(self._data, position)
        tag = group << 16 | element
        if implicit or group == _ITEM_GROUP:
            return _Head(tag, b"", self._long.unpack_from(self._data, position + 4)[0], position + 8)
        vr = bytes(self._data[position + 4 : position + 6])
        if vr in _SHORT_LENGTH_VRS:
            return _Head(tag, vr, self._short.unpack_from(self._data, position + 6)[0], position + 8)
        if not (vr.isalpha() and vr.isupper()):
            raise MalformedDataSet(f"no value representation at byte {position + 4}")
        if stop - position < 12:
            raise MalformedDataSet(f"truncated in an element header at byte {position}")
        return _Head(tag, vr, self._long.unpack_from(self._data, position + 8)[0], position + 12)

    def _value(self, head: _Head, stop: int, depth: int, implicit: bool) -> int:
        """Walk over one value; where it ends."""
        if head.length == _UNDEFINED:
            if head.tag in _PIXEL_DATA or head.vr in (b"OB", b"OW"):
                return self._fragments(head, stop, depth)
            # a UN of undefined length is an implicit VR sequence, PS3.5 section 6.2.2 note 2
            return self._items(head.value, stop, depth, implicit or head.vr == b"UN", delimited=True)
        end = head.value + head.length
        if end > stop:
            group, element = divmod(head.tag, 0x10000)
            raise MalformedDataSet(f"truncated: element ({group:04X},{element:04X}) goes beyond the end")
        if head.vr == b"SQ":
            self._items(head.value, end, depth, implicit, delimited=False)
        elif depth == 0 and head.tag in _PIXEL_DATA:
            self.pixels = PixelElement(head.length, None)
        return end

    def _items(self, position: int, stop: int, depth: int, implicit: bool, *, delimited: bool) -> int:
        """Walk the items of a sequence; where it ends."""
        while position < stop:
            head = self._header(position, stop, implicit=True)
            if head.tag == _SEQUENCE_END and delimited:
                return head.value
            if head.tag != _ITEM:
                raise MalformedDataSet(f"something else than an item at byte {position}")
            open_end = head.length == _UNDEFINED
            end = stop if open_end else _end(head, stop)
            position = self.elements(head.value, end, depth + 1, delimited=open_end, implicit=implicit)
        if delimited:
            raise MalformedDataSet("truncated: a sequence has no end")
        return position

    def _fragments(self, pixels: _Head, stop: int, depth: int) -> int:
        """Walk encapsulated pixel data (PS3.5 section A.4); where they end."""
        position = pixels.value
        lengths: list[int] = []
        while position < stop:
            head = self._header(position, stop, implicit=True)
            if head.tag == _SEQUENCE_END:
                if depth == 0 and pixels.tag in _PIXEL_DATA:
                    self.pixels = PixelElement(sum(lengths[1:]), max(0, len(lengths) - 1))
                return head.value
            if head.tag != _ITEM or head.length == _UNDEFINED:
                raise MalformedDataSet(f"something else than a fragment at byte {position}")
            lengths.append(head.length)
            position = _end(head, stop)
        raise MalformedDataSet("truncated: pixel data have no end")


def _end(item: _Head, stop: int) -> int:
    if item.value + item.length > stop:
        raise MalformedDataSet(f"truncated: the item at byte {item.value - 8} goes beyond the end")
    return item.value + item.length
