"""What the receiver takes from a header goes into every index, whatever the peer wrote."""

from __future__ import annotations

import pytest
from pydicom import DataElement, Dataset, config

from services.receiver.header import identity

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("sent", "kept"), [("CT", "CT"), ("C\0T\0", "CT"), ("A MODALITY OF TWENTY", "A MODALITY OF TW")]
)
def test_a_modality_fits_its_column(sent, kept):
    """At most 16 characters, and no zero byte, which PostgreSQL's text cannot hold."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = CT, "1.2.3.4"
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    header.PatientID = ""
    header.add(DataElement("Modality", "CS", sent, validation_mode=config.IGNORE))
    assert identity(header, CT, "1.2.3.4").modality == kept
