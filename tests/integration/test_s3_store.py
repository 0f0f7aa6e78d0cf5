"""The bucket when the S3 service is slow, refuses, is gone, or was given the wrong names."""

from __future__ import annotations

import threading
import time

import pytest
from servers.faulty_proxy import FaultyProxy
from servers.s3 import s3_settings, shared_s3, start_s3

from prognode.adapters.s3_store import S3Store
from prognode.errors import BadRequest, Unavailable

pytestmark = pytest.mark.component


@pytest.fixture
def proxy():
    """A way to the shared server that can be made to fail."""
    proxy = FaultyProxy(shared_s3())
    yield proxy
    proxy.close()


@pytest.fixture
def store(proxy):
    """A store behind the proxy that gives up after two seconds."""
    return S3Store(s3_settings(proxy.address, prefix="faults", timeout_s=2.0))


def test_slow_down_is_unavailable_and_passes(store, proxy):
    """503 is tried again a little, then it is for the caller; afterwards everything is as before."""
    store.put("a", b"before")
    proxy.mode = "503"
    for action in (
        lambda: store.put("b", b"1"),
        lambda: store.get("a"),
        lambda: store.exists("a"),
        store.check,
    ):
        with pytest.raises(Unavailable):
            action()
    assert proxy.refused > 4, "each call tried more than once"
    proxy.mode = "pass"
    assert store.get("a") == b"before"
    assert not store.exists("b")
    store.put("b", b"1")
    assert store.get("b") == b"1"


def test_a_service_that_never_answers_is_given_up(store, proxy):
    """A call ends by its time limit and its few retries, not in minutes."""
    proxy.mode = "hang"
    begin = time.monotonic()
    with pytest.raises(Unavailable):
        store.put("c", b"1")
    assert time.monotonic() - begin < 30.0
    proxy.mode = "pass"
    store.put("c", b"1")
    assert store.get("c") == b"1"


def test_a_fault_that_passes_within_the_call_is_not_seen(store, proxy):
    """A short refusal is over before the caller hears of it."""
    proxy.mode = "503"
    threading.Timer(0.03, lambda: setattr(proxy, "mode", "pass")).start()
    store.put("d", b"1")
    assert store.get("d") == b"1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bucket": "another-bucket"}, "the bucket does not exist"),
        ({"access_key_id": "nobody"}, "the access key is not known"),
        ({"secret_access_key": "wrong"}, "the secret does not fit"),
    ],
)
def test_wrong_names_are_for_a_person_to_mend(changes, said):
    """A sentence that says what to do, and no secret in it."""
    store = S3Store(s3_settings(shared_s3(), **changes))
    with pytest.raises(BadRequest, match=said) as raised:
        store.check()
    assert "wrong" not in str(raised.value)


def test_a_server_that_is_killed_comes_back_with_everything(tmp_path):
    """Unavailable while it is gone; what was put before is there afterwards."""
    server = start_s3(tmp_path)
    try:
        store = S3Store(s3_settings(server.address, timeout_s=1.0))
        data = bytes(range(256)) * 160_000
        store.put("large", data)
        server.kill9()
        with pytest.raises(Unavailable):
            store.get("large")
        server.start()
        assert store.get("large") == data
        store.check()
    finally:
        server.stop()
