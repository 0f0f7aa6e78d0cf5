"""A patient's crops from the folders and contour files that a cohort table names, cut by the node's own functions.

Where the table names a whole study, the node's own rules say which series is which phase and which ROI is the tumour.
Where it names folder and contour of each phase, the table has decided that, and the rules are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apps.config import NodeConfig
from apps.dicom_files import Pile, read_pile
from apps.inspect_rois import NAMELESS
from apps.judged_study import judge_studies, phase_descriptions, read_planes, roi_rules
from prognode.adapters.nifti_contours import is_label_image, read_label_image
from prognode.domain.need_set import NeedSet
from prognode.domain.phase_crop import PhaseCrop, cut_phase
from prognode.domain.prognosis import Phase
from prognode.domain.readiness import Assessment, Choices, Rules, SeriesView, assess
from prognode.domain.roi import Roi, longest_diameter_mm
from prognode.errors import InvalidInput, Reason
from prognode.runtime.studies import series_views
from training.cohort import PHASES, Contour, Images
from training.extraction import Reading


@dataclass(frozen=True)
class CohortImages:
    """A :class:`~training.extraction.CropSource` over files."""

    config: NodeConfig | None = None
    """Whose rules for ROIs and descriptions hold; None: the built-in ones."""

    @property
    def rules(self) -> str:
        """The rules for ROIs and descriptions, to the letter."""
        return repr((roi_rules(self.config), phase_descriptions(self.config)))

    def files(self, images: Images, *, second: bool) -> list[tuple[str, Path]]:
        """(role, path) of every file that a reading is made of; a file in two roles is there twice."""
        return [(role, path) for role, place in _places(images, second=second) for path in _below(place)]

    def read(self, images: Images, *, second: bool) -> Reading:
        """Cut both phases. Raises InvalidInput where the node would refuse, or the contour cannot be told."""
        contours = images.second if second else images.contours
        pile = _pile([place for _, place in _places(images, second=second)])
        if contours:
            cuts = [self._cut_phase(phase, images, contours[phase], pile) for phase in PHASES]
        else:
            cuts = self._cut_study(pile)
        return Reading(
            crops_hu=np.stack([cut.crop_hu for cut in cuts]),
            longest_diameter_mm=max(longest_diameter_mm(cut.roi) for cut in cuts),
            remarks=tuple(dict.fromkeys(remark for cut in cuts for remark in cut.remarks)),
        )

    # ------------------------------------------------------------ a whole study

    def _cut_study(self, pile: Pile) -> list[PhaseCrop]:
        case = judge_studies(pile, self.config)[0]
        if case.conflict:
            raise case.conflict
        if case.found.reason:
            raise InvalidInput(case.found.reason, case.found.detail, case.found.candidates)
        by_phase = {case.phases.get(need.series_instance_uid): need for need in case.found.needs}
        if not set(PHASES) <= set(by_phase):
            waits = "; ".join(wait.text for wait in case.found.waiting_for[:2]) or "contours on both phases"
            raise InvalidInput(Reason.PHASE_SINGLE, f"the study is not complete: {waits}")
        needs = [by_phase[phase] for phase in PHASES]
        return [_cut(case.found, need, _roi_of(need, pile.rois), pile) for need in needs]

    # ------------------------------------------------------------ a phase by itself

    def _cut_phase(self, phase: Phase, images: Images, contour: Contour, pile: Pile) -> PhaseCrop:
        """Cut one phase; the pile holds both, so that a contour drawn on the other phase is seen to be."""
        folder = images.folders.get(phase) or images.study
        assert folder is not None
        series = series_views(pile.instances)
        own = [view for view in series if view.planes and _lies_in(view, folder, pile)]
        if not own:
            raise InvalidInput(Reason.SLICES_MISSING, f"there is no DICOM image in {folder.name}")
        label_image = is_label_image(contour.path)
        rois = list(read_label_image(contour.path) if label_image else _of_file(pile, contour.path))
        roi = _chosen(rois, contour, roi_rules(self.config))
        views = own if label_image else series
        choice = Choices(rois={phase: f"{roi.object_uid}#{roi.number}"})
        found = assess(views, [roi], NAMELESS, choice, quiet=True, fetch_exhausted=True)
        if found.reason:
            raise InvalidInput(found.reason, found.detail, found.candidates)
        if not found.needs:
            detail = f"the {phase} contour names images that are not in its folder"
            raise InvalidInput(Reason.SLICES_MISSING, detail)
        need = found.needs[0]
        if need.series_instance_uid not in {view.series_instance_uid for view in own}:
            detail = (
                f"the {phase} contour was drawn on images outside the {phase} folder: are the phases swapped?"
            )
            raise InvalidInput(Reason.ROI_SOURCE, detail)
        return _cut(found, need, roi, pile)


def _lies_in(view: SeriesView, folder: Path, pile: Pile) -> bool:
    """Whether a series' images are below the folder."""
    return all(pile.paths[plane.sop_instance_uid].is_relative_to(folder) for plane in view.planes)


def _places(images: Images, *, second: bool) -> list[tuple[str, Path]]:
    """(role, folder or file) of all that a reading is made of, in a fixed order."""
    contours = images.second if second else images.contours
    return [
        *((f"{phase} images", images.folders[phase]) for phase in PHASES if phase in images.folders),
        *([("study", images.study)] if images.study else []),
        *((_role(phase, contours[phase]), contours[phase].path) for phase in PHASES if phase in contours),
    ]


def _role(phase: Phase, contour: Contour) -> str:
    """What a contour file is there for: the number says which of its ROIs is meant."""
    return f"{phase} contour" if contour.number is None else f"{phase} contour #{contour.number}"


def _below(place: Path) -> list[Path]:
    """Every file of a folder; a place that is none stands for itself, even where it is gone."""
    return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def _pile(places: Sequence[Path]) -> Pile:
    paths = [path for place in places for path in _below(place) if not is_label_image(path)]
    pile = read_pile(list(dict.fromkeys(paths)))
    if not pile.instances:
        raise InvalidInput(Reason.SLICES_MISSING, f"there is no DICOM object in {places[0].name}")
    return pile


def _of_file(pile: Pile, path: Path) -> list[Roi]:
    """ROIs of one contour object, though the folder may hold others."""
    mine = {uid for uid, known in pile.paths.items() if known == path}
    found = [roi for roi in pile.rois if roi.object_uid in mine]
    if not found:
        told = next((problem for problem in pile.problems if str(path) in problem), "")
        detail = told.replace(str(path), path.name) or f"{path.name} holds no contours"
        raise InvalidInput(Reason.ROI_UNREADABLE, detail)
    return found


def _chosen(rois: Sequence[Roi], contour: Contour, rules: Rules) -> Roi:
    """The ROI that the table means: by number, or the only one, or the only one that is called tumour."""
    if contour.number is not None:
        numbered = [roi for roi in rois if roi.number == contour.number]
        if not numbered:
            raise InvalidInput(Reason.ROI_NONE, f"{contour.path.name} has no ROI #{contour.number}")
        return numbered[0]
    named = rois if len(rois) == 1 else [roi for roi in rois if rules.match(roi)]
    if len(named) == 1:
        return named[0]
    candidates = tuple(f"{contour.path.name}#{roi.number} '{roi.name}'" for roi in rois)
    reason = Reason.ROI_SEVERAL if named else Reason.ROI_NONE
    raise InvalidInput(reason, f"name one of {', '.join(candidates)} in the table", candidates)


def _roi_of(need: NeedSet, rois: Sequence[Roi]) -> Roi:
    return next(roi for roi in rois if need.roi.names(roi))


def _cut(found: Assessment, need: NeedSet, roi: Roi, pile: Pile) -> PhaseCrop:
    """Cut a need-set; its remarks are all that was noticed while it was found, the way from contour to series too."""
    first = need.planes[0].sop_instance_uid
    card = next(instance.card for instance in pile.instances if instance.sop_instance_uid == first)
    frame = card.get("frame_of_reference_uid") or None
    noticed = replace(need, remarks=found.remarks)
    return cut_phase(noticed, roi, frame, lambda planes: read_planes(pile, planes))
