"""``prognode echo`` and ``prognode send`` against a peer: exit 0 only when it answered, or took every object."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from command_line import require_sentence
from node import prognode
from peer_scp import peer_scp
from pynetdicom import AE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification
from studies import small_study

from prognode.adapters.dicom_pacs import stand_still
from training.synthetic_study import write_study

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
ALL = (CT_IMAGE, RTSTRUCT, SEGMENTATION)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(small_study(), folder)
    return folder


def address(peer) -> str:
    return f"{peer.ae_title}@127.0.0.1:{peer.port}"


def test_echo_says_that_the_peer_answers():
    """C-ECHO answered with success: exit 0 and one line."""
    with peer_scp(ALL) as peer:
        result = prognode("echo", address(peer))
    assert (result.status, result.output, result.errors) == (0, f"{address(peer)} answers\n", "")


def test_echo_names_a_peer_that_rejects_the_title():
    """A peer that knows itself by another AE title refuses; the sentence names the address."""
    with peer_scp(ALL, reject_other_titles=True) as peer:
        wrong = f"WRONG@127.0.0.1:{peer.port}"
        require_sentence(prognode("echo", wrong), wrong)


@pytest.mark.parametrize(
    "peer", ["x", "PEER@localhost", "PEER@localhost:0", "PEER@:104", "@h:104", "PEER@" + "a" * 300 + ":104"]
)
@pytest.mark.parametrize("command", [("echo",), ("send", ".", "--to")])
def test_what_is_no_address_is_said(command, peer):
    """Not AE@HOST:PORT: the sentence shows how to write it."""
    require_sentence(prognode(*command, peer), "AE@HOST:PORT")


@pytest.mark.parametrize("title", ["SEVENTEEN_LETTERS", "Ä", "A\\B"])
def test_what_is_no_ae_title_is_said(title):
    """Called and calling titles alike."""
    require_sentence(prognode("echo", f"{title}@localhost:104"), title, "AE title")
    require_sentence(prognode("echo", "PEER@localhost:104", "--calling", title), title, "AE title")


def test_a_closed_port_and_an_unknown_host_are_said(study, free_port):
    """Nobody listens: exit 2, for both commands."""
    closed = f"PEER@127.0.0.1:{free_port}"
    require_sentence(prognode("echo", closed), closed)
    require_sentence(prognode("send", study, "--to", closed), closed)
    require_sentence(prognode("echo", "PEER@no-such-host.invalid:104"), "no-such-host.invalid")


def test_send_delivers_every_object(study):
    """All objects arrive, exit 0, and the count is said."""
    with peer_scp(ALL) as peer:
        result = prognode("send", study, "--to", address(peer))
    count = len(list(study.iterdir()))
    assert (result.status, result.errors) == (0, "")
    assert result.output == f"{count} objects stored\n"
    assert len(set(peer.uids())) == count


def test_send_lists_what_was_not_stored(study):
    """A full peer for two objects: the others arrive, each failure is a line, exit 2."""
    count = len(list(study.iterdir()))
    with peer_scp(ALL, faults=[0x0000, 0xA700, 0xA900]) as peer:
        result = prognode("send", study, "--to", address(peer))
    assert (result.status, result.output) == (2, "")
    assert len(peer.uids()) == count - 2
    lines = result.errors.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("prognode: ") for line in lines)
    assert {"0xA900" in lines[0], f"2 of {count} files" in lines[-1], "0xA700" in lines[-1]} == {True}


def test_send_lists_classes_that_the_peer_does_not_take(study):
    """A peer for images alone: contours are listed as not stored."""
    with peer_scp([CT_IMAGE]) as peer:
        result = prognode("send", study, "--to", address(peer))
    assert result.status == 2
    assert len(result.errors.splitlines()) == 2
    assert len(peer.uids()) == len(list(study.iterdir())) - 2


def test_send_survives_a_peer_that_aborts(study):
    """The association breaks in the middle: what was not stored is counted, without a traceback."""
    with peer_scp(ALL, faults=[0x0000, 0x0000, "abort"]) as peer:
        result = prognode("send", study, "--to", address(peer))
    assert (result.status, result.output) == (2, "")
    count = len(list(study.iterdir()))
    assert f"{count - 2} of {count} files were not stored" in result.errors
    assert "Traceback" not in result.errors


def test_send_names_files_that_are_not_dicom(study, tmp_path):
    """One text file among the images: the images arrive, the text file is named, exit 2."""
    image = min(study.iterdir())
    (tmp_path / "a.dcm").write_bytes(image.read_bytes())
    (tmp_path / "notes.txt").write_text("no image")
    with peer_scp(ALL) as peer:
        require_sentence(prognode("send", tmp_path, "--to", address(peer)), "1 of 2", "notes.txt")
    assert len(peer.uids()) == 1


class SlowToGoOn(threading.Event):
    """Whoever waited goes on a moment after it may."""

    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        time.sleep(0.05)
        return passed


def test_an_answer_is_not_taken_for_a_request():
    """Once it is told to stand still, the association's own loop leaves what comes to whoever waits for an answer."""
    with peer_scp(ALL) as peer:
        association = AE().associate("127.0.0.1", peer.port, [build_context(Verification)], peer.ae_title)
        association._reactor_checkpoint = SlowToGoOn()
        association._reactor_checkpoint.set()
        time.sleep(0.2)
        stand_still(association)
        association.dimse.msg_queue.put((1, None))
        time.sleep(0.3)
        assert association.dimse.msg_queue.get_nowait() == (1, None)
        association.release()
