"""Notices that the hospital's file of covariates has changed, and has the cases that it concerns scored again."""

from __future__ import annotations

import threading

from prognode.events import facts
from prognode.ports import ClinicalSource, Index

LOOK_EVERY_S = 1.0


def watch_clinical(
    index: Index, source: ClinicalSource, on_facts: threading.Event, stop: threading.Event
) -> None:
    """Publish ``clinical-updated`` for every scored case after each change of the source.

    A case whose covariates are as before gives the same report again, which every PACS already has.
    """
    while not stop.wait(LOOK_EVERY_S):
        if source.changed():
            source.lookup("", "")  # reads the file, so that it counts as seen
            republish(index)
            on_facts.set()


def republish(index: Index) -> None:
    """Have every case whose crops were scored look up its covariates again, also one that was refused for them."""
    for case in index.cases():
        if "crop_key" in case.outcome:
            values = index.clinical(case.case_id)
            index.save_clinical(case.case_id, values, [facts.clinical_updated(case.case_id)])
