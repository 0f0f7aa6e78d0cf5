"""What a peer's configuration may say, and how storage commitment verdicts find who asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from pydicom.dataset import Dataset
from verdict_ledger import commitments

from prognode.adapters.dicom_pacs import DicomPacs, PacsSettings
from prognode.adapters.storage_commitment import Commitments, request_of
from prognode.errors import Unavailable

PEER = {"name": "main", "ae_title": "ORTHANC", "host": "pacs.example.org", "port": 4242}
SUBJECT = ("main", "2.25.7")


def test_a_peer_needs_name_title_host_and_port_only():
    """Everything else has a default: a destination of reports that is asked for nothing."""
    settings = PacsSettings.model_validate(PEER)
    assert settings.store
    assert settings.fetch is None
    assert not settings.storage_commitment


@pytest.mark.parametrize(
    "wrong",
    [
        {"ae_title": ""},
        {"ae_title": "   "},
        {"ae_title": "SEVENTEEN-LETTERS"},
        {"ae_title": "BACK\\SLASH"},
        {"ae_title": "LINE\nBREAK"},
        {"ae_title": "UMLÄUT"},
        {"port": 0},
        {"port": 65536},
        {"host": ""},
        {"name": ""},
        {"fetch": "wado"},
        {"response_timeout_s": 0},
        {"storage_comitment": True},
        {"fetch": "c-get", "move_destination": "NODE"},
    ],
)
def test_a_wrong_value_or_an_unknown_key_is_refused(wrong: dict[str, object]):
    """A misspelt key must not silently switch a feature off."""
    with pytest.raises(ValidationError):
        PacsSettings.model_validate({**PEER, **wrong})


@pytest.mark.parametrize("title", ["A", "SIXTEEN-LETTERS_", "MY PACS 1", "a.b@c[d]"])
def test_every_ae_title_of_the_standard_is_taken(title: str):
    """PS3.5: up to sixteen printable characters, inner spaces included."""
    assert PacsSettings.model_validate({**PEER, "ae_title": title}).ae_title == title


def test_c_get_without_a_receiver_is_refused_at_once():
    """A node that fetches but stores nothing is a fault of composition, found at start-up."""
    settings = PacsSettings.model_validate({**PEER, "fetch": "c-get"})
    with pytest.raises(ValueError, match="c-get"):
        DicomPacs(settings)


def test_storage_commitment_without_a_place_for_verdicts_is_refused_at_once():
    """A fault of composition as well."""
    settings = PacsSettings.model_validate({**PEER, "storage_commitment": True})
    with pytest.raises(ValueError, match="verdicts"):
        DicomPacs(settings)


# ---------------------------------------------------------------- verdicts


def report(transaction_uid: str | None, *, committed: bool = True) -> SimpleNamespace:
    """An N-EVENT-REPORT about instance 2.25.7."""
    information = Dataset()
    if transaction_uid is not None:
        information.TransactionUID = transaction_uid
    reference = request_of("2.25.1", "1.2.840.10008.5.1.4.1.1.88.34", SUBJECT[1]).ReferencedSOPSequence
    if committed:
        information.ReferencedSOPSequence = reference
    else:
        information.FailedSOPSequence = reference
    return SimpleNamespace(event_information=information)


@pytest.mark.parametrize("committed", [True, False])
def test_a_verdict_is_taken_once(committed: bool):
    """The next request must not find the answer to the last one."""
    results = commitments()
    results.open("2.25.1", *SUBJECT)
    assert results.handle_n_event_report(report("2.25.1", committed=committed)) == (0x0000, None)
    assert results.take(*SUBJECT) is committed
    assert results.take(*SUBJECT) is None


def test_a_report_about_an_unknown_transaction_changes_nothing():
    """Nobody can commit to, or refuse, what was not asked under that transaction."""
    results = commitments()
    results.open("2.25.1", *SUBJECT)
    assert results.handle_n_event_report(report("2.25.2")) == (0x0000, None)
    assert results.take(*SUBJECT) is None


def test_a_report_without_transaction_is_answered_as_incomplete():
    """0x0120, missing attribute: the peer learns what is wrong."""
    assert commitments().handle_n_event_report(report(None)) == (0x0120, None)


def test_a_verdict_for_one_peer_is_none_for_another():
    """Two archives hold the same instance; each commits for itself."""
    results = commitments()
    results.open("2.25.1", *SUBJECT)
    results.handle_n_event_report(report("2.25.1"))
    assert results.take("other", SUBJECT[1]) is None
    assert results.take(*SUBJECT) is True


def test_a_verdict_that_cannot_be_kept_is_refused():
    """0x0110: a peer that is told so may report again; nothing is taken for committed."""

    class Away:
        def record_commitment(self, *_):
            raise Unavailable("the index does not answer")

    assert Commitments(Away()).handle_n_event_report(report("2.25.1")) == (0x0110, None)
