"""Whether a running node does its work: an echo, a synthetic study sent to it, and its report waited for.

The study is a new one each time, of a patient called SYNTHETIC: it makes a case in the node's index like any other, and its
report goes to every PACS that the node delivers to.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from prognode.adapters.dicom_pacs import DicomPacs
from prognode.adapters.dicom_sender import send_files
from prognode.adapters.pacs_settings import PacsSettings
from prognode.domain.identity import case_id
from prognode.errors import BadRequest, Unavailable
from prognode.ports import DELIVERED, JSON, Index
from prognode.runtime.case_actions import describe
from training.synthetic_study import StudySpec, generate_study, write_study

POLL_S = 0.5
ANSWER_LIMIT_S = 10.0
"""Time for one answer of the console."""
SMALL = {"slices": 60, "rows": 256, "columns": 256, "row_spacing_mm": 1.44, "column_spacing_mm": 1.44}
SLICE_SPACING_MM = 5.0

REPORTED = ("preliminary", "reported")

Look = Callable[[str], JSON | None]
"""Case id -> the case as the node describes it; None while there is none. Raises Unavailable."""


def by_console(address: str) -> Look:
    """Looks at cases over the console's HTTP interface. Raises BadRequest for what is no address."""
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise BadRequest(f"'{address}' is no address of a console; give http://HOST:PORT")

    def look(case: str) -> JSON | None:
        url = f"{address.rstrip('/')}/api/cases/{case}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_LIMIT_S) as answer:  # noqa: S310 - the scheme is checked
                found: JSON = json.load(answer)
                return found
        except urllib.error.HTTPError as fault:
            if fault.code == 404:
                return None
            raise Unavailable(f"console: answered {fault.code}") from fault
        except (OSError, ValueError) as fault:
            raise Unavailable(f"console: {type(fault).__name__}") from fault

    return look


def by_index(index: Index) -> Look:
    """Looks at cases in the node's index."""

    def look(case: str) -> JSON | None:
        found = index.case(case)
        return describe(index, found) if found else None

    return look


def check_node(
    peer: PacsSettings, look: Look, seed: int, deliveries: int, limit_s: float, say: Callable[[str], object]
) -> JSON:
    """Echo, send a synthetic study, wait for its report and for ``deliveries`` PACS that have it; the case in the end.

    Raises Unavailable when the node does not answer, BadRequest when it refuses the study, finds it not evaluable, or has
    not reported within ``limit_s`` seconds.
    """
    DicomPacs(peer).echo()
    say(f"{peer.ae_title} answers")
    study = generate_study(StudySpec(seed=seed, slice_spacing_mm=SLICE_SPACING_MM, **SMALL))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="prognode-check-") as folder:
        files = write_study(study, Path(folder))
        faults = send_files(peer, files, lambda: None)
    if faults:
        raise BadRequest(f"{len(faults)} of {len(files)} objects were not stored; first: {faults[0]}")
    say(f"{len(files)} objects of a synthetic study stored, patient {study.patient_id}")
    return _wait(look, case_id(study.study_uid), deliveries, limit_s)


def _wait(look: Look, case: str, deliveries: int, limit_s: float) -> JSON:
    """The case as soon as its report is out and delivered."""
    end = time.monotonic() + limit_s
    last = "there is no case"
    while time.monotonic() < end:
        try:
            found = look(case)
        except Unavailable as fault:
            found, last = None, str(fault)
        if found is not None:
            if found["state"] == "not-evaluable":
                why = found["outcome"].get("reason", "")
                raise BadRequest(f"case {case}: the node finds the synthetic study not evaluable ({why})")
            there = sum(one["state"] in DELIVERED for one in found["deliveries"])
            if found["state"] in REPORTED and there >= deliveries:
                return found
            last = f"it is {found['state']}, {there} of {deliveries} PACS have the report"
        time.sleep(POLL_S)
    raise BadRequest(f"case {case}: no report within {limit_s:.0f} s; {last}")
