"""What every object store promises."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from contract import samples
from contract.adapters_under_test import OBJECT_STORES


@pytest.fixture(params=OBJECT_STORES)
def reopen(request, tmp_path):
    return lambda: OBJECT_STORES[request.param](tmp_path)


@pytest.fixture
def store(reopen):
    return reopen()


def test_bytes_come_back_as_they_were_put(store, reopen):
    """What was put is read byte for byte, by this process and by the next one."""
    data = bytes(range(256)) * 33
    store.put("instances/ab/0.dcm", data)
    store.put("empty", b"")
    assert store.get("instances/ab/0.dcm") == data
    assert reopen().get("instances/ab/0.dcm") == data
    assert reopen().get("empty") == b""


def test_a_key_without_object_is_a_key_error(store):
    """Get says KeyError, exists says False, delete is content, for keys that hold nothing, folders included."""
    store.put("a/b/c", b"1")
    for missing in ("none", "a/none", "a/b", "a/b/c/d"):
        with pytest.raises(KeyError):
            store.get(missing)
        assert not store.exists(missing)
    store.delete("a/none")
    assert store.exists("a/b/c")


def test_putting_again_is_no_error(store):
    """The same key and bytes again change nothing."""
    store.put("a", b"same")
    store.put("a", b"same")
    assert store.get("a") == b"same"


def test_a_deleted_object_is_gone(store, reopen):
    """After delete the key holds nothing, and can be used again."""
    store.put("a/b", b"1")
    store.delete("a/b")
    assert not store.exists("a/b")
    assert not reopen().exists("a/b")
    store.put("a/b", b"2")
    assert store.get("a/b") == b"2"


@pytest.mark.parametrize(
    "key",
    [
        "../x",
        "a/../b",
        "/etc/x",
        "a//b",
        ".hidden",
        "a/.hidden",
        "A",
        "a/",
        "",
        "a\n",
        "a\x00",
        "ä",
        "a b",
        "a\\b",
    ],
)
def test_only_keys_of_this_code_are_taken(store, key):
    """A key that could leave the store, hide or collide on another system is a bug of the caller: ValueError."""
    for action in (
        lambda: store.put(key, b"x"),
        lambda: store.get(key),
        lambda: store.delete(key),
        lambda: store.exists(key),
    ):
        with pytest.raises(ValueError, match="key"):
            action()


def test_used_fraction_is_a_fraction(store):
    """How full the medium is lies between 0 and 1."""
    assert 0.0 <= store.used_fraction() <= 1.0


def test_many_threads_put_at_once(store):
    """Objects put by many threads, some to the same key with the same bytes, are all there and whole."""
    numbers = [number % 40 for number in range(120)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: store.put(samples.key(number), samples.content(number)), numbers))
    assert all(store.get(samples.key(number)) == samples.content(number) for number in range(40))


def test_kill_9_loses_nothing_acknowledged(request, reopen, tmp_path):
    """After kill -9 in the middle of writing, every acknowledged object is whole, and no object is half there."""
    adapter = request.node.callspec.params["reopen"]
    rng = random.Random(1)
    acknowledged: list[int] = []
    for _ in range(3):
        acknowledged += samples.acknowledged_before_kill("objects", adapter, tmp_path, len(acknowledged), rng)
        store = reopen()
        for number in acknowledged:
            assert store.get(samples.key(number)) == samples.content(number)
        following = len(acknowledged)
        assert not store.exists(samples.key(following)) or store.get(
            samples.key(following)
        ) == samples.content(following)
    assert len(acknowledged) >= 3
