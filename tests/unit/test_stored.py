"""What a message names in the object store: there, not there, something else, or not to be had now."""

from __future__ import annotations

import io

import numpy as np
import pytest

from prognode.adapters.object_folder import FolderStore
from prognode.errors import GaveUp, Unavailable
from prognode.runtime.stored import stored, stored_crops, stored_features

READERS = [stored, stored_crops, stored_features]


class Away:
    """A store that does not answer now."""

    def get(self, key: str) -> bytes:
        raise Unavailable("S3 answers 503 SlowDown")


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path)


@pytest.mark.parametrize("read", READERS)
def test_a_store_that_does_not_answer_is_waited_for(read):
    """Not set aside: the object may be whole."""
    with pytest.raises(Unavailable):
        read(Away(), "crops/a/b.npz")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("key", ["crops/a/b.npz", "../outside", ""])
def test_an_object_that_does_not_exist_is_given_up(store, read, key):
    """Also a key that no store takes."""
    with pytest.raises(GaveUp, match="does not exist"):
        read(store, key)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_bytes_that_are_something_else_are_given_up(store, data):
    """Neither crops nor features."""
    store.put("thing", data)
    for read in (stored_crops, stored_features):
        with pytest.raises(GaveUp, match="thing"):
            read(store, "thing")


@pytest.mark.parametrize("features", [np.full((2, 2048), np.nan), np.zeros((2, 100)), np.zeros(3)])
def test_features_of_another_shape_or_not_finite_are_given_up(store, features):
    """Nothing is reckoned with them."""
    buffer = io.BytesIO()
    np.save(buffer, features.astype(np.float32))
    store.put("features", buffer.getvalue())
    with pytest.raises(GaveUp, match="not finite"):
        stored_features(store, "features")
