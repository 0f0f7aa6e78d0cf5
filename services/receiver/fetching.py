"""Asks configured peers for the images that a case still lacks: exactly those, each once per quiet time.

Images that the contours name are asked for by UID. Where only a position is known, the peer is asked which image lies
there (IMAGE-level C-FIND with positions), and that one is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import structlog

from prognode.domain.geometry import ImagePlane, unit_normal
from prognode.domain.need_set import NeedSet
from prognode.domain.readiness import Assessment, Wait
from prognode.errors import Unavailable
from prognode.ports import Pacs

log = structlog.get_logger()

NEAR = 0.5
"""An image belongs to a position when it lies within this part of a gap."""


@dataclass
class Fetcher:
    """Fetches in the background, so that one slow peer holds up no other study."""

    sources: Sequence[Pacs]
    """Peers in the order in which they are asked."""
    on_failed: Callable[[str], object] = lambda _study_uid: None
    """Called with the study when a peer could not be asked, so that it is asked again."""
    _asked: set[tuple[str, str]] = field(default_factory=set, init=False)
    _thread: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fetch")

    def fetch(self, study_uid: str, found: Assessment) -> bool:
        """Start to fetch what is missing; True when all of it has been asked for before, so that nothing will come."""
        if not self.sources:
            return False
        wanted = [wait for wait in found.waiting_for if wait.series_instance_uid and wait.kind != "contours"]
        fresh = [wait for wait in wanted if _key(study_uid, wait) not in self._asked]
        if fresh:
            self._asked.update(_key(study_uid, wait) for wait in fresh)
            self._thread.submit(self._fetch, study_uid, found.needs, fresh)
        return bool(wanted) and not fresh

    def _fetch(self, study_uid: str, needs: Sequence[NeedSet], waits: Sequence[Wait]) -> None:
        planes = {need.series_instance_uid: need.planes for need in needs}
        for series_uid in dict.fromkeys(wait.series_instance_uid for wait in waits):
            of_series = [wait for wait in waits if wait.series_instance_uid == series_uid]
            self._fetch_series(study_uid, str(series_uid), of_series, planes.get(str(series_uid), ()))

    def _fetch_series(
        self, study_uid: str, series_uid: str, waits: Sequence[Wait], planes: Sequence[ImagePlane]
    ) -> None:
        for source in self.sources:
            try:
                uids = _images(source, study_uid, series_uid, waits, planes)
                sent = source.fetch(study_uid, series_uid, uids) if uids else 0
            except Unavailable as fault:
                log.warning("fetch-failed", peer=source.name, images=len(waits), why=str(fault))
                # it did not say no: it is asked again after the next quiet time
                self._asked.difference_update(_key(study_uid, wait) for wait in waits)
                self.on_failed(study_uid)
                continue
            log.info("fetched", peer=source.name, asked=len(uids), sent=sent)
            if sent >= len(waits):
                return


def _key(study_uid: str, wait: Wait) -> tuple[str, str]:
    where = wait.sop_instance_uid or f"{wait.series_instance_uid} {wait.offset_mm}"
    return study_uid, where


def _images(
    source: Pacs, study_uid: str, series_uid: str, waits: Sequence[Wait], planes: Sequence[ImagePlane]
) -> list[str]:
    """UIDs to ask ``source`` for: those that are named, and those that lie at the positions that are not."""
    named = [wait.sop_instance_uid for wait in waits if wait.sop_instance_uid]
    offsets = [wait.offset_mm for wait in waits if not wait.sop_instance_uid and wait.offset_mm is not None]
    if offsets and len(planes) > 1:
        named += _at(offsets, source.find_images(study_uid, series_uid), planes)
    return sorted(set(named))


def _at(
    offsets_mm: Iterable[float], images: Iterable[dict[str, object]], planes: Sequence[ImagePlane]
) -> list[str]:
    """UIDs of the images at those offsets along the planes' normal that are not among ``planes``."""
    # the planes ascend along the normal that the offsets are measured on
    way = np.subtract(planes[-1].position_lps_mm, planes[0].position_lps_mm)
    normal = np.array(unit_normal(planes[0].row_cosines, planes[0].column_cosines))
    normal *= np.sign(normal @ way)
    gap = float(normal @ way) / (len(planes) - 1)
    here = {plane.sop_instance_uid for plane in planes}
    found = []
    for image in images:
        uid, position = image.get("sop_instance_uid"), image.get("position_lps_mm")
        if uid in here or position is None:
            continue
        offset = float(np.dot(np.asarray(position, dtype=float), normal))
        if any(abs(offset - wanted) <= NEAR * gap for wanted in offsets_mm):
            found.append(str(uid))
    return found
