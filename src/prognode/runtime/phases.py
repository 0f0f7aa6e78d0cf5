"""Header values of durable series as phase evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from prognode.domain.phase import ContrastTiming, SeriesHeader
from prognode.ports import JSON, Instance


def series_header(members: Sequence[Instance]) -> SeriesHeader:
    """Description and contrast timing of one series: the earliest acquisition speaks for it."""
    cards = [instance.card for instance in members]
    acquired = [seconds for card in cards if (seconds := _acquired_at_s(card)) is not None]
    injected = [
        seconds
        for card in cards
        if (seconds := _moment_s(_date(card), str(card.get("contrast_bolus_start_time") or ""))) is not None
    ]
    timing = ContrastTiming(min(acquired, default=None), min(injected, default=None))
    first = min(members, key=lambda instance: instance.sop_instance_uid)
    return SeriesHeader(
        members[0].series_instance_uid, str(first.card.get("series_description") or ""), timing
    )


def series_headers(instances: Iterable[Instance], series_uids: Sequence[str]) -> list[SeriesHeader]:
    """Headers of the named series, in that order."""
    members: dict[str, list[Instance]] = {uid: [] for uid in series_uids}
    for instance in instances:
        if instance.series_instance_uid in members:
            members[instance.series_instance_uid].append(instance)
    return [series_header(found) for found in members.values() if found]


def _acquired_at_s(card: JSON) -> float | None:
    """Seconds on the scanner's clock: AcquisitionDateTime, or AcquisitionDate and AcquisitionTime."""
    whole = str(card.get("acquisition_datetime") or "")
    if len(whole) >= 14:
        return _moment_s(whole[:8], whole[8:])
    return _moment_s(_date(card), str(card.get("acquisition_time") or ""))


def _date(card: JSON) -> str:
    return str(card.get("acquisition_date") or card.get("series_date") or card.get("study_date") or "")


@lru_cache(maxsize=4096)
def _moment_s(date: str, time: str) -> float | None:
    """DICOM DA and TM as seconds; None when either is absent or makes no sense (PS3.5 6.2)."""
    head, _, fraction = re.split("[+-]", time, maxsplit=1)[0].strip().partition(".")
    try:
        moment = datetime.strptime(date.strip() + head.ljust(6, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - differences only
        return moment.timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        return None
