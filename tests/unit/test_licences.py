"""What ships is under licences that were allowed one by one."""

from __future__ import annotations

import sys
from email.message import Message
from types import SimpleNamespace

import pytest

from tools import licences


def package(**fields: str) -> SimpleNamespace:
    """An installed package with these metadata."""
    metadata = Message()
    for name, value in fields.items():
        metadata[name.replace("_", "-")] = value
    return SimpleNamespace(name="thing", metadata=metadata)


def test_the_page_is_what_is_installed():
    """Every package and every native library inside one, with a licence that is allowed."""
    page = licences.page()
    if sys.platform == "linux" and sys.version_info[:2] == (3, 11):  # the page speaks of the images
        assert licences.PAGE.read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "LGPL-2.1-or-later", "AGPL-3.0-only", "MIT AND GPL-2.0-only"]
)
def test_copyleft_is_refused(licence):
    """By the expression."""
    with pytest.raises(SystemExit, match="not allowed"):
        licences.licence_of(package(License_Expression=licence))


def test_a_choice_of_licences_needs_one_that_is_allowed():
    """A choice is between whole conjunctions."""
    assert licences.licence_of(package(License_Expression="GPL-2.0-only OR MIT AND 0BSD"))
    with pytest.raises(SystemExit, match="not allowed"):
        licences.licence_of(package(License_Expression="GPL-2.0-only AND MIT OR LGPL-2.1-only"))


@pytest.mark.parametrize("said", ["", "Some words about rights", "UNKNOWN"])
def test_what_nobody_can_read_is_refused(said):
    """A package without a clear licence waits for somebody who reads it."""
    with pytest.raises(SystemExit, match="no known licence"):
        licences.licence_of(package(License=said))


def test_older_fields_are_read():
    """The classifier counts where there is nothing better."""
    assert licences.licence_of(package(Classifier="License :: OSI Approved :: MIT License")) == "MIT"


def test_the_hash_in_a_library_name_is_none_of_it():
    """Two builds of one library are one row."""
    assert licences.library("libgfortran-040039e1-0352e75f.so.5.0.0") == "libgfortran"
    assert licences.library("libscipy_openblas64_-32a4b2a6.so") == "libscipy_openblas64_"
