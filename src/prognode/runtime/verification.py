"""Whether index and objects belong together: what a restored node, or one that lost a disk, is asked first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prognode.dicom.part10 import data_set_of
from prognode.ports import Case, Index, Instance, ObjectStore


@dataclass(frozen=True, slots=True)
class Fault:
    """An object that the index names and the store does not hold as it was."""

    study_instance_uid: str
    sop_instance_uid: str
    why: str
    """``missing``, or ``other bytes``."""


def faults(
    index: Index, objects: ObjectStore, on_checked: Callable[[str], None] = lambda _study: None
) -> Iterator[Fault]:
    """Read every image and every current report that the index names; ``on_checked`` is told of each study.

    Images are compared by their SHA-256. Raises Unavailable.
    """
    reports = {case.study_instance_uid: case for case in index.cases()}
    for study in index.studies():
        for instance in index.instances(study):
            why = _fault_of(instance, objects)
            if why:
                yield Fault(study, instance.sop_instance_uid, why)
        yield from _missing_reports(reports.get(study), objects)
        on_checked(study)


def _fault_of(instance: Instance, objects: ObjectStore) -> str:
    try:
        file = objects.get(instance.object_key)
    except KeyError:
        return "missing"
    digest = hashlib.sha256(instance.transfer_syntax_uid.encode() + b"\0")
    digest.update(data_set_of(file))
    return "" if digest.hexdigest() == instance.sha256 else "other bytes"


def _missing_reports(case: Case | None, objects: ObjectStore) -> Iterator[Fault]:
    sr = case.outcome.get("sr") if case else None
    if case is None or sr is None:
        return
    if not all(objects.exists(key) for key in (*sr["object_keys"], sr["json_key"])):
        yield Fault(case.study_instance_uid, sr["sop_instance_uid"], "missing")
