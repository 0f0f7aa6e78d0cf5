"""The bytes of the fast way in: commands read as pynetdicom reads them, and answers that pynetdicom understands."""

from __future__ import annotations

import random

import pytest
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu import P_DATA_TF
from raw_sender import fragments, ready

from services.receiver.fast_receive import command_elements, is_store_request, response_pdu


def command() -> bytes:
    """The command set of a C-STORE request as pynetdicom encodes it."""
    first, *_ = fragments(ready(1), 1, 16384)
    return bytes(first.presentation_data_value_list[0][1][1:])


def test_a_command_of_pynetdicom_is_understood():
    """A sound C-STORE request is recognised, with its UIDs as sent."""
    elements = command_elements(command())
    assert is_store_request(elements)
    assert elements[0x1000].rstrip(b"\0").decode() == ready(1).sop_instance


def test_damaged_commands_are_left_alone():
    """Cut or altered at any byte, a command is either still sound or not taken; nothing is raised."""
    whole, rng = command(), random.Random(3)
    for cut in range(len(whole)):
        assert not is_store_request(command_elements(whole[:cut])) or cut == len(whole)
    for _ in range(2000):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] = rng.randrange(256)
        is_store_request(command_elements(bytes(damaged)))


@pytest.mark.parametrize(
    ("status", "comment"), [(0x0000, ""), (0xA700, "disk above its watermark"), (0xC101, "odd")]
)
def test_the_answer_is_read_back_by_pynetdicom(status, comment):
    """Status, comment, UIDs and message id of the answer are what pynetdicom decodes from its bytes."""
    pdu = P_DATA_TF()
    pdu.decode(response_pdu(command_elements(command()), 3, status, comment))
    message = DIMSEMessage()
    assert message.decode_msg(pdu.to_primitive())
    answer = message.message_to_primitive()
    assert (message.context_id, answer.Status, answer.MessageIDBeingRespondedTo) == (3, status, 1)
    assert str(answer.ErrorComment or "") == comment
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (
        ready(1).sop_class,
        ready(1).sop_instance,
    )
