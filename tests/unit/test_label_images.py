"""Label images as ITK-SNAP saves them: the same tumour at the same place, however the file's axes run."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from prognode.adapters.nifti_contours import is_label_image, read_label_image
from prognode.dicom.seg import read_seg
from prognode.domain.roi import largest_section
from prognode.errors import InvalidInput, Reason
from training.synthetic_cohort_files import write_label_image
from training.synthetic_study import StudySpec, generate_study, phase_tumour, series_grid

SPEC = StudySpec(
    seed=3,
    slices=30,
    rows=96,
    columns=96,
    row_spacing_mm=3.6,
    column_spacing_mm=3.6,
    slice_spacing_mm=5.0,
    arterial_contour="SEG",
)


@pytest.fixture(scope="module")
def label_image(tmp_path_factory):
    """The arterial tumour as NIfTI."""
    path = tmp_path_factory.mktemp("labels") / "tumour.nii.gz"
    write_label_image(phase_tumour(SPEC, "arterial"), series_grid(SPEC), path)
    return path


@pytest.fixture(scope="module")
def segmentation():
    """The same tumour as a DICOM segmentation."""
    return read_seg(generate_study(SPEC).contours[0])[0]


def test_nifti_and_seg_of_one_mask_are_one_roi(label_image, segmentation):
    """Areas, positions and the bounding box agree with the DICOM segmentation of the same voxels."""
    (roi,) = read_label_image(label_image)
    assert (roi.kind, roi.number) == ("NIFTI", 1)
    assert [s.area_mm2 for s in roi.sections] == pytest.approx([s.area_mm2 for s in segmentation.sections])
    assert [s.offset_mm for s in roi.sections] == pytest.approx(
        [s.offset_mm for s in segmentation.sections], abs=1e-3
    )
    assert np.allclose(roi.bounding_box_lps_mm, segmentation.bounding_box_lps_mm, atol=1e-3)
    assert roi.volume_mm3 == pytest.approx(segmentation.volume_mm3)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "RPI", "SAL", "PIR"])
def test_the_files_own_axes_do_not_matter(label_image, tmp_path, orientation):
    """A file whose axes were turned or flipped holds the same tumour at the same place."""
    turned = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(label_image)), orientation)
    path = tmp_path / "turned.nii.gz"
    SimpleITK.WriteImage(turned, str(path))
    (expected,), (found,) = read_label_image(label_image), read_label_image(path)
    assert largest_section(found).area_mm2 == pytest.approx(largest_section(expected).area_mm2)
    assert np.allclose(found.bounding_box_lps_mm, expected.bounding_box_lps_mm, atol=1e-3)
    assert found.normal == pytest.approx(expected.normal)


def test_each_label_is_a_roi(label_image, tmp_path):
    """Two labels are two ROIs, numbered by label."""
    image = SimpleITK.ReadImage(str(label_image))
    values = SimpleITK.GetArrayFromImage(image)
    values[0, 0, 0] = 7
    other = SimpleITK.GetImageFromArray(values)
    other.CopyInformation(image)
    SimpleITK.WriteImage(other, str(tmp_path / "two.nii.gz"))
    assert [roi.number for roi in read_label_image(tmp_path / "two.nii.gz")] == [1, 7]


def written(tmp_path, values, name="image.nii.gz"):
    """An image file of these values."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(tmp_path / name))
    return tmp_path / name


def test_what_is_no_label_image_has_a_reason(tmp_path):
    """Empty, fractional, flat and unreadable files are refused with a code, not with a traceback."""
    (tmp_path / "text.nii").write_text("no image")
    cases = {
        Reason.ROI_EMPTY: [written(tmp_path, np.zeros((3, 4, 5), np.uint8))],
        Reason.ROI_UNREADABLE: [
            written(tmp_path, np.full((3, 4, 5), 0.5, np.float32), "half.nii.gz"),
            written(tmp_path, np.ones((4, 5), np.uint8), "flat.nii.gz"),
            tmp_path / "text.nii",
        ],
    }
    for reason, paths in cases.items():
        for path in paths:
            with pytest.raises(InvalidInput) as raised:
                read_label_image(path)
            assert raised.value.reason is reason


@pytest.mark.parametrize(("name", "is_one"), [("a.nii.gz", True), ("A.NII", True), ("a.dcm", False)])
def test_label_images_are_known_by_their_suffix(tmp_path, name, is_one):
    """DICOM objects have any name; label images have theirs."""
    assert is_label_image(tmp_path / name) is is_one
