"""Extraction: each patient once, by content, and a run that ended goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from plain_extractor import PlainExtractor

from prognode.errors import BadRequest, InvalidInput, Reason
from training.cohort import Contour, Images, Patient
from training.extraction import FeatureCache, Reading, count_readings, extract


@dataclass
class CountingSource:
    """Crops from a file's first byte; remembers what it was asked for."""

    asked: list[str] = field(default_factory=list)
    rules: str = "the built-in rules"

    def files(self, images: Images, *, second: bool) -> list[tuple[str, Path]]:
        contours = images.second if second else images.contours
        named = [(f"{phase} contour", contour.path) for phase, contour in contours.items()]
        return [("arterial images", images.folders["arterial"]), *named]

    def read(self, images: Images, *, second: bool) -> Reading:
        _, path = self.files(images, second=second)[-1]
        self.asked.append(path.name)
        value = path.read_bytes()[0]
        if value == 0:
            raise InvalidInput(Reason.TUMOUR_SMALL, "the tumour is 2 mm wide")
        crops = np.full((2, 3, 224, 224), float(value), np.float32)
        return Reading(crops, 10.0 + value, ("a remark",))


def patient(folder: Path, name: str, first: int, second: int | None = None) -> Patient:
    """A patient whose contour files hold one byte each."""
    image = folder / f"{name}.image"
    image.write_bytes(name.encode())
    contours = {}
    for reading, value in ((1, first), (2, second)):
        if value is not None:
            (folder / f"{name}-{reading}").write_bytes(bytes([value]))
            contours[reading] = Contour(folder / f"{name}-{reading}")
    images = Images(
        folders={"arterial": image},
        contours={"arterial": contours[1]},
        second={"arterial": contours[2]} if second is not None else {},
    )
    return Patient(2, name, "training", "", images, 1.0, True, {})


@pytest.fixture
def group(tmp_path):
    """Three patients, one read twice, one that cannot be evaluated."""
    return [patient(tmp_path, "a", 1, 2), patient(tmp_path, "b", 3), patient(tmp_path, "c", 0)]


def test_everybody_is_read_once_and_twice_where_asked(group, tmp_path):
    """Features by patient, second readings beside them, and the reason where there are none."""
    source = CountingSource()
    done: list[int] = []
    found = extract(group, source, PlainExtractor(), FeatureCache(tmp_path / "cache"), lambda: done.append(1))
    assert source.asked == ["a-1", "a-2", "b-1", "c-1"]
    assert len(done) == count_readings(group) == 4
    assert found.first["a"].features.shape == (2, 2048)
    assert found.first["a"].longest_diameter_mm == 11.0
    assert set(found.second) == {"a"}
    assert found.first["c"].features is None
    assert found.first["c"].reason == "tumour-small: the tumour is 2 mm wide"


def test_a_second_run_reads_nothing(group, tmp_path):
    """Everything comes from the cache, the refusal too, and is the same to the last bit."""
    first = extract(group, CountingSource(), PlainExtractor(), FeatureCache(tmp_path / "cache"))
    source = CountingSource()
    again = extract(group, source, PlainExtractor(), FeatureCache(tmp_path / "cache"))
    assert source.asked == []
    assert (again.first["a"].features == first.first["a"].features).all()
    assert again.first["c"] == first.first["c"]


def test_a_changed_contour_is_read_again_and_only_that(group, tmp_path):
    """The key is the content."""
    extract(group, CountingSource(), PlainExtractor(), FeatureCache(tmp_path / "cache"))
    (tmp_path / "b-1").write_bytes(b"\x05")
    source = CountingSource()
    extract(group, source, PlainExtractor(), FeatureCache(tmp_path / "cache"))
    assert source.asked == ["b-1"]


def test_a_file_that_only_moved_is_not_read_again(group, tmp_path):
    """The same bytes under another name are the same input."""
    extract(group, CountingSource(), PlainExtractor(), FeatureCache(tmp_path / "cache"))
    (tmp_path / "moved").mkdir()
    source = CountingSource()
    extract([patient(tmp_path / "moved", "b", 3)], source, PlainExtractor(), FeatureCache(tmp_path / "cache"))
    assert source.asked == []


def test_another_network_is_another_result(group, tmp_path):
    """Features of one extractor are never taken for those of another."""
    extract(group, CountingSource(), PlainExtractor(1), FeatureCache(tmp_path / "cache"))
    source = CountingSource()
    extract(group, source, PlainExtractor(2), FeatureCache(tmp_path / "cache"))
    assert len(source.asked) == 4


def test_other_rules_are_another_result(group, tmp_path):
    """Rules choose among contours and phases: what they chose before is no answer for others."""
    extract(group, CountingSource(), PlainExtractor(), FeatureCache(tmp_path / "cache"))
    source = CountingSource(rules="the installer's rules")
    extract(group, source, PlainExtractor(), FeatureCache(tmp_path / "cache"))
    assert len(source.asked) == 4


def test_the_same_files_in_other_roles_are_another_result(tmp_path):
    """What a file is there for is part of the key, and so is where its role ends and its content begins."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    cache = FeatureCache(tmp_path / "cache")
    asked = [
        [("arterial contour", one), ("venous contour", other)],
        [("venous contour", one), ("arterial contour", other)],
        [("arterial contour #1", one), ("venous contour", other)],
        [("arterial contour", one)],
        [],
    ]
    assert len({cache.key(files, "network", "rules") for files in asked}) == len(asked)
    assert cache.key([], "network", "rules") != cache.key([], "networkrules")


def test_a_file_that_is_gone_is_one_sentence(group, tmp_path):
    """A contour is deleted while the run goes on: the sentence names it, and not the folder for the results."""
    (tmp_path / "b-1").unlink()
    with pytest.raises(BadRequest, match=r"b-1: cannot be read \(No such file or directory\)"):
        extract(group, CountingSource(), PlainExtractor(), FeatureCache(tmp_path / "cache"))


def test_a_run_that_ended_goes_on(group, tmp_path):
    """What was done before the end is kept; the rest is done by the next run."""

    class Ends(CountingSource):
        def read(self, images: Images, *, second: bool) -> Reading:
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().read(images, second=second)

    with pytest.raises(KeyboardInterrupt):
        extract(group, Ends(), PlainExtractor(), FeatureCache(tmp_path / "cache"))
    source = CountingSource()
    extract(group, source, PlainExtractor(), FeatureCache(tmp_path / "cache"))
    assert source.asked == ["b-1", "c-1"]


def test_a_damaged_result_is_made_again(group, tmp_path):
    """Half a file is no result."""
    extract(group[:1], CountingSource(), PlainExtractor(), FeatureCache(tmp_path / "cache"))
    for path in (tmp_path / "cache").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "cache" / "digests.json").write_text("{")
    source = CountingSource()
    extract(group[:1], source, PlainExtractor(), FeatureCache(tmp_path / "cache"))
    assert source.asked == ["a-1", "a-2"]
