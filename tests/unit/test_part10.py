"""The file made of a received data set."""

import io

import pytest
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID

from prognode.dicom.part10 import IMPLEMENTATION_CLASS_UID, data_set_of, part10

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34", "1." + "2" * 62])
def test_data_set_stays_untouched(uid):
    """The bytes after the file meta information are those received, whatever they are."""
    data = bytes(range(256))
    file = part10(CT, uid, EXPLICIT, data)
    assert file.endswith(data)
    assert bytes(data_set_of(file)) == data


def test_file_meta_is_read_back(tmp_path):
    """Pydicom reads the four identities, the version and the group length without a warning."""
    path = tmp_path / "x.dcm"
    path.write_bytes(part10(CT, "1.2.3", EXPLICIT, b""))
    meta = read_file_meta_info(path)
    assert meta.MediaStorageSOPClassUID == CT
    assert meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert meta.TransferSyntaxUID == EXPLICIT
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.FileMetaInformationGroupLength == path.stat().st_size - 128 - 4 - 12
    assert dcmread(path).file_meta.TransferSyntaxUID == EXPLICIT


def test_the_same_instance_gives_the_same_file():
    """Nothing of the time or place of receipt is in the file."""
    assert part10(CT, "1.2.3", EXPLICIT, b"ab") == part10(CT, "1.2.3", EXPLICIT, b"ab")


def test_our_implementation_uid_is_valid():
    """The Implementation Class UID is a UID made from a UUID (PS3.5 annex B.2)."""
    assert UID(IMPLEMENTATION_CLASS_UID).is_valid
    assert int(IMPLEMENTATION_CLASS_UID.removeprefix("2.25.")) < 1 << 128


def test_a_uid_outside_ascii_is_refused():
    """What is no UID never becomes part of a file."""
    with pytest.raises(UnicodeEncodeError):
        part10(CT, "1.2.ä", EXPLICIT, b"")


def test_files_can_be_read_from_memory():
    """The file needs no name."""
    assert (
        dcmread(io.BytesIO(part10(CT, "1.2.3", EXPLICIT, b""))).file_meta.MediaStorageSOPInstanceUID
        == "1.2.3"
    )
