"""Sends whole folders of DICOM files, as a modality or a PACS would: one association, bytes as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from prognode.adapters.dicom_pacs import MAXIMUM_PDU_BYTES, PacsSettings, send_at_once, stand_still
from prognode.errors import Unavailable

CONTEXTS_PER_ASSOCIATION = 120
"""A requestor may propose 128 presentation contexts (PS3.8 9.3.2.2)."""

NO_ANSWER = "no answer"

Kind = tuple[str, str]
"""(SOP class, transfer syntax)."""


def send_files(peer: PacsSettings, files: Sequence[Path], on_sent: Callable[[], object]) -> list[str]:
    """C-STORE ``files`` in their order; ``on_sent`` after each. Returns a sentence for each that was not stored.

    Raises Unavailable when no association can be had.
    """
    kinds, faults = _kinds(files)
    wanted = list(dict.fromkeys(kinds.values()))[:CONTEXTS_PER_ASSOCIATION]
    if not wanted:
        return faults
    association = _associate(peer, wanted)
    ended = False
    try:
        for file in kinds:
            # once an answer is missing, the next one could be taken for it
            said = f"{file}: not sent, the association had ended" if ended else _send(association, file)
            ended = ended or said == f"{file}: {NO_ANSWER}"
            faults += [said] if said else []
            on_sent()
    finally:
        if association.is_established:
            association.release()
    return faults


def _kinds(files: Iterable[Path]) -> tuple[dict[Path, Kind], list[str]]:
    kinds: dict[Path, Kind] = {}
    faults = []
    for file in files:
        try:
            head = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            kinds[file] = (str(head.file_meta.MediaStorageSOPClassUID), str(head.file_meta.TransferSyntaxUID))
        except (InvalidDicomError, AttributeError, OSError):
            faults.append(f"{file} is not a DICOM file")
    return kinds, faults


def _associate(peer: PacsSettings, kinds: Sequence[Kind]) -> Association:
    ae = AE(peer.calling_ae_title)
    ae.connection_timeout = peer.connect_timeout_s
    ae.acse_timeout = ae.dimse_timeout = peer.response_timeout_s
    ae.maximum_pdu_size = MAXIMUM_PDU_BYTES
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=[build_context(sop_class, syntax) for sop_class, syntax in kinds],
        ae_title=peer.ae_title,
        max_pdu=MAXIMUM_PDU_BYTES,
        evt_handlers=[(evt.EVT_CONN_OPEN, send_at_once)],
    )
    if not association.is_established:
        raise Unavailable(
            f"{peer.ae_title}@{peer.host}:{peer.port} does not answer or rejected the association"
        )
    return association


def _send(association: Association, file: Path) -> str:
    """What went wrong; empty when the peer answered 0x0000."""
    _config.STORE_SEND_CHUNKED_DATASET = True  # the file's own bytes, never decoded
    stand_still(association)
    try:
        answer = association.send_c_store(file)
    except (ValueError, RuntimeError) as fault:
        return f"{file}: {fault}"
    status = answer.get("Status")
    if status is None:
        return f"{file}: {NO_ANSWER}"
    said = f"status 0x{status:04X} {answer.get('ErrorComment', '')}".rstrip()
    return "" if status == 0x0000 else f"{file}: {said}"
