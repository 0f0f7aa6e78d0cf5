"""Sends data sets by C-STORE byte for byte as given, sound or not; pynetdicom's own sender would repair or refuse them."""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT, P_DATA

from prognode.adapters.dicom_pacs import stand_still

CT = "1.2.840.10008.5.1.4.1.1.2"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEG = "1.2.840.10008.5.1.4.1.1.66.7"
VERIFICATION = "1.2.840.10008.1.1"
MODALITIES = {CT: "CT", RTSTRUCT: "RTSTRUCT", SEG: "SEG", LABEL_MAP_SEG: "SEG"}

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG)

STUDY = "1.2.826.0.1.3680043.8.498.7"


@dataclass
class Answer:
    """DIMSE status and Error Comment."""

    status: int
    comment: str = ""


@dataclass(frozen=True)
class Sent:
    """One data set on its way: what the command says, and the bytes."""

    sop_class: str
    sop_instance: str
    syntax: str
    data: bytes = field(repr=False)


def data_set(
    number: int, sop_class: str = CT, study: str = STUDY, patient: str = "SYNTHETIC-1", **changes
) -> Dataset:
    """A small synthetic object of one of the four classes, with what the receiver asks for."""
    made = Dataset()
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = f"{study}.{list(MODALITIES).index(sop_class)}.{number}"
    made.StudyInstanceUID = study
    made.SeriesInstanceUID = f"{study}.3"
    made.Modality = MODALITIES[sop_class]
    made.PatientID = patient
    made.PatientName = "Synthetic^Data"
    made.InstanceNumber = number
    if sop_class != RTSTRUCT:
        made.Rows, made.Columns, made.BitsAllocated, made.SamplesPerPixel = 16, 12, 16, 1
        made.PixelData = bytes([number % 256, 1]) * (16 * 12)
        made["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def encode(made: Dataset, syntax: str = EXPLICIT) -> bytes:
    """Bytes of the data set; in a compressed syntax the pixel data are one made-up fragment."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != BIG
    buffer.is_implicit_VR = syntax == IMPLICIT
    if syntax not in NATIVE and "PixelData" in made:
        made = Dataset(made)
        made.add_new(0x7FE00010, "OB", encapsulate([b"fragment"]))
        made["PixelData"].is_undefined_length = True
    write_dataset(buffer, made)
    if syntax != DEFLATED:
        return buffer.getvalue()
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(buffer.getvalue()) + deflater.flush()
    return deflated + b"\0" * (len(deflated) % 2)


def ready(number: int, syntax: str = EXPLICIT, **how) -> Sent:
    """An object ready to be sent."""
    made = data_set(number, **how)
    return Sent(str(made.SOPClassUID), str(made.SOPInstanceUID), syntax, encode(made, syntax))


@contextmanager
def association(
    port: int,
    contexts: Sequence[tuple[str, str]] = ((CT, EXPLICIT),),
    called: str = "PROGNODE",
    calling: str = "SENDER",
) -> Iterator[Association]:
    """An association that proposes one presentation context per (SOP class, transfer syntax)."""
    ae = AE(calling)
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    opened = ae.associate("127.0.0.1", port, ae_title=called, max_pdu=131072)
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()


def request(sent: Sent) -> C_STORE:
    """The C-STORE request of an object, with its bytes as they are."""
    primitive = C_STORE()
    primitive.MessageID = 1
    primitive.AffectedSOPClassUID = UID(sent.sop_class)
    primitive.AffectedSOPInstanceUID = UID(sent.sop_instance)
    primitive.Priority = 2
    primitive.DataSet = io.BytesIO(sent.data)
    return primitive


def context_id(opened: Association, sent: Sent) -> int:
    """Id of the accepted presentation context for the object."""
    for context in opened.accepted_contexts:
        if context.abstract_syntax == sent.sop_class and context.transfer_syntax[0] == sent.syntax:
            return int(context.context_id)
    raise AssertionError(f"{sent.sop_class} in {sent.syntax} was not accepted")


@contextmanager
def _answers_are_ours(opened: Association) -> Iterator[None]:
    """Keep the association's own loop from taking the answer: it stands still until the block ends."""
    stand_still(opened)
    try:
        yield
    finally:
        opened._reactor_checkpoint.set()


def send(opened: Association, sent: Sent) -> Answer | None:
    """Send one object; the answer, or None if the association ended without one."""
    with _answers_are_ours(opened):
        opened.dimse.send_msg(request(sent), context_id(opened, sent))
        return _answer(opened)


def _answer(opened: Association) -> Answer | None:
    response = _response(opened)
    if response is None or response.Status is None:
        return None
    return Answer(int(response.Status), str(response.ErrorComment or ""))


def _response(opened: Association) -> C_STORE | None:
    """The next response; None as soon as the connection is lost."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        _, response = opened.dimse.get_msg(block=False)
        if response is not None:
            return response
        if isinstance(opened.dul.peek_next_pdu(), A_ABORT | A_P_ABORT) or not opened.dul.is_alive():
            return None
        time.sleep(0.0005)
    return None


def send_and_vanish(opened: Association, sent: Sent, share: float) -> None:
    """Send the first ``share`` of the object's PDUs, then drop the connection."""
    message = C_STORE_RQ()
    message.primitive_to_message(request(sent))
    message.context_id = context_id(opened, sent)
    pdus = list(message.encode_msg(message.context_id, 4096))
    for pdu in pdus[: max(1, int(len(pdus) * share))]:
        opened.dul.send_pdu(pdu)
    while opened.dul.to_provider_queue.qsize():
        time.sleep(0.001)
    opened.abort()


def fragments(sent: Sent, context: int, largest: int) -> list[P_DATA]:
    """The request in P-DATA primitives of at most ``largest`` bytes."""
    message = C_STORE_RQ()
    message.primitive_to_message(request(sent))
    return list(message.encode_msg(context, largest))


def send_pdus(opened: Association, pdus: Sequence[P_DATA]) -> Answer | None:
    """Send primitives one by one; the answer, or None if the association ended without one."""
    with _answers_are_ours(opened):
        for pdu in pdus:
            opened.dul.send_pdu(pdu)
        return _answer(opened)


def send_with_value_length(opened: Association, sent: Sent, length: int) -> Answer | None:
    """Send the command soundly and the first PDU of the data set with a false length of its value."""
    command, data, *_ = fragments(sent, context_id(opened, sent), 16384)
    with _answers_are_ours(opened):
        opened.dul.send_pdu(command)
        while opened.dul.to_provider_queue.qsize():
            time.sleep(0.001)
        pdu = P_DATA_TF(data).encode()
        opened.dul.socket.send(pdu[:6] + length.to_bytes(4, "big") + pdu[10:])
        return _answer(opened)


def send_in_pdus(opened: Association, sent: Sent, largest: int) -> Answer | None:
    """Send in fragments of at most ``largest`` bytes, the command included."""
    return send_pdus(opened, fragments(sent, context_id(opened, sent), largest))


def send_in_context(opened: Association, sent: Sent, context: int) -> Answer | None:
    """Send in a presentation context of any id."""
    return send_pdus(opened, fragments(sent, context, 16384))


def send_in_one_pdu(opened: Association, sent: Sent) -> Answer | None:
    """Send command and data set as the values of one PDU."""
    whole = P_DATA()
    whole.presentation_data_value_list = [
        list(value)
        for pdu in fragments(sent, context_id(opened, sent), 16384)
        for value in pdu.presentation_data_value_list
    ]
    return send_pdus(opened, [whole])


def send_interrupted(opened: Association, sent: Sent) -> Answer | None:
    """Send a command, and where its data set should come, the command again."""
    command, *rest = fragments(sent, context_id(opened, sent), 16384)
    return send_pdus(opened, [command, command, *rest])


def send_part_of_a_pdu(opened: Association, sent: Sent) -> None:
    """Send the command, the head of a P-DATA-TF PDU and half of its value, and then nothing."""
    command, data, *_ = fragments(sent, context_id(opened, sent), 16384)
    opened.dul.send_pdu(command)
    while opened.dul.to_provider_queue.qsize():
        time.sleep(0.001)
    pdu = P_DATA_TF(data).encode()
    opened.dul.socket.send(pdu[: len(pdu) // 2])
