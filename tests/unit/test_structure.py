"""Truncated and malformed data sets are found by their lengths alone."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from prognode.dicom.structure import MAX_DEPTH, MalformedDataSet, PixelElement, check_structure

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
NATIVE = (IMPLICIT, EXPLICIT, BIG)


def encode(data_set, syntax):
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != BIG
    buffer.is_implicit_VR = syntax == IMPLICIT
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def top_level_ends(data_set, syntax):
    """Where each top-level element ends: the only places where a cut gives a valid data set."""
    ends, position = {0}, 0
    for element in data_set:
        single = Dataset()
        single.add(element)
        position += len(encode(single, syntax))
        ends.add(position)
    return ends


def items(depth, open_length):
    """A sequence item with values of several kinds, nested ``depth`` deep."""
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ContourData = [1.5, -2.25, 3.0]
    item.is_undefined_length_sequence_item = open_length
    if depth:
        item.ReferencedSeriesSequence = [items(depth - 1, open_length), Dataset()]
        item["ReferencedSeriesSequence"].is_undefined_length = open_length
    return item


def sample(depth=2, open_length=True, pixels=b"\x01\x02" * 12):
    data_set = Dataset()
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data_set.SOPInstanceUID = "1.2.3"
    data_set.PatientID = ""
    data_set.ReferencedStudySequence = [items(depth, open_length), items(0, not open_length)]
    data_set["ReferencedStudySequence"].is_undefined_length = open_length
    data_set.add_new(0x00091001, "UN", b"private!")
    data_set.Rows = 3
    data_set.add_new(0x7FE00010, "OW", pixels)
    return data_set


def verdict(data, syntax):
    try:
        check_structure(data, syntax)
    except MalformedDataSet as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("open_length", [True, False])
def test_valid_data_sets_pass(syntax, open_length):
    """Both length forms, nested, in all three encodings; the native pixel data are reported with their length."""
    assert check_structure(encode(sample(open_length=open_length), syntax), syntax) == PixelElement(24, None)


def test_an_empty_data_set_is_valid_and_has_no_pixels():
    """The walker asks for no element: that is the caller's part."""
    assert check_structure(b"", EXPLICIT) is None


@pytest.mark.parametrize("syntax", NATIVE)
@settings(max_examples=60, deadline=None)
@given(depth=st.integers(0, 3), open_length=st.booleans(), size=st.integers(0, 20), data=st.data())
def test_every_truncation_is_found(syntax, depth, open_length, size, data):
    """A cut anywhere is found, except between two top-level elements, where a valid and shorter data set ends."""
    data_set = sample(depth, open_length, b"\x01\x02" * size)
    encoded = encode(data_set, syntax)
    ends = top_level_ends(data_set, syntax)
    assert len(encoded) in ends
    cut = data.draw(st.integers(0, len(encoded) - 1))
    if cut in ends:
        assert check_structure(encoded[:cut], syntax) is None
    else:
        assert verdict(encoded[:cut], syntax)


@settings(max_examples=60, deadline=None)
@given(fragments=st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=4), data=st.data())
def test_every_truncation_of_encapsulated_pixels_is_found(fragments, data):
    """Cut inside fragments, their headers or before the sequence delimiter: found."""
    pixels = encapsulate(fragments, has_bot=True)
    data_set = sample(pixels=pixels)
    data_set[0x7FE00010].VR = "OB"
    data_set[0x7FE00010].is_undefined_length = True
    encoded = encode(data_set, EXPLICIT)
    element = check_structure(encoded, RLE)
    assert element.fragments == len(fragments)
    assert element.length == sum(len(fragment) + len(fragment) % 2 for fragment in fragments)
    ends = top_level_ends(data_set, EXPLICIT)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    assert bool(verdict(encoded[:cut], RLE)) == (cut not in ends)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_truncation_of_a_deflated_data_set_is_found(data):
    """The end of the deflate stream is part of the data set; one byte of padding after it is allowed."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(encode(sample(), EXPLICIT)) + deflater.flush()
    assert check_structure(deflated + b"\0", DEFLATED) == PixelElement(24, None)
    cut = data.draw(st.integers(0, len(deflated) - 1))
    assert verdict(deflated[:cut], DEFLATED)


@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=200), syntax=st.sampled_from([*NATIVE, DEFLATED, RLE]))
def test_noise_is_answered_never_crashes(noise, syntax):
    """Whatever arrives, the walker ends with a verdict."""
    verdict(noise, syntax)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), syntax=st.sampled_from(NATIVE))
def test_a_changed_byte_never_crashes(data, syntax):
    """A valid data set with one byte changed ends with a verdict."""
    encoded = bytearray(encode(sample(), syntax))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    verdict(encoded, syntax)


def test_depth_is_bounded():
    """Sequences nested without end are refused, not followed."""
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert "deeper" in verdict((sequence + item) * (MAX_DEPTH + 2), EXPLICIT)


def test_a_sequence_written_as_un_is_walked_as_implicit():
    """PS3.5 section 6.2.2: UN of undefined length holds implicit VR items, in an explicit data set as well."""
    inner = struct.pack("<HHL", 0x0008, 0x0060, 2) + b"CT"
    item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    element = struct.pack("<HH2sHL", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF)
    assert verdict(element + item + end, EXPLICIT) == ""
    assert "no end" in verdict(element + item, EXPLICIT)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 9) + b"CT", "(0008,0060) goes beyond the end"),
        (struct.pack("<HH4sL", 0x0008, 0x0060, b"\0\0\0\0", 0), "no value representation"),
        (struct.pack("<HHL", 0xFFFE, 0xE00D, 0), "delimiter without its item"),
        (
            struct.pack("<HH2sHL", 0x0008, 0x1115, b"SQ", 0, 8) + b"\x08\0\x60\0CS\0\0",
            "something else than an item",
        ),
        (
            struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + b"\0" * 8,
            "something else than a fragment",
        ),
    ],
)
def test_the_verdict_says_where(data, says):
    """The sentence names the place, is short enough for an Error Comment, and quotes no value."""
    sentence = verdict(data, EXPLICIT)
    assert says in sentence
    assert len(sentence) <= 64
    assert "CT" not in sentence


def test_memory_views_are_walked_without_copy():
    """Any bytes-like object will do."""
    assert check_structure(memoryview(encode(sample(), EXPLICIT)), EXPLICIT) == PixelElement(24, None)
