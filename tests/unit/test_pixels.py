"""Stored values become Hounsfield units, padding becomes air, and what cannot be decoded is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from roi_objects import ct_image, item

from prognode.dicom.pixels import AIR_HU, hounsfield
from prognode.errors import InvalidInput

VALUES = np.array([[-1024, 0, 40], [100, 1000, 3071]], dtype=np.int16)


def unreadable():
    return pytest.raises(InvalidInput, match=r"^pixels-unread:")


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (0.001, 0), (2.5, -1000)])
def test_each_slice_has_its_own_rescale(slope: float, intercept: float) -> None:
    """HU = slope * stored + intercept, whatever offset other scanners use."""
    hu = hounsfield(ct_image(VALUES, RescaleSlope=slope, RescaleIntercept=intercept))
    assert hu.dtype == np.float32
    np.testing.assert_allclose(hu, VALUES * slope + intercept, rtol=1e-6)


def test_missing_rescale_means_stored_values() -> None:
    """Without rescale the stored values are taken as they are."""
    image = ct_image(VALUES)
    del image.RescaleSlope, image.RescaleIntercept
    np.testing.assert_array_equal(hounsfield(image), VALUES)


@pytest.mark.parametrize(
    ("dtype", "stored", "padding"),
    [
        (np.int16, -2000, -2000),
        (np.int16, -2000, 63536),
        (np.uint16, 63536, 63536),
        (np.uint16, 63536, -2000),
        (np.uint16, 0, 0),
    ],
)
def test_padding_becomes_air(dtype: type, stored: int, padding: int) -> None:
    """The padding value may be given signed or unsigned; its pixels are air after rescale."""
    image = ct_image(np.array([[stored, 1000]], dtype=dtype), RescaleIntercept=-1024)
    image.add_new("PixelPaddingValue", "US" if padding >= 0 else "SS", padding)
    assert hounsfield(image).tolist() == [[AIR_HU, -24.0]]


@pytest.mark.parametrize("limits", [(-2000, -1500), (-1500, -2000)])
def test_a_range_of_padding_becomes_air(limits: tuple[int, int]) -> None:
    """Value and range limit bound an interval, in either order."""
    image = ct_image(np.array([[-2000, -1700, -1500, -1499]], dtype=np.int16))
    image.add_new("PixelPaddingValue", "SS", limits[0])
    image.add_new("PixelPaddingRangeLimit", "SS", limits[1])
    assert hounsfield(image).tolist() == [[AIR_HU, AIR_HU, AIR_HU, -1499.0]]


def test_unused_bits_may_hold_anything() -> None:
    """Bits above Bits Stored are cleared; signed values keep their sign; padding is found before that."""
    stored = np.array([[0xF000 | 0x0FFF, 0x0064, 0x9000 | 0x0064]], dtype=np.uint16)
    image = ct_image(stored, BitsStored=12, HighBit=11)
    assert hounsfield(image).tolist() == [[4095, 100, 100]]
    image.PixelRepresentation = 1
    assert hounsfield(image).tolist() == [[-1, 100, 100]]
    image.PixelRepresentation = 0
    image.add_new("PixelPaddingValue", "US", 0xFFFF)
    assert hounsfield(image).tolist() == [[AIR_HU, 100, 100]]


def test_big_endian_pixels() -> None:
    """The byte order is the transfer syntax's."""
    image = ct_image(VALUES, PixelData=VALUES.astype(">i2").tobytes())
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    np.testing.assert_array_equal(hounsfield(image), VALUES)


def test_frames_have_their_own_rescale() -> None:
    """Multi-frame images keep rescale in functional groups, shared or per frame."""
    image = ct_image(np.stack([VALUES, VALUES + 1]))
    image.NumberOfFrames = 2
    transformation = item(RescaleSlope=2, RescaleIntercept=-10)
    image.SharedFunctionalGroupsSequence = [item(PixelValueTransformationSequence=[transformation])]
    own = item(PixelValueTransformationSequence=[item(RescaleSlope=3, RescaleIntercept=0)])
    image.PerFrameFunctionalGroupsSequence = [Dataset(), own]
    np.testing.assert_array_equal(hounsfield(image, 1), VALUES * 2.0 - 10)
    np.testing.assert_array_equal(hounsfield(image, 2), (VALUES + 1) * 3.0)
    with unreadable():
        hounsfield(image, 3)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_lossless_compression_changes_nothing(syntax: str, dtype: type) -> None:
    """RLE, JPEG-LS and JPEG 2000 give the native values, signed and unsigned."""
    noise = np.random.default_rng(1).integers(0, 3000, (64, 48)) - (1024 if dtype == np.int16 else 0)
    native, compressed = ct_image(noise.astype(dtype)), ct_image(noise.astype(dtype))
    plugin = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}[syntax]
    compressed.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    np.testing.assert_array_equal(hounsfield(compressed), hounsfield(native))


@pytest.mark.parametrize(
    ("name", "at_420_140", "at_230_120"), [("JPGExtended.dcm", 244, 95), ("JPEG-lossy.dcm", 244, 95)]
)
def test_lossy_jpeg_of_12_bits_is_decoded(name: str, at_420_140: float, at_230_120: float) -> None:
    """JPEG Extended with 12 bits; the values are those of pydicom's own tests for these files."""
    hu = hounsfield(dcmread(get_testdata_file(name)))
    assert (hu[420, 140], hu[230, 120]) == (at_420_140, at_230_120)


@pytest.mark.parametrize(
    ("plain", "name"),
    [
        ("MR_small.dcm", "MR_small_RLE.dcm"),
        ("MR_small.dcm", "MR_small_bigendian.dcm"),
        ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
        ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
        ("MR_small.dcm", "MR_small_implicit.dcm"),
    ],
)
def test_files_of_other_writers_give_the_same_values(plain: str, name: str) -> None:
    """The same image in different transfer syntaxes, written by others."""
    np.testing.assert_array_equal(
        hounsfield(dcmread(get_testdata_file(name))), hounsfield(dcmread(get_testdata_file(plain)))
    )


def test_a_sign_that_contradicts_the_codestream_is_corrected() -> None:
    """JPEG 2000 whose codestream and header disagree on signedness: padding is -2000, not 6192."""
    hu = hounsfield(dcmread(get_testdata_file("J2K_pixelrep_mismatch.dcm")))
    assert hu.min() == -2000
    assert hu.max() < 4000


@pytest.mark.parametrize("fault", ["short", "absent", "colour", "slope", "codestream", "matrix"])
def test_what_cannot_be_decoded_is_refused(fault: str) -> None:
    """Every broken image ends as one reason, never as wrong values."""
    image = ct_image(VALUES)
    if fault == "short":
        image.PixelData = image.PixelData[:6]
    elif fault == "absent":
        del image.PixelData
    elif fault == "colour":
        image.SamplesPerPixel = 3
    elif fault == "slope":
        image.RescaleSlope = 0
    elif fault == "matrix":
        del image.Rows
    else:
        image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    with unreadable():
        hounsfield(image)
