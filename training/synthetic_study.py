"""A whole synthetic study as a PACS would route it: two CT phases and the tumour contours, with the truth beside them.

Everybody who tries the node needs a study that is nobody's: the demonstration, the tests, the bench. The same
specification gives the same bytes; UIDs follow from the seed alone, so that a study with another content under the
same UIDs (a conflicting re-send) is one ``replace`` away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from prognode.errors import BadRequest
from training.synthetic_anatomy import (
    CODE_OF,
    Floats,
    Grid,
    Labels,
    Phase,
    Tumour,
    Vector,
    hounsfield_table,
    paint_abdomen,
)
from training.synthetic_dicom import (
    INJECTION_TIME,
    DrawnRoi,
    SegType,
    SeriesPlan,
    StudyIdentity,
    clock_time,
    ct_image,
    ct_template,
    file_bytes,
    seeded_uid,
    segmentation,
    structure_set,
)

ContourKind = Literal["RTSTRUCT", "SEG", "NONE"]
Timing = Literal["right", "absent", "contradictory"]
Progress = Callable[[int, int], None]

PHASES: tuple[Phase, Phase] = ("arterial", "venous")
DELAY_S: dict[Phase, float] = {"arterial": 35.0, "venous": 70.0}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class StudySpec:
    """What to make. The default is the study of the demonstration: 2 x 120 slices of 512 x 512."""

    seed: int = 1
    slices: int = 120
    rows: int = 512
    columns: int = 512
    row_spacing_mm: float = 0.72
    column_spacing_mm: float = 0.72
    slice_spacing_mm: float = 2.5
    orientation: tuple[float, float, float, float, float, float] = AXIAL
    """ImageOrientationPatient: row cosines, column cosines (PS3.3 C.7.6.2.1.1)."""
    descending: bool = False
    """Instance numbers and sending order run from head to feet."""
    tumour_centre_mm: Vector = (72.0, -12.0, 11.3)
    tumour_semi_axes_mm: Vector = (21.0, 17.0, 16.0)
    """Along rows, along columns, across the planes."""
    tumour_size_factor: float = 1.0
    breath_shift_mm: Vector = (0.8, -1.2, 3.1)
    """Where the organs and the tumour moved between the arterial and the venous phase."""
    arterial_contour: ContourKind = "RTSTRUCT"
    venous_contour: ContourKind = "SEG"
    seg_type: SegType = "BINARY"
    arterial_roi_name: str = "Gastric tumour"
    venous_roi_name: str = "Gastric tumour"
    further_rois: tuple[str, ...] = ()
    """Names of more ROIs in each contour object: a box of 30 mm in the liver each."""
    whole_series_references: bool = True
    """The contour object lists every image of its series, or only the contoured ones."""
    one_slice_contour: bool = False
    """Draw the slice with the largest cross-section only, as the paper did."""
    contrast_timing: Timing = "right"
    enhancement: Literal["biphasic", "same"] = "biphasic"
    """``same``: both phases are enhanced like the venous one, so that the pixels tell nothing."""
    arterial_description: str = "SYNTHETIC abdomen arterial"
    venous_description: str = "SYNTHETIC abdomen portal venous"
    noise_hu: float = 12.0
    reaction_hu: tuple[float, float] = (0.0, 0.0)
    """What the tissue around the tumour's centre takes up beyond its usual contrast, arterial and venous."""
    reaction_radius_mm: float = 40.0
    gastric_content_hu: float | None = None
    """What the stomach is filled with; None: water."""
    transfer_syntax: str = ExplicitVRLittleEndian
    """Of the CT images: native, or lossless RLE, JPEG, JPEG-LS or JPEG 2000."""
    patient_id: str | None = None
    accession_number: str | None = None

    @property
    def tumour(self) -> Tumour:
        """The tumour of the arterial phase."""
        a, b, c = (size * self.tumour_size_factor for size in self.tumour_semi_axes_mm)
        return Tumour(self.tumour_centre_mm, (a, b, c))


@dataclass(frozen=True)
class TumourTruth:
    """What a perfect reader would measure in one phase."""

    phase: Phase
    volume_mm3: float
    """Of the formula; a reader that adds areas times spacing comes within a percent or two."""
    areas_mm2: dict[str, float]
    """SOP Instance UID -> area of the formula, for the images with a contour, ascending."""
    largest_slice_uid: str
    """By the formula; counted in coarse voxels, a neighbour of nearly the same area may win."""
    bounding_box_lps_mm: tuple[Vector, Vector]
    """(min, max) of the contour's vertices."""
    longest_diameter_mm: float
    """Largest distance of two vertices on the largest slice."""
    centre_lps_mm: Vector
    outlines_mm: dict[str, Floats]
    """SOP Instance UID -> (n, 3) outline."""


@dataclass(frozen=True)
class SyntheticStudy:
    """The objects of one study in sending order, and the truth about them."""

    spec: StudySpec
    instances: tuple[Dataset, ...]
    arterial_uids: tuple[str, ...]
    """SOP Instance UIDs ascending along the normal (towards the head)."""
    venous_uids: tuple[str, ...]
    truth: dict[Phase, TumourTruth] = field(repr=False)

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return str(study_identity(self.spec).study_uid)

    @property
    def patient_id(self) -> str:
        """Patient ID: SYNTHETIC-..."""
        return study_identity(self.spec).patient_id

    def uids(self, phase: Phase) -> tuple[str, ...]:
        """Image UIDs of one phase, ascending."""
        return self.arterial_uids if phase == "arterial" else self.venous_uids

    def images(self, phase: Phase) -> list[Dataset]:
        """CT images of one phase, ascending along the normal; those that a change left out are missing."""
        known = {str(item.SOPInstanceUID): item for item in self.instances}
        return [known[uid] for uid in self.uids(phase) if uid in known]

    def series_uid(self, phase: Phase) -> str:
        """Series Instance UID of one phase's images."""
        return str(seeded_uid(self.spec.seed, "ct-series", phase))

    @property
    def contours(self) -> list[Dataset]:
        """RTSTRUCT and SEG objects, arterial first."""
        return [item for item in self.instances if item.SOPClassUID != CTImageStorage]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """(file name without patient data, DICOM file bytes) in sending order."""
        for number, item in enumerate(self.instances, 1):
            yield f"{item.Modality.lower()}-{int(item.SeriesNumber):03d}-{number:04d}.dcm", file_bytes(item)


def study_identity(spec: StudySpec) -> StudyIdentity:
    """Identifiers of the study that ``spec`` describes."""
    return StudyIdentity(
        seed=spec.seed,
        patient_id=spec.patient_id or f"SYNTHETIC-{spec.seed:06d}",
        accession_number=spec.accession_number or f"SYN{spec.seed:06d}",
        study_uid=seeded_uid(spec.seed, "study"),
        frame_of_reference_uid=seeded_uid(spec.seed, "frame-of-reference"),
    )


def series_grid(spec: StudySpec) -> Grid:
    """The voxel grid of both phases, centred on the patient's origin; planes ascend towards the head."""
    along_rows, along_columns = np.array(spec.orientation[:3]), np.array(spec.orientation[3:])
    normal = np.cross(along_rows, along_columns)
    across = normal if normal[2] >= 0 else -normal
    axes = np.stack([across, along_columns, along_rows])
    shape = (spec.slices, spec.rows, spec.columns)
    spacing = np.array([spec.slice_spacing_mm, spec.row_spacing_mm, spec.column_spacing_mm])
    return Grid(shape, -((np.array(shape) - 1) / 2 * spacing) @ axes, axes, spacing)


def phase_tumour(spec: StudySpec, phase: Phase) -> Tumour:
    """The tumour of one phase, where breathing put it."""
    shift = _breath_shift(spec, phase)
    x, y, z = (a + b for a, b in zip(spec.tumour_centre_mm, shift, strict=True))
    return replace(spec.tumour, centre_mm=(x, y, z))


def _breath_shift(spec: StudySpec, phase: Phase) -> Vector:
    return (0.0, 0.0, 0.0) if phase == "arterial" else spec.breath_shift_mm


def _image_uids(spec: StudySpec, phase: Phase) -> tuple[UID, ...]:
    return tuple(seeded_uid(spec.seed, "ct", phase, plane) for plane in range(spec.slices))


def tumour_truth(spec: StudySpec, phase: Phase) -> TumourTruth:
    """Areas, volume and outlines of the drawn tumour in one phase.

    Raises:
        BadRequest: no image plane cuts the tumour.

    """
    grid, tumour, uids = series_grid(spec), phase_tumour(spec, phase), _image_uids(spec, phase)
    areas = {k: tumour.area_mm2(tumour.height_mm(grid, k)) for k in range(spec.slices)}
    largest = max(areas, key=lambda k: areas[k])
    if areas[largest] <= 0:
        raise BadRequest(
            "The tumour of the synthetic study lies between or outside the slices; move or enlarge it."
        )
    planes = [largest] if spec.one_slice_contour else [k for k in areas if areas[k] > 0]
    outlines = {str(uids[k]): tumour.outline_mm(grid, k) for k in planes}
    vertices = np.concatenate(list(outlines.values()))
    rim = outlines[str(uids[largest])]
    return TumourTruth(
        phase=phase,
        volume_mm3=tumour.volume_mm3,
        areas_mm2={str(uids[k]): areas[k] for k in planes},
        largest_slice_uid=str(uids[largest]),
        bounding_box_lps_mm=(_vector(vertices.min(axis=0)), _vector(vertices.max(axis=0))),
        longest_diameter_mm=float(np.linalg.norm(rim[:, None] - rim[None, :], axis=-1).max()),
        centre_lps_mm=tumour.centre_mm,
        outlines_mm=outlines,
    )


def _vector(values: Floats) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


NOISE_TILES = 8


def _noise_tiles(spec: StudySpec, phase: Phase) -> NDArray[np.float32]:
    """(tiles, rows, columns) of slightly correlated noise; drawn once, then rolled for each slice."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng([spec.seed, PHASES.index(phase)])
    tiles = random.standard_normal((NOISE_TILES, spec.rows, spec.columns), dtype=np.float32)
    smooth = gaussian_filter(tiles, (0, 0.6, 0.6), mode="wrap")
    return np.asarray(smooth * (spec.noise_hu / max(float(smooth.std()), 1e-9)), dtype=np.float32)


def _texture(spec: StudySpec, grid: Grid, tumour: Tumour) -> NDArray[np.float32]:
    """Blotches of about 4 mm inside the tumour's box, the same in both phases."""
    from scipy.ndimage import gaussian_filter

    shape = tuple(part.stop - part.start for part in tumour.box(grid))
    field_hu = np.random.default_rng([spec.seed, 99]).standard_normal(shape, dtype=np.float32)
    smooth = gaussian_filter(field_hu, 4.0 / grid.spacing_mm)
    return np.asarray(smooth * (14.0 / max(float(smooth.std()), 1e-9)), dtype=np.float32)


def _reaction(spec: StudySpec, phase: Phase, grid: Grid, tumour: Tumour) -> NDArray[np.float32] | None:
    """Hounsfield units to add on every voxel of the series; None where there is no reaction."""
    strength = spec.reaction_hu[PHASES.index(phase)]
    if not strength:
        return None
    radius = spec.reaction_radius_mm
    reached = replace(tumour, semi_axes_mm=(radius, radius, radius)).mask(grid)
    return np.where(reached, np.float32(strength), np.float32(0.0))


def _slices_hu(spec: StudySpec, phase: Phase) -> Iterator[NDArray[np.int16]]:
    """Hounsfield units (rows, columns) of each plane, ascending."""
    from scipy.ndimage import gaussian_filter

    grid, tumour = series_grid(spec), phase_tumour(spec, phase)
    labels = paint_abdomen(grid, tumour, _breath_shift(spec, phase))
    table = hounsfield_table(phase, "venous" if spec.enhancement == "same" else None)
    if spec.gastric_content_hu is not None:
        table[CODE_OF["gastric_fluid"]] = spec.gastric_content_hu
    box, texture = tumour.box(grid), _texture(spec, grid, tumour)
    reaction = _reaction(spec, phase, grid, tumour)
    noise, random = _noise_tiles(spec, phase), np.random.default_rng([spec.seed, PHASES.index(phase), 7])
    blur_px = 0.45 / np.array([spec.row_spacing_mm, spec.column_spacing_mm])
    for plane in range(spec.slices):
        hu = table[labels[plane]]
        if reaction is not None:
            hu += np.where(labels[plane] == CODE_OF["gas"], 0.0, reaction[plane])
        if box[0].start <= plane < box[0].stop:
            _add_texture(hu, labels[plane], box, texture[plane - box[0].start])
        hu = gaussian_filter(hu, blur_px)
        tile = noise[random.integers(NOISE_TILES)]
        offset = (int(random.integers(spec.rows)), int(random.integers(spec.columns)))
        hu += np.roll(tile, offset, axis=(0, 1))
        yield np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _add_texture(
    hu: NDArray[np.float32], labels: Labels, box: tuple[slice, slice, slice], texture: NDArray[np.float32]
) -> None:
    inside = np.isin(labels[box[1:]], (CODE_OF["tumour"], CODE_OF["necrosis"]))
    hu[box[1:]] += np.where(inside, texture, 0.0)


def _series_plan(spec: StudySpec, phase: Phase) -> SeriesPlan:
    other: Phase = "venous" if phase == "arterial" else "arterial"
    delay = DELAY_S[other if spec.contrast_timing == "contradictory" else phase]
    return SeriesPlan(
        phase=phase,
        series_uid=seeded_uid(spec.seed, "ct-series", phase),
        number=2 + PHASES.index(phase),
        description=spec.arterial_description if phase == "arterial" else spec.venous_description,
        acquisition_time=clock_time(INJECTION_TIME, delay),
        contrast_start_time=None if spec.contrast_timing == "absent" else INJECTION_TIME,
        grid=series_grid(spec),
        slice_spacing_mm=spec.slice_spacing_mm,
        transfer_syntax=UID(spec.transfer_syntax),
        descending=spec.descending,
    )


def _ct_series(spec: StudySpec, phase: Phase, done: Callable[[], None]) -> list[Dataset]:
    plan, uids = _series_plan(spec, phase), _image_uids(spec, phase)
    shared, images = ct_template(study_identity(spec), plan), []
    for plane, hu in enumerate(_slices_hu(spec, phase)):
        images.append(ct_image(shared, plan, uids[plane], plane, hu))
        done()
    return images


def _liver_box(centre_mm: Vector, outline_z: Floats) -> Floats:
    x, y, _ = centre_mm
    corners = np.array([[x - 15, y - 15], [x + 15, y - 15], [x + 15, y + 15], [x - 15, y + 15]])
    return np.column_stack([corners, np.full(4, outline_z[:, 2].mean())])


def _contour_object(
    spec: StudySpec, phase: Phase, images: list[Dataset], truth: TumourTruth
) -> Dataset | None:
    kind = spec.arterial_contour if phase == "arterial" else spec.venous_contour
    name = spec.arterial_roi_name if phase == "arterial" else spec.venous_roi_name
    if kind == "RTSTRUCT":
        return _drawn(spec, images, truth, name)
    if kind == "SEG":
        return _segmented(spec, images, truth, name)
    return None


def _drawn(spec: StudySpec, images: list[Dataset], truth: TumourTruth, name: str) -> Dataset:
    rois = [DrawnRoi(name, {uid: [outline] for uid, outline in truth.outlines_mm.items()})]
    for number, further in enumerate(spec.further_rois):
        centre = (-70.0, -30.0 + 12.0 * number, 0.0)
        boxes = {uid: [_liver_box(centre, outline)] for uid, outline in truth.outlines_mm.items()}
        rois.append(DrawnRoi(further, boxes))
    return structure_set(
        study_identity(spec), images, rois, label=truth.phase, whole_series=spec.whole_series_references
    )


def _segmented(spec: StudySpec, images: list[Dataset], truth: TumourTruth, name: str) -> Dataset:
    grid, uids = series_grid(spec), _image_uids(spec, truth.phase)
    mask = phase_tumour(spec, truth.phase).mask(grid)
    mask[[str(uid) not in truth.outlines_mm for uid in uids]] = False
    masks = {name: mask}
    for number, further in enumerate(spec.further_rois):
        centre = (-70.0, -30.0 + 12.0 * number, truth.centre_lps_mm[2])
        box = np.zeros_like(mask)
        box[grid.box(centre, np.array([10.0, 6.0, 15.0]))] = True
        masks[further] = box
    return segmentation(
        study_identity(spec),
        images,
        masks,
        seg_type=spec.seg_type,
        whole_series=spec.whole_series_references,
    )


def generate_study(spec: StudySpec, progress: Progress | None = None) -> SyntheticStudy:
    """Make the study; ``progress(done, total)`` is called once per object.

    Raises:
        BadRequest: no image plane cuts the tumour.

    """
    truth = {phase: tumour_truth(spec, phase) for phase in PHASES}
    total, made = 2 * spec.slices + 2, 0

    def done() -> None:
        nonlocal made
        made += 1
        if progress is not None:
            progress(made, total)

    images = {phase: _ct_series(spec, phase, done) for phase in PHASES}
    contours = []
    for phase in PHASES:
        contour = _contour_object(spec, phase, images[phase], truth[phase])
        contours += [contour] if contour is not None else []
        done()
    ordered = [
        image for phase in PHASES for image in (images[phase][::-1] if spec.descending else images[phase])
    ]
    arterial, venous = (tuple(str(uid) for uid in _image_uids(spec, phase)) for phase in PHASES)
    return SyntheticStudy(spec, (*ordered, *contours), arterial, venous, truth)


def write_study(study: SyntheticStudy, folder: Path) -> list[Path]:
    """Write every object as a file into ``folder`` (made if absent); returns the paths in sending order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, data in study.files():
        path = folder / name
        path.write_bytes(data)
        paths.append(path)
    return paths


# ------------------------------------------------------------- what goes wrong in real series, as simple changes


def without_slices(study: SyntheticStudy, phase: Phase, planes: set[int]) -> SyntheticStudy:
    """The study without some images of one phase (plane numbers ascending from 0)."""
    gone = {study.uids(phase)[plane] for plane in planes}
    kept = tuple(item for item in study.instances if str(item.SOPInstanceUID) not in gone)
    return replace(study, instances=kept)


def changed(study: SyntheticStudy, phase: Phase, change: Callable[[int, Dataset], None]) -> SyntheticStudy:
    """The study with ``change(plane, image)`` applied to a copy of each image of one phase."""
    plane_of = {uid: plane for plane, uid in enumerate(study.uids(phase))}
    instances = []
    for item in study.instances:
        plane = plane_of.get(str(item.SOPInstanceUID))
        if plane is None:
            instances.append(item)
            continue
        copy = deepcopy(item)
        change(plane, copy)
        instances.append(copy)
    return replace(study, instances=tuple(instances))


def with_tilt(study: SyntheticStudy, phase: Phase, degrees: float = 12.0) -> SyntheticStudy:
    """Images tilted about the left-right axis while the table moves along z: a sheared stack (gantry tilt)."""
    tilt = np.deg2rad(degrees)

    def lean(_plane: int, image: Dataset) -> None:
        image.ImageOrientationPatient = [1, 0, 0, 0, f"{np.cos(tilt):.8f}", f"{np.sin(tilt):.8f}"]
        image.GantryDetectorTilt = f"{degrees:g}"

    return changed(study, phase, lean)


def with_uneven_gaps(study: SyntheticStudy, phase: Phase, from_plane: int, by_mm: float) -> SyntheticStudy:
    """Every image from ``from_plane`` upwards moved by ``by_mm`` along z."""

    def lift(plane: int, image: Dataset) -> None:
        if plane >= from_plane:
            x, y, z = (float(v) for v in image.ImagePositionPatient)
            image.ImagePositionPatient = [f"{x:g}", f"{y:g}", f"{z + by_mm:g}"]

    return changed(study, phase, lift)


def with_other_frame_of_reference(study: SyntheticStudy, phase: Phase) -> SyntheticStudy:
    """The images of one phase under another Frame of Reference than their contours."""
    other = seeded_uid(study.spec.seed, "another-frame-of-reference", phase)
    return changed(study, phase, lambda _plane, image: setattr(image, "FrameOfReferenceUID", other))


def with_repeated_slice(study: SyntheticStudy, phase: Phase, plane: int) -> SyntheticStudy:
    """One image a second time under another UID: two images at one position."""
    twin = deepcopy(study.images(phase)[plane])
    twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = seeded_uid(
        study.spec.seed, "twin", phase, plane
    )
    return replace(study, instances=(*study.instances, twin))
