"""A patient's crops from folders and contour files: one result whatever the file, and a reason where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.cohort_images import CohortImages
from apps.config import parse_config
from prognode.errors import BadRequest, InvalidInput, Reason
from training.cohort import Contour, Images
from training.extraction import FeatureCache
from training.synthetic_cohort_files import write_label_image
from training.synthetic_dicom import file_bytes
from training.synthetic_study import (
    StudySpec,
    generate_study,
    phase_tumour,
    series_grid,
    with_other_frame_of_reference,
    without_slices,
)

SPEC = StudySpec(
    seed=11,
    slices=30,
    rows=128,
    columns=128,
    row_spacing_mm=2.8,
    column_spacing_mm=2.8,
    slice_spacing_mm=5.0,
    further_rois=("Liver",),
)


def write(spec: StudySpec, folder: Path, study=None) -> dict[str, Path]:
    """A folder for each phase, each contour object, and both as label images."""
    study = study or generate_study(spec)
    paths = {}
    for phase, contour in zip(("arterial", "venous"), study.contours, strict=True):
        (folder / phase).mkdir(parents=True)
        for number, image in enumerate(study.images(phase)):
            (folder / phase / f"{number}.dcm").write_bytes(file_bytes(image))
        paths[phase] = folder / phase
        paths[f"{phase}_contour"] = folder / f"{phase}.dcm"
        paths[f"{phase}_contour"].write_bytes(file_bytes(contour))
        paths[f"{phase}_nifti"] = folder / f"{phase}.nii.gz"
        write_label_image(phase_tumour(spec, phase), series_grid(spec), paths[f"{phase}_nifti"])
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The arterial contour as RTSTRUCT, the venous one as SEG, each with a second ROI in the liver."""
    return write(SPEC, tmp_path_factory.mktemp("patient"))


def images(files, first: Contour, other: Contour, **folders: Path) -> Images:
    """What a row of the table names."""
    return Images(
        folders={"arterial": files["arterial"], "venous": files["venous"], **folders},
        contours={"arterial": first, "venous": other},
    )


def of_dicom(files) -> Images:
    """Both DICOM contours."""
    return images(files, Contour(files["arterial_contour"]), Contour(files["venous_contour"]))


def reason(named: Images) -> Reason:
    """Why the patient cannot be evaluated."""
    with pytest.raises(InvalidInput) as raised:
        CohortImages().read(named, second=False)
    return raised.value.reason


def test_rtstruct_seg_and_nifti_of_one_tumour_give_one_crop(files):
    """The window lies on the same millimetres, so the Hounsfield units are the same to the last bit."""
    dicom = CohortImages().read(of_dicom(files), second=False)
    nifti = images(files, Contour(files["arterial_nifti"]), Contour(files["venous_nifti"]))
    labels = CohortImages().read(nifti, second=False)
    assert dicom.crops_hu.shape == (2, 3, 224, 224)
    # the voxels' box may be a millimetre off the outline's box, never more
    shifts = [np.roll(labels.crops_hu[0], (dy, dx), (1, 2)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert min(np.abs(shift - dicom.crops_hu[0])[inner].max() for shift in shifts) < 1e-3
    assert (labels.crops_hu[1] == dicom.crops_hu[1]).all()
    assert labels.longest_diameter_mm == pytest.approx(dicom.longest_diameter_mm, abs=4.0)


def test_a_contour_that_was_matched_by_position_is_remarked(files):
    """A label image names no images: whoever reads the report must know that its place alone tied it to them."""
    nifti = images(files, Contour(files["arterial_nifti"]), Contour(files["venous_contour"]))
    remarks = CohortImages().read(nifti, second=False).remarks
    assert (
        sum("was matched to its series by position, since it has no references" in one for one in remarks)
        == 1
    )
    assert not any("by position" in one for one in CohortImages().read(of_dicom(files), second=False).remarks)


@pytest.mark.parametrize("whole_study", [True, False])
def test_a_contour_in_another_frame_of_reference_is_remarked(tmp_path, whole_study):
    """References tie it to images of another frame: used, and said, in a study and in a phase by itself."""
    study = with_other_frame_of_reference(generate_study(SPEC), "arterial")
    files = write(SPEC, tmp_path, study)
    named = Images(study=tmp_path) if whole_study else of_dicom(files)
    remarks = CohortImages().read(named, second=False).remarks
    assert (
        sum("has another frame of reference than its images; its references" in one for one in remarks) == 1
    )


def test_the_tumour_is_found_by_name_among_several_rois(files):
    """The liver is no tumour; a number in the table overrules the name."""
    by_name = CohortImages().read(of_dicom(files), second=False)
    named = images(files, Contour(files["arterial_contour"], 1), Contour(files["venous_contour"], 1))
    assert (CohortImages().read(named, second=False).crops_hu == by_name.crops_hu).all()
    liver = images(files, Contour(files["arterial_contour"], 2), Contour(files["venous_contour"], 2))
    assert (CohortImages().read(liver, second=False).crops_hu != by_name.crops_hu).any()


def test_two_tumours_in_one_object_must_be_told_apart(tmp_path):
    """The candidates are named as they are written in the table."""
    files = write(replace(SPEC, further_rois=("tumour, second",)), tmp_path)
    with pytest.raises(InvalidInput) as raised:
        CohortImages().read(of_dicom(files), second=False)
    assert raised.value.reason is Reason.ROI_SEVERAL
    assert any("arterial.dcm#2" in candidate for candidate in raised.value.candidates)


def test_a_number_that_is_not_there_is_named(files):
    """``file#9`` where the file has two."""
    wrong = images(files, Contour(files["arterial_contour"], 9), Contour(files["venous_contour"]))
    assert reason(wrong) is Reason.ROI_NONE


def test_contours_of_other_images_are_refused(files):
    """The folders of the phases are swapped: plausible wrong numbers would come of it, so it is refused."""
    swapped = images(
        files,
        Contour(files["arterial_contour"]),
        Contour(files["venous_contour"]),
        arterial=files["venous"],
        venous=files["arterial"],
    )
    assert reason(swapped) is Reason.ROI_SOURCE


def test_a_label_image_beside_the_images_is_refused(files, tmp_path):
    """A NIfTI file of another patient's place."""
    away = replace(phase_tumour(SPEC, "arterial"), centre_mm=(0.0, 0.0, 400.0))
    grid = series_grid(SPEC)
    shifted = replace(grid, origin_mm=grid.origin_mm + np.array([0.0, 0.0, 400.0]))
    write_label_image(away, shifted, tmp_path / "away.nii.gz")
    named = images(files, Contour(tmp_path / "away.nii.gz"), Contour(files["venous_contour"]))
    assert reason(named) is Reason.OUTSIDE_IMAGES


def test_missing_slices_are_refused(tmp_path):
    """A series with a hole where the crop needs it."""
    study = without_slices(generate_study(SPEC), "arterial", {16, 17})
    assert reason(of_dicom(write(SPEC, tmp_path, study))) is Reason.SLICES_MISSING


def test_a_folder_without_dicom_and_a_contour_that_is_none(files, tmp_path):
    """Neither is a crash."""
    (tmp_path / "notes.txt").write_text("no image")
    empty = images(
        files, Contour(files["arterial_contour"]), Contour(files["venous_contour"]), arterial=tmp_path
    )
    assert reason(empty) is Reason.SLICES_MISSING
    text = images(files, Contour(tmp_path / "notes.txt"), Contour(files["venous_contour"]))
    assert reason(text) is Reason.ROI_UNREADABLE


def test_the_files_of_a_reading_are_its_images_and_its_contours(files):
    """What the cache's key is made of: every image of both phases and the contour files, each once, in its role."""
    named = images(files, Contour(files["arterial_contour"], 1), Contour(files["venous_contour"]))
    found = CohortImages().files(named, second=False)
    assert len(found) == len(set(found)) == 62
    assert len({path for _, path in found}) == 62
    assert {
        ("arterial contour #1", files["arterial_contour"]),
        ("venous contour", files["venous_contour"]),
    } <= set(found)
    for phase in ("arterial", "venous"):
        own = [path for role, path in found if role == f"{phase} images"]
        assert own == sorted(files[phase].iterdir())


def test_swapped_contours_of_one_folder_are_another_key(files, tmp_path):
    """Images and contours lie in one folder: which contour is which phase's is told by the roles alone."""
    root = {phase: files[phase].parent for phase in ("arterial", "venous")}
    contours = Contour(files["arterial_contour"]), Contour(files["venous_contour"])
    cache, source = FeatureCache(tmp_path), CohortImages()
    named, swapped = images(files, *contours, **root), images(files, *contours[::-1], **root)
    first, second = (cache.key(source.files(one, second=False)) for one in (named, swapped))
    assert first != second


def test_other_rules_are_another_fingerprint(tmp_path):
    """Names of tumours and descriptions of phases decide what is cut; the rest of a configuration does not."""

    def rules(**configured: object) -> str:
        document = {"data": "data", "recipe": "recipe.json", "extractor": "resnet50.onnx", **configured}
        return CohortImages(parse_config(document, tmp_path / "node.toml")).rules

    built_in = CohortImages().rules
    assert rules() == rules(threads=3) == built_in
    others = {
        rules(assembly={"roi_name_patterns": ["mass"]}),
        rules(preprocess={"arterial_description": "early"}),
        rules(preprocess={"venous_description": "late"}),
        built_in,
    }
    assert len(others) == 4


@pytest.mark.parametrize("gone", ["arterial_contour", "arterial"])
def test_a_contour_or_folder_that_is_gone_is_not_passed_over(files, tmp_path, gone):
    """It was there when the table was read: without it the key would be that of other files."""
    missing = {**files, gone: tmp_path / "gone"}
    with pytest.raises(BadRequest, match="gone: cannot be read"):
        FeatureCache(tmp_path / "cache").key(CohortImages().files(of_dicom(missing), second=False))
