"""Stored pixel values of CT images as Hounsfield units.

Padding is replaced by air before anything else sees the values: a spline or a window over -2000 is wrong for
millimetres around it. Rescale is the slice's own: it may change inside a series.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from prognode.dicom.values import first_item, functional_group, integer, items, number, value_of
from prognode.errors import InvalidInput, Reason

AIR_HU = -1000.0
NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}
)
_JPEG_2000 = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
DECODERS = (
    {RLELossless: "pydicom"} | dict.fromkeys(_JPEG_2000, "pylibjpeg") | dict.fromkeys(_JPEG_LS, "pyjpegls")
)
"""The decoder for each transfer syntax; others go to GDCM, which is last since broken data can abort its process."""
DECODER_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    NotImplementedError,
    EOFError,
    MemoryError,
)
"""What decoders raise on broken, truncated or unsupported pixel data."""


def hounsfield(
    dataset: Dataset, frame: int = 1, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return one frame (1-based) in Hounsfield units: (rows, columns) float32; padding is ``AIR_HU``.

    ``out``, where given, is filled and returned: a volume needs no second copy of its slices.
    HU = slope * stored + intercept (PS3.3 C.11.1), from the frame's functional groups where the image has them.
    Raises :class:`InvalidInput` with PIXELS_UNREADABLE.
    """
    slope, intercept = _rescale(dataset, frame)
    raw = _stored(dataset, frame)
    stored = _without_unused_bits(dataset, raw)
    if out is not None and out.shape != stored.shape:
        raise _unreadable("The matrix differs from that of the other slices.")
    hu: NDArray[np.float32] = np.multiply(
        stored, np.float32(slope), out=out, dtype=np.float32, casting="unsafe"
    )
    hu += np.float32(intercept)
    for values in (stored,) if stored is raw else (stored, raw):
        padding = _padding(dataset, values)
        if padding is not None:
            hu[padding] = AIR_HU
    return hu


def _unreadable(detail: str) -> InvalidInput:
    return InvalidInput(Reason.PIXELS_UNREADABLE, detail)


def transfer_syntax(dataset: Dataset) -> str:
    """Return the transfer syntax UID; without file meta information, the one that the data set was read with."""
    meta = getattr(dataset, "file_meta", None)
    named = str(meta.get("TransferSyntaxUID", "") or "") if meta is not None else ""
    if named:
        return named
    implicit, little = dataset.original_encoding
    if implicit or implicit is None:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian)


def _stored(dataset: Dataset, frame: int) -> NDArray[Any]:
    frames = integer(dataset, "NumberOfFrames") or 1
    if not 1 <= frame <= frames:
        raise _unreadable(f"The image has {frames} frames; frame {frame} was asked for.")
    if (integer(dataset, "SamplesPerPixel") or 1) != 1:
        raise _unreadable("The image has colours; CT has one sample per pixel.")
    syntax = transfer_syntax(dataset)
    if syntax in NATIVE:
        return _native(dataset, frame, big_endian=syntax == ExplicitVRBigEndian)
    try:
        if syntax == JPEGExtended12Bit and (integer(dataset, "BitsStored") or 8) > 8:
            return _jpeg_12_bit(dataset, frame)
        decoded: NDArray[Any] = pixel_array(
            dataset, index=frame - 1, raw=True, decoding_plugin=decoder_of(syntax)
        )
    except DECODER_ERRORS as error:
        raise _unreadable(f"The pixel data (transfer syntax {syntax}) cannot be decoded.") from error
    return decoded


def decoder_of(syntax: str) -> str:
    """Return the name of pydicom's plugin for a compressed transfer syntax."""
    return DECODERS.get(UID(syntax), "gdcm")


def _jpeg_12_bit(dataset: Dataset, frame: int) -> NDArray[Any]:
    """Decode lossy JPEG of more than 8 bits with GDCM itself, which pydicom does not ask for it."""
    import gdcm

    rows, columns = int(dataset.Rows), int(dataset.Columns)
    count = integer(dataset, "NumberOfFrames") or 1
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(get_frame(dataset.PixelData, frame - 1, number_of_frames=count))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    signed = int(dataset.PixelRepresentation)
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, signed))
    octets = image.GetBuffer().encode("utf-8", "surrogateescape")  # the binding hands bytes over as text
    return np.frombuffer(octets, "<i2" if signed else "<u2", rows * columns).reshape(rows, columns)


def _native(dataset: Dataset, frame: int, *, big_endian: bool) -> NDArray[Any]:
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    bits = integer(dataset, "BitsAllocated")
    data = value_of(dataset, "PixelData")
    if (
        bits not in (8, 16, 32)
        or rows < 1
        or columns < 1
        or not isinstance(data, bytes | bytearray | memoryview)
    ):
        raise _unreadable("Matrix, bits or pixel data are missing.")
    kind = "i" if integer(dataset, "PixelRepresentation") == 1 else "u"
    dtype = np.dtype(f"{'>' if big_endian else '<'}{kind}{bits // 8}")
    count = rows * columns
    if len(data) < frame * count * dtype.itemsize:
        raise _unreadable("The pixel data are shorter than the matrix.")
    stored = np.frombuffer(data, dtype, count, offset=(frame - 1) * count * dtype.itemsize)
    return stored.reshape(rows, columns)


def _without_unused_bits(dataset: Dataset, raw: NDArray[Any]) -> NDArray[Any]:
    """Clear bits above Bits Stored, which may hold anything (PS3.5 8.1.1); signed values keep their sign."""
    stored, allocated = integer(dataset, "BitsStored"), 8 * raw.dtype.itemsize
    if stored is None or not 0 < stored < allocated or transfer_syntax(dataset) not in NATIVE:
        return raw
    unused = allocated - stored
    values: NDArray[Any] = raw << unused  # in the machine's byte order, whatever the file's
    values >>= unused
    return values


def _rescale(dataset: Dataset, frame: int) -> tuple[float, float]:
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    own = frames[frame - 1] if 0 < frame <= len(frames) else None
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    group = functional_group(own, shared, "PixelValueTransformationSequence")
    source = dataset if group is None else group
    slope = 1.0 if value_of(source, "RescaleSlope") is None else number(source, "RescaleSlope")
    intercept = 0.0 if value_of(source, "RescaleIntercept") is None else number(source, "RescaleIntercept")
    if not slope or intercept is None:
        raise _unreadable("Rescale slope or intercept make no sense.")
    return slope, intercept


def _padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Pixels of padding (PS3.3 C.7.5.1.1.2). The value is compared as bits: many files give -2000 as 63536."""
    value = integer(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = integer(dataset, "PixelPaddingRangeLimit")
    first, last = sorted(_as_stored(one, stored.dtype) for one in (value, value if limit is None else limit))
    padded: NDArray[np.bool_] = stored == first if first == last else (stored >= first) & (stored <= last)
    return padded


def _as_stored(value: int, dtype: np.dtype[Any]) -> int:
    bits = 8 * dtype.itemsize
    wrapped = value % (1 << bits)
    return wrapped - (1 << bits) if dtype.kind == "i" and wrapped >= 1 << (bits - 1) else wrapped
