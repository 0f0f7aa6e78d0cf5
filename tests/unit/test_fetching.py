"""Missing images are asked for exactly once each, by UID or by position."""

from __future__ import annotations

from prognode.domain.geometry import ImagePlane
from prognode.domain.need_set import NeedSet, RoiKey
from prognode.domain.readiness import Assessment, State, Wait
from prognode.errors import Unavailable
from services.receiver.fetching import Fetcher


class RecordingPacs:
    """Stands in for a PACS, so that faults can be injected and questions counted."""

    name = "recording"

    def __init__(self, images=(), *, down=False):
        self.images, self.down, self.asked = list(images), down, []

    def find_images(self, study_uid, series_uid):
        return self.images

    def fetch(self, study_uid, series_uid, sop_instance_uids):
        if self.down:
            raise Unavailable("down")
        self.asked.append((series_uid, list(sop_instance_uids)))
        return len(sop_instance_uids)


def plane(number, z_mm):
    return ImagePlane(f"1.2.{number}", (0.0, 0.0, z_mm), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 1.0, 1.0, 8, 8)


def waiting(*waits, planes=()):
    need = NeedSet(
        "1.9", RoiKey("RTSTRUCT", "1.8", 1, "tumour"), None, tuple(planes), (), proven_ends=False, basis=None
    )
    return Assessment(State.WAITING, needs=(need,), waiting_for=waits)


def image(uid, z_mm=None):
    kind = "image" if uid else "neighbour"
    return Wait(kind, "1.9", uid, z_mm, "image")


def settle(fetcher):
    fetcher._thread.shutdown(wait=True)


def test_named_images_are_asked_for_exactly():
    """The UIDs that the case waits for are fetched, and nothing else."""
    pacs = RecordingPacs()
    fetcher = Fetcher([pacs])
    assert not fetcher.fetch("1.1", waiting(image("1.2.3"), image("1.2.4")))
    settle(fetcher)
    assert pacs.asked == [("1.9", ["1.2.3", "1.2.4"])]


def test_nothing_is_asked_for_twice():
    """A second quiet time with the same images missing means that the peers do not have them."""
    fetcher = Fetcher([RecordingPacs()])
    assert not fetcher.fetch("1.1", waiting(image("1.2.3")))
    assert fetcher.fetch("1.1", waiting(image("1.2.3")))
    assert not fetcher.fetch("1.1", waiting(image("1.2.3"), image("1.2.5")))


def test_peer_that_is_down_is_asked_again():
    """No answer is not a no."""
    fetcher = Fetcher([RecordingPacs(down=True)])
    assert not fetcher.fetch("1.1", waiting(image("1.2.3")))
    settle(fetcher)
    assert fetcher._asked == set()


def test_positions_are_looked_up_along_the_planes():
    """An image that only a position names is found by C-FIND, whichever way the series runs."""
    pacs = RecordingPacs(
        [{"sop_instance_uid": f"1.2.{n}", "position_lps_mm": (0.0, 0.0, 5.0 * n)} for n in range(10)]
    )
    planes = [plane(4, 20.0), plane(3, 15.0), plane(1, 5.0), plane(0, 0.0)]  # ascending along (0, 0, -1)
    fetcher = Fetcher([pacs])
    fetcher.fetch("1.1", waiting(image(None, -10.0), planes=planes))
    settle(fetcher)
    assert pacs.asked == [("1.9", ["1.2.2"])]


def test_without_peers_nothing_is_exhausted():
    """A node without a PACS to fetch from waits for arrivals."""
    assert not Fetcher([]).fetch("1.1", waiting(image("1.2.3")))
