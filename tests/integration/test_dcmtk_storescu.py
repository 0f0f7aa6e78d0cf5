"""DCMTK as the sending side: echoscu, storescu and dcmsend to the receiver, compressed files included."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import components
import pytest
import sample_objects
from pydicom import dcmread
from receiver_node import WAYS_IN, Node

from prognode.dicom.part10 import data_set_of
from services.receiver.settings import ReceiverSettings

pytestmark = pytest.mark.component

# what makes the files, and what makes storescu propose their transfer syntax
ENCODERS = {
    "1.2.840.10008.1.2": (["dcmconv", "+ti"], ["-xi"]),
    "1.2.840.10008.1.2.1": (["dcmconv", "+te"], ["-xe"]),
    "1.2.840.10008.1.2.2": (["dcmconv", "+tb"], ["-xb"]),
    "1.2.840.10008.1.2.1.99": (["dcmconv", "+td"], ["-xd"]),
    "1.2.840.10008.1.2.4.70": (["dcmcjpeg", "+e1"], ["-xs"]),
    "1.2.840.10008.1.2.4.80": (["dcmcjpls", "+el"], ["-xt"]),
    "1.2.840.10008.1.2.5": (["dcmcrle"], ["-xr"]),
}


def run(program, *arguments):
    """Run one DCMTK program to its end; its output when it succeeds."""
    path = components.require(program, "dcmtk")
    ran = subprocess.run(
        [path, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **components.PROMPT},
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout + ran.stderr


@pytest.fixture(params=WAYS_IN)
def node(tmp_path, request):
    settings = ReceiverSettings(host="127.0.0.1", port=0, fast_receive=request.param == "fast")
    with Node(tmp_path / "node", settings) as node:
        yield node


@pytest.fixture
def slices(tmp_path):
    """Six synthetic CT slices as files."""
    folder = tmp_path / "slices"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.dcm").write_bytes(sample_objects.ct_slice(number))
    return folder


def encoded_copies(slices: Path, syntax: str) -> list[Path]:
    """The slices in another transfer syntax, made by DCMTK."""
    encoder, _ = ENCODERS[syntax]
    components.require(encoder[0], "dcmtk")
    folder = slices.with_name("encoded")
    folder.mkdir()
    for path in sorted(slices.iterdir()):
        run(*encoder, path, folder / path.name)
    return sorted(folder.iterdir())


def data_set_bytes(path: Path) -> bytes:
    """The encoded data set of a file, file meta information left out."""
    file = io.BytesIO(path.read_bytes())
    meta_length = dcmread(file).file_meta.FileMetaInformationGroupLength
    return file.getvalue()[128 + 4 + 12 + meta_length :]


def test_echoscu(node):
    """Echoscu is answered."""
    run("echoscu", "-aec", "PROGNODE", "127.0.0.1", node.port)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_storescu_in_each_encoding(node, slices, syntax):
    """Files of each encoding that DCMTK makes are acknowledged and stored as the same image in the same syntax."""
    files = encoded_copies(slices, syntax)
    run("storescu", *ENCODERS[syntax][1], "-aec", "PROGNODE", "127.0.0.1", node.port, *files)
    assert len(node.files()) == len(files)
    for path in files:
        original = dcmread(path)
        row = node.index.instance(str(original.SOPInstanceUID))
        assert row.transfer_syntax_uid == original.file_meta.TransferSyntaxUID == syntax
        stored = dcmread(io.BytesIO(node.objects.get(row.object_key)))
        assert (stored.pixel_array == original.pixel_array).all()
        assert stored.ImagePositionPatient == original.ImagePositionPatient


def test_native_pixels_cross_untouched(node, slices):
    """What DCMTK put on the wire lies in the store: an explicit little endian file comes back byte for byte."""
    files = encoded_copies(slices, "1.2.840.10008.1.2.1")
    run("storescu", "-xe", "-aec", "PROGNODE", "127.0.0.1", node.port, *files)
    for path in files:
        row = node.index.instance(str(dcmread(path).SOPInstanceUID))
        # DCMTK drops data set trailing padding and group lengths when it sends; these files have none
        assert bytes(data_set_of(node.objects.get(row.object_key))) == data_set_bytes(path)


def test_dcmsend_a_mixed_folder(node, slices):
    """Dcmsend with a folder of mixed encodings: all is stored, the compressed ones as they are."""
    mixed = slices.with_name("mixed")
    mixed.mkdir()
    for path, (encoder, _) in zip(sorted(slices.iterdir()), ENCODERS.values(), strict=False):
        run(*encoder, path, mixed / path.name)
    run(
        "dcmsend",
        "--decompress-never",
        "--scan-directories",
        "-aec",
        "PROGNODE",
        "127.0.0.1",
        node.port,
        mixed,
    )
    rows = node.index.instances(sample_objects.uid("study"))
    assert len(rows) == 6
    # dcmsend itself makes explicit little endian of the uncompressed ones
    assert {"1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"} < {row.transfer_syntax_uid for row in rows}


def test_four_storescu_at_once(node, slices):
    """Four senders of the same files at the same time: each is told success, and every file is there once."""
    storescu = components.require("storescu", "dcmtk")
    arguments = [
        storescu,
        "-xe",
        "-aec",
        "PROGNODE",
        "127.0.0.1",
        str(node.port),
        *sorted(map(str, slices.iterdir())),
    ]
    senders = [subprocess.Popen(arguments, env={**os.environ, **components.PROMPT}) for _ in range(4)]
    assert [sender.wait(120) for sender in senders] == [0, 0, 0, 0]
    assert len(node.files()) == 6
    assert node.index.problems() == []


def test_a_full_disk_fails_storescu_and_its_retry_succeeds(node, slices):
    """Storescu sees 0xA700 above the watermark and succeeds when there is room again."""
    storescu = components.require("storescu", "dcmtk")
    node.used = 0.99
    arguments = [
        storescu,
        "-v",
        "-xe",
        "-aec",
        "PROGNODE",
        "127.0.0.1",
        str(node.port),
        str(slices / "0.dcm"),
    ]
    refused = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert "OutOfResources" in (refused.stdout + refused.stderr).replace(" ", "")
    assert node.files() == []
    node.used = 0.1
    run("storescu", "-xe", "-aec", "PROGNODE", "127.0.0.1", node.port, slices / "0.dcm")
    assert len(node.files()) == 1


def test_dcmtk_reads_what_is_stored(node, slices):
    """Dcmdump opens the stored file without a complaint: its file meta information is sound."""
    run("storescu", "-xe", "-aec", "PROGNODE", "127.0.0.1", node.port, slices / "0.dcm")
    (stored,) = node.files()
    assert shutil.which("dcmdump")
    dump = run("dcmdump", stored)
    assert "W:" not in dump
    assert "E:" not in dump
    assert "PROGNODE" in dump
