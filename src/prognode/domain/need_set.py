"""Which images a crop needs, told from the contours' references and from the images that are there so far.

A case must start the moment its last needed image is durable, and must not start a moment earlier: an image that is
still on its way may lie between two that have arrived. So every need-set rests on an *order* of the series, which says
which images are neighbours and where the series ends. From the strongest to the weakest:

``listed``   the ROI object lists more images than it has cross-sections, in the order of their positions: the list is
             the series. It names what is missing, tells the neighbours, and ends where the series ends. Two positions
             (images, or cross-sections that name their image) suffice to place all others.
``closed``   nothing more is to come: all images of an unordered whole-series list are here, a multi-frame object holds
             the series, or nothing arrived for the grace period (``quiet``) and no better order can be had.
``numbered`` Instance Numbers rise or fall with position: images are neighbours when their numbers differ by one, which
             every second image arriving first cannot imitate. Images at the same distance are neighbours too, though
             a number was left out between them. Where the series ends is not known.
``spaced``   no numbers, but the images lie as far apart as the contours, or fewer images are outstanding than there are
             gaps of one width, so that none can hide in each of them. Where the series ends is not known.

Where no order can be had, the need-set is not known yet, and the case waits. An end that is not known counts as proven
when the spline's margin is reached before it; else the grace period decides, and a remark says so in the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from math import ceil, floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prognode.domain.crop import (
    MARGIN_SLICES,
    STEEP,
    CropWindow,
    ZExtent,
    choose_window_between,
    corners_z_mm,
    offset_range_mm,
    z_of_offset_mm,
)
from prognode.domain.geometry import (
    ImagePlane,
    Stack,
    Vector,
    build_stack,
    check_even,
    facing,
    most_frequent_gap,
    tolerance_mm,
    unit_normal,
)
from prognode.domain.phase import ContrastTiming
from prognode.domain.roi import Roi, RoiKind, largest_section
from prognode.errors import InvalidInput, Reason

Basis = Literal["listed", "closed", "numbered", "spaced"]
Floats = NDArray[np.float64]

UNPROVEN_END = (
    "the series is taken to end where its images ended when nothing more arrived; no list proves it"
)

_ON_PLANE = 0.02
"""Positions drift by about 1 % of a gap; a sample that near to a plane lies on it."""


@dataclass(frozen=True, slots=True)
class SeriesView:
    """One image series, with the planes that are durable so far."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    frame_of_reference_uid: str | None
    planes: tuple[ImagePlane, ...]
    description: str = ""
    timing: ContrastTiming | None = None
    problems: tuple[str, ...] = ()
    unusable_uids: tuple[str, ...] = ()
    """Images of the series that are here and are no planes (localizers, images without position): a list of the
    series may name them, and nothing waits for them."""


@dataclass(frozen=True, slots=True)
class RoiKey:
    """Which ROI of which object."""

    kind: RoiKind
    object_uid: str
    number: int
    name: str

    @classmethod
    def of(cls, roi: Roi) -> RoiKey:
        return cls(roi.kind, roi.object_uid, roi.number, roi.name)

    def names(self, roi: Roi) -> bool:
        """Whether ``roi`` is the one."""
        return (self.object_uid, self.number) == (roi.object_uid, roi.number)


@dataclass(frozen=True, slots=True)
class MissingImage:
    """An image that the crop needs and that is not here: its UID where a list tells it, and where it lies."""

    sop_instance_uid: str | None
    offset_mm: float | None
    """Along the planes' normal."""
    beyond: bool = False
    """It lies beyond the outermost image that has arrived, and nothing proves that it exists."""


@dataclass(frozen=True, slots=True)
class NeedSet:
    """The images that one crop needs."""

    series_instance_uid: str
    roi: RoiKey
    window: CropWindow | None
    """None while too little is known to place it."""
    planes: tuple[ImagePlane, ...]
    """Needed and present, ascending along the normal."""
    missing: tuple[MissingImage, ...]
    proven_ends: bool
    """Whether the margin is whole, or ends where the series provably ends."""
    basis: Basis | None
    """How the order of the series is known; None: it is not."""
    remarks: tuple[str, ...] = ()
    """What the report must say about it."""

    @property
    def complete(self) -> bool:
        """Whether every needed image is here."""
        return self.window is not None and not self.missing

    @property
    def sop_instance_uids(self) -> tuple[str, ...]:
        """Needed and present, ascending, without repeats."""
        return tuple(dict.fromkeys(plane.sop_instance_uid for plane in self.planes))

    @property
    def missing_uids(self) -> tuple[str, ...]:
        """UIDs of the missing images that a list names: what can be fetched."""
        return tuple(dict.fromkeys(m.sop_instance_uid for m in self.missing if m.sop_instance_uid))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for storage."""
        return {
            "series_instance_uid": self.series_instance_uid,
            "roi": asdict(self.roi),
            "window": self.window.to_json() if self.window else None,
            "planes": [asdict(plane) for plane in self.planes],
            "sop_instance_uids": list(self.sop_instance_uids),
            "missing": [asdict(image) for image in self.missing],
            "proven_ends": self.proven_ends,
            "basis": self.basis,
            "remarks": list(self.remarks),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NeedSet:
        """Inverse of :meth:`to_json`."""
        return cls(
            series_instance_uid=value["series_instance_uid"],
            roi=RoiKey(**value["roi"]),
            window=CropWindow.from_json(value["window"]) if value["window"] else None,
            planes=tuple(_plane_from_json(plane) for plane in value["planes"]),
            missing=tuple(MissingImage(**image) for image in value["missing"]),
            proven_ends=value["proven_ends"],
            basis=value["basis"],
            remarks=tuple(value["remarks"]),
        )


def _plane_from_json(value: Mapping[str, Any]) -> ImagePlane:
    vectors = ("position_lps_mm", "row_cosines", "column_cosines")
    return ImagePlane(**{**value, **{name: tuple(value[name]) for name in vectors}})


# ---------------------------------------------------------------- the order of a series


@dataclass(frozen=True, slots=True)
class Order:
    """Whole numbers for images such that neighbours differ by one, ascending along the normal."""

    basis: Basis
    keys: NDArray[np.int64]
    """Ascending, of the images and cross-sections whose position is known."""
    offsets_mm: Floats
    """Strictly ascending, beside ``keys``."""
    key_of: Mapping[tuple[str, int], int]
    """Key of each present plane, by SOP Instance UID and frame."""
    uid_of: Mapping[int, str]
    """UID by key, where a list tells it."""
    bounds: tuple[int | None, int | None] = (None, None)
    """First and last key of the series, None where that is not known."""
    ends_proven: bool = True
    """False: the bounds are those of what had arrived when nothing more came."""

    def offset_mm(self, key: float) -> float:
        """Position of a key, by the nearest known positions on both sides, else by the two at that end."""
        return _through(self.keys.astype(np.float64), self.offsets_mm, key)

    def key(self, offset_mm: float) -> float:
        """Continuous key of a position."""
        return _through(self.offsets_mm, self.keys.astype(np.float64), offset_mm)

    def gap_mm(self, offset_mm: float) -> float:
        """Distance of neighbours at a position."""
        key = floor(self.key(offset_mm))
        return self.offset_mm(key + 1) - self.offset_mm(key)


def _through(x: Floats, y: Floats, at: float) -> float:
    """Piecewise linear through ascending points, extended straight beyond the ends; one point has slope 1."""
    if len(x) == 1:
        return float(y[0] + at - x[0])
    right = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return float(y[right - 1] + share * (y[right] - y[right - 1]))


@dataclass(frozen=True, slots=True)
class _Positions:
    """What is known of where images lie: present planes by offset, and cross-sections that name their image."""

    normal: Vector
    planes: tuple[ImagePlane, ...]
    """Ascending."""
    offsets_mm: tuple[float, ...]
    section_offsets_mm: tuple[float, ...]
    section_uids: Mapping[str, float]

    @classmethod
    def of(cls, view: SeriesView, roi: Roi) -> _Positions:
        normal = _usual_normal(view.planes, roi.normal)
        along = [float(np.dot(plane.position_lps_mm, normal)) for plane in view.planes]
        order = sorted(range(len(along)), key=along.__getitem__)
        middles = [_section_offset(section.outlines, normal) for section in roi.sections]
        named = {
            s.sop_instance_uid: o for s, o in zip(roi.sections, middles, strict=True) if s.sop_instance_uid
        }
        return cls(
            normal,
            tuple(view.planes[i] for i in order),
            tuple(along[i] for i in order),
            tuple(sorted(middles)),
            named,
        )

    @property
    def multi_frame(self) -> bool:
        """Whether frames of one object make the series."""
        return len({plane.sop_instance_uid for plane in self.planes}) < len(self.planes)


def _usual_normal(planes: Sequence[ImagePlane], otherwise: Vector) -> Vector:
    cosines = Counter((plane.row_cosines, plane.column_cosines) for plane in planes)
    if not cosines:
        return facing(np.array(otherwise))
    (row, column), _ = cosines.most_common(1)[0]
    return unit_normal(row, column)


def _section_offset(outlines: Sequence[Floats], normal: Vector) -> float:
    along = np.concatenate(outlines) @ np.array(normal)
    return float(along.min() + along.max()) / 2


def order_of(
    positions: _Positions, listed: Sequence[str], *, quiet: bool, fetch_exhausted: bool = False
) -> Order | None:
    """The strongest order that can be had now; None: the neighbours are not known yet."""
    whole = _is_whole_series(positions, listed)
    if whole and not positions.multi_frame and (order := _listed(positions, listed)):
        return order
    if positions.planes and _all_here(positions, listed, whole=whole):
        return _closed(positions, proven=True)
    order = _numbered(positions) or _spaced(positions, listed if whole else ())
    if not quiet or not positions.planes:
        return order
    if order is None or (fetch_exhausted and not _has_successive_numbers(positions)):
        return _closed(positions, proven=False)
    return replace(order, bounds=(int(order.keys[0]), int(order.keys[-1])), ends_proven=False)


def _is_whole_series(positions: _Positions, listed: Sequence[str]) -> bool:
    """Whether the ROI object lists the series: more images than it was drawn on, and none has come that it lacks."""
    index = {uid: position for position, uid in enumerate(listed)}
    drawn = max(len(positions.section_uids), len(positions.section_offsets_mm))
    if len(index) <= drawn or any(plane.sop_instance_uid not in index for plane in positions.planes):
        return False
    by_offset = [
        (index[p.sop_instance_uid], o) for p, o in zip(positions.planes, positions.offsets_mm, strict=True)
    ]
    by_number = [(index[plane.sop_instance_uid], plane.instance_number) for plane in positions.planes]
    return not (_direction(by_offset) and _numbers_contradict(by_number))


def _listed(positions: _Positions, listed: Sequence[str]) -> Order | None:
    index = {uid: position for position, uid in enumerate(listed)}
    present = {
        plane.sop_instance_uid: o for plane, o in zip(positions.planes, positions.offsets_mm, strict=True)
    }
    drawn = {uid: o for uid, o in positions.section_uids.items() if uid in index}
    for known in ({**drawn, **present}, present):
        direction = _direction([(index[uid], offset) for uid, offset in known.items()])
        if direction:
            break
    else:
        return None
    pairs = sorted((direction * index[uid], offset) for uid, offset in known.items())
    last = len(listed) - 1
    return Order(
        "listed",
        np.array([key for key, _ in pairs]),
        np.array([offset for _, offset in pairs]),
        {
            (plane.sop_instance_uid, plane.frame): direction * index[plane.sop_instance_uid]
            for plane in positions.planes
        },
        {direction * position: uid for uid, position in index.items()},
        (0, last) if direction > 0 else (-last, 0),
    )


def _direction(pairs: Sequence[tuple[int, float]]) -> int:
    """1 when offsets strictly rise with the first number, -1 when they strictly fall, 0 otherwise or with one pair."""
    ordered = np.array(sorted(pairs))
    if len(ordered) < 2:
        return 0
    steps = np.diff(ordered[:, 1])
    numbers_differ = bool((np.diff(ordered[:, 0]) > 0).all())
    return (1 if (steps > 0).all() else -1 if (steps < 0).all() else 0) if numbers_differ else 0


def _numbers_contradict(pairs: Sequence[tuple[int, int | None]]) -> bool:
    """Whether Instance Numbers say that most list neighbours have images between them: the list is then a selection."""
    ordered = sorted((position, number) for position, number in pairs if number is not None)
    steps = [
        abs(number - before) > position - previous
        for (previous, before), (position, number) in pairwise(ordered)
    ]
    return len(steps) > 0 and 2 * sum(steps) > len(steps)


def _all_here(positions: _Positions, listed: Sequence[str], *, whole: bool) -> bool:
    """Whether it is certain that nothing more is to come."""
    here = {plane.sop_instance_uid for plane in positions.planes}
    if positions.multi_frame:  # one object is a series, unless the list names several
        return here >= set(listed) or not here & set(listed)
    return bool(here) and whole and here >= set(listed)


def _closed(positions: _Positions, *, proven: bool) -> Order:
    """Present planes in turn; planes at one position share a key, so that the fault is seen where it is needed."""
    keys: list[int] = []
    offsets: list[float] = []
    key_of: dict[tuple[str, int], int] = {}
    for plane, offset in zip(positions.planes, positions.offsets_mm, strict=True):
        if not offsets or offset - offsets[-1] > 0.01:
            keys.append(len(keys))
            offsets.append(offset)
        key_of[plane.sop_instance_uid, plane.frame] = keys[-1]
    return Order("closed", np.array(keys), np.array(offsets), key_of, {}, (0, keys[-1]), proven)


def _numbered(positions: _Positions) -> Order | None:
    numbers = [plane.instance_number for plane in positions.planes]
    pairs = [
        (number, o) for number, o in zip(numbers, positions.offsets_mm, strict=True) if number is not None
    ]
    direction = _direction(pairs) if len(pairs) == len(numbers) and not positions.multi_frame else 0
    if not direction:
        return None
    successive = _successive_gaps(positions)
    if successive and (order := _even(positions, float(np.median(successive)), "numbered")):
        return order  # a number may be left out where no image is: positions are then the better witness
    keys = [direction * number for number, _ in pairs]
    return Order(
        "numbered", np.array(keys), np.array(positions.offsets_mm), _keys_of_planes(positions, keys), {}
    )


def _successive_gaps(positions: _Positions) -> list[float]:
    """Distances of images whose Instance Numbers follow each other."""
    placed = list(zip(positions.planes, positions.offsets_mm, strict=True))
    return [
        high - low
        for (below, low), (above, high) in pairwise(placed)
        if below.instance_number is not None
        and above.instance_number is not None
        and abs(above.instance_number - below.instance_number) == 1
    ]


def _has_successive_numbers(positions: _Positions) -> bool:
    return bool(_successive_gaps(positions))


def _keys_of_planes(positions: _Positions, keys: Sequence[int]) -> dict[tuple[str, int], int]:
    return {(p.sop_instance_uid, p.frame): key for p, key in zip(positions.planes, keys, strict=True)}


def _spaced(positions: _Positions, whole_list: Sequence[str]) -> Order | None:
    """Even spacing, once it is certain that no image hides in every gap."""
    gap = _certain_gap(positions, whole_list)
    return None if gap is None else _even(positions, gap, "spaced")


def _even(positions: _Positions, gap_mm: float, basis: Basis) -> Order | None:
    """Keys by position, if every image lies on the even grid."""
    start = positions.offsets_mm[0]
    keys = [round((offset - start) / gap_mm) for offset in positions.offsets_mm]
    on_grid = [start + key * gap_mm for key in keys]
    if any(abs(at - offset) > 0.1 * gap_mm for at, offset in zip(on_grid, positions.offsets_mm, strict=True)):
        return None
    by_key = dict(zip(keys, positions.offsets_mm, strict=True))
    return Order(
        basis,
        np.array(list(by_key)),
        np.array(list(by_key.values())),
        _keys_of_planes(positions, keys),
        {},
    )


def _certain_gap(positions: _Positions, whole_list: Sequence[str]) -> float | None:
    gaps = np.diff(np.array(positions.offsets_mm))
    gaps = gaps[gaps > 0.01]
    if len(gaps) < 2:
        return None
    smallest = float(gaps.min())
    alike = int((gaps <= smallest + tolerance_mm(smallest)).sum())
    outstanding = len(set(whole_list)) - len(positions.planes)
    if whole_list and outstanding < alike:
        return smallest
    numbered = any(plane.instance_number is not None for plane in positions.planes)
    drawn = most_frequent_gap(positions.section_offsets_mm)
    if drawn is None or (numbered and _numbers_differ(positions.planes)):
        return None
    return smallest if abs(drawn - smallest) <= max(0.1, tolerance_mm(smallest)) else None


def _numbers_differ(planes: Sequence[ImagePlane]) -> bool:
    return len({plane.instance_number for plane in planes}) > 1


# ---------------------------------------------------------------- from an order to a need-set


def find_needs(view: SeriesView, roi: Roi, *, quiet: bool = False, fetch_exhausted: bool = False) -> NeedSet:
    """The images that the crop of ``roi`` needs of the series it was drawn on.

    ``quiet``: nothing of the study has arrived for the grace period, so that the series counts as ending where its
    images end. Images that numbers or positions show to lie between are still missed. ``fetch_exhausted``: nor will
    they come; where no two Instance Numbers follow each other, the numbers are then taken to count in larger steps.
    Raises InvalidInput as :func:`prognode.domain.crop.choose_window_between` does; geometry is checked by
    :func:`check_geometry` once the need-set is complete.
    """
    positions = _Positions.of(view, roi)
    listed = [uid for uid in dict.fromkeys(roi.referenced_image_uids) if uid not in view.unusable_uids]
    order = order_of(positions, listed, quiet=quiet, fetch_exhausted=fetch_exhausted)
    if order is None:
        return _unknown(view, roi, positions)
    try:
        return _placed(view, roi, positions, order)
    except InvalidInput:
        if order.ends_proven or fetch_exhausted:
            raise
        return _unknown(view, roi, positions)  # too short a series may only be one that is still on its way


def _unknown(view: SeriesView, roi: Roi, positions: _Positions) -> NeedSet:
    uid = view.series_instance_uid
    return NeedSet(uid, RoiKey.of(roi), None, (), _unplaced(roi, positions), False, None)


def _placed(view: SeriesView, roi: Roi, positions: _Positions, order: Order) -> NeedSet:
    largest_mm = _section_offset(largest_section(roi).outlines, positions.normal)
    z_extent = _z_extent(roi, positions, order)
    window = choose_window_between(roi, positions.normal, order.gap_mm(largest_mm), z_extent)
    wanted = _wanted_keys(window, positions.normal, order, largest_mm)
    return replace(_need_set(view.series_instance_uid, roi, positions, order, wanted), window=window)


def _unplaced(roi: Roi, positions: _Positions) -> tuple[MissingImage, ...]:
    """Without an order, only the image of the largest cross-section is sure to be needed."""
    section = largest_section(roi)
    here = {plane.sop_instance_uid for plane in positions.planes}
    if section.sop_instance_uid in here:
        return ()
    return (MissingImage(section.sop_instance_uid, _section_offset(section.outlines, positions.normal)),)


def _z_extent(roi: Roi, positions: _Positions, order: Order) -> ZExtent:
    """LPS z of the ends that are known; steep planes end where their corners lie."""
    if abs(positions.normal[2]) < STEEP:
        corners = [z for plane in positions.planes[:1] for z in corners_z_mm(plane)]
        return (min(corners), max(corners)) if corners else (None, None)
    ends = [None if key is None else order.offset_mm(key) for key in order.bounds]
    low, high = (None if end is None else z_of_offset_mm(roi, positions.normal, end) for end in ends)
    return low, high


def _wanted_keys(
    window: CropWindow, normal: Vector, order: Order, largest_offset_mm: float
) -> tuple[int, int]:
    """Keys of the window's planes and the spline's margin, and of the plane with the largest cross-section."""
    low_mm, high_mm = offset_range_mm(window, normal)
    first = floor(order.key(low_mm) + _ON_PLANE) - MARGIN_SLICES
    last = ceil(order.key(high_mm) - _ON_PLANE) + MARGIN_SLICES
    drawn = round(order.key(largest_offset_mm))
    return min(first, drawn), max(last, drawn)


def _need_set(
    series_uid: str, roi: Roi, positions: _Positions, order: Order, wanted: tuple[int, int]
) -> NeedSet:
    """The keys from ``wanted`` that the series has, sorted into present and missing; the window is set by the caller."""
    first = wanted[0] if order.bounds[0] is None else max(wanted[0], order.bounds[0])
    last = wanted[1] if order.bounds[1] is None else min(wanted[1], order.bounds[1])
    if first > last:
        raise InvalidInput(Reason.OUTSIDE_IMAGES, f"ROI {roi.number} lies beyond the first or last image")
    present = set(order.key_of.values())
    proven = (first, last) == wanted or order.ends_proven
    return NeedSet(
        series_instance_uid=series_uid,
        roi=RoiKey.of(roi),
        window=None,
        planes=tuple(
            p for p in positions.planes if first <= order.key_of[p.sop_instance_uid, p.frame] <= last
        ),
        missing=tuple(
            _missing(key, order, positions) for key in range(first, last + 1) if key not in present
        ),
        proven_ends=proven,
        basis=order.basis,
        remarks=() if proven else (UNPROVEN_END,),
    )


def _missing(key: int, order: Order, positions: _Positions) -> MissingImage:
    offset = order.offset_mm(key)
    beyond = not positions.offsets_mm or not positions.offsets_mm[0] < offset < positions.offsets_mm[-1]
    uid = order.uid_of.get(key) or _drawn_on(offset, positions, order)
    return MissingImage(uid, offset, beyond and uid is None)


def _drawn_on(offset_mm: float, positions: _Positions, order: Order) -> str | None:
    """UID of the image at a position, when a cross-section names it."""
    near = order.gap_mm(offset_mm) / 4
    here = {plane.sop_instance_uid for plane in positions.planes}
    named = ((abs(o - offset_mm), uid) for uid, o in positions.section_uids.items() if uid not in here)
    distance, uid = min(named, default=(np.inf, None))
    return uid if distance <= near else None


def check_geometry(view: SeriesView, need: NeedSet) -> Stack:
    """The stack of a complete need-set.

    Raises InvalidInput: MIXED_GEOMETRY, SAME_POSITION, GANTRY_TILT, UNEVEN_GAPS, SLICES_MISSING, NO_POSITION,
    TOO_FEW_SLICES.
    """
    stack = build_stack(view.series_instance_uid, view.frame_of_reference_uid, need.planes)
    if len(stack.planes) < 2:
        raise InvalidInput(Reason.TOO_FEW_SLICES, "the series has a single image")
    check_even(stack, 0, len(stack.planes) - 1)
    return stack


def with_holes(need: NeedSet, stack_gap_mm: float, offsets_mm: Sequence[float]) -> NeedSet:
    """A need-set whose images have holes between them, with what is missing there named by position."""
    holes = [
        MissingImage(None, low + step * (high - low) / round((high - low) / stack_gap_mm))
        for low, high in pairwise(offsets_mm)
        for step in range(1, round((high - low) / stack_gap_mm))
    ]
    return replace(need, missing=(*need.missing, *holes))
