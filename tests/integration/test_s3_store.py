"""The bucket when the S3 service is slow, refuses, is gone, or was given the wrong names."""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from components import free_port
from contract import samples
from servers.faulty_proxy import FaultyProxy
from servers.s3 import ACCOUNT, SECRET, s3_settings, shared_s3, start_s3

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


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("503", "S3 answers 503 SlowDown"),
        ("500", "S3 answers 500 InternalError"),
        ("502", "S3 answers 502"),
        ("404", "S3 answers 404"),
        ("hang", "S3 does not answer in time"),
        ("cut", "S3 gave no whole answer"),
    ],
)
def test_a_reason_is_a_kind_of_fault_and_nothing_else(store, proxy, mode, said):
    """What passes is named by its kind; address, bucket and account are in no line of what a log could show."""
    store.put("e", bytes(1000))
    proxy.mode = mode
    with pytest.raises(Unavailable) as raised:
        store.get("e")
    assert str(raised.value) == f"object e: {said}"
    shown = "".join(traceback.format_exception_only(raised.value)) + str(raised.value.__cause__)
    assert raised.value.__suppress_context__
    for secret in ("127.0.0.1", SECRET, ACCOUNT):
        assert secret not in shown
    proxy.mode = "pass"
    assert store.get("e") == bytes(1000)


@pytest.mark.parametrize("mode", ["404", "503"])
def test_an_object_is_missing_only_if_s3_says_so(store, proxy, mode):
    """A gateway's 404 is no proof that there is no such object: it is neither a KeyError nor a False."""
    store.put("f", b"1")
    proxy.mode = mode
    for action in (store.get, store.exists, store.delete):
        with pytest.raises(Unavailable):
            action("f")
    proxy.mode = "pass"
    assert store.exists("f")


def test_a_bucket_that_is_gone_is_waited_for():
    """In the middle of work a missing bucket is Unavailable with the sentence for a person, and no missing object."""
    store = S3Store(s3_settings(shared_s3(), bucket="another-bucket"))
    for action in (store.get, store.exists, store.delete, lambda key: store.put(key, b"1")):
        with pytest.raises(Unavailable, match="the bucket does not exist; make it"):
            action("a")


def test_a_try_that_used_up_its_time_is_not_repeated(store, proxy):
    """A call that hangs costs one try, so that it ends by its time."""
    proxy.mode = "hang"
    for number, action in enumerate((lambda: store.put("g", b"1"), lambda: store.get("g"), store.check), 1):
        with pytest.raises(Unavailable):
            action()
        assert proxy.refused == number


def test_many_threads_get_through_a_service_that_comes_and_goes(store, proxy):
    """Threads that try again what was Unavailable put and read whole objects, while 503 comes and goes."""
    over = threading.Event()

    def weather():
        while not over.wait(0.05):
            proxy.mode = "pass" if proxy.mode == "503" else "503"
        proxy.mode = "pass"

    def until_done(action):
        while True:
            try:
                return action()
            except Unavailable:
                time.sleep(0.02)

    def write_and_read(number):
        until_done(lambda: store.put(samples.key(number), samples.content(number)))
        return until_done(lambda: store.get(samples.key(number))) == samples.content(number)

    changing = threading.Thread(target=weather)
    changing.start()
    try:
        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(write_and_read, range(60)))
    finally:
        over.set()
        changing.join()
    assert proxy.refused > 0


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
        ({"region": "eu-west-1"}, "the service expects another region"),
    ],
)
def test_wrong_names_are_for_a_person_to_mend(changes, said):
    """A sentence that says what to do, and no secret in it."""
    store = S3Store(s3_settings(shared_s3(), **changes))
    with pytest.raises(BadRequest, match=said) as raised:
        store.check()
    assert "wrong" not in str(raised.value)


def test_wrong_names_of_a_head_are_those_of_the_account():
    """The answer to a HEAD has no text, and is Unavailable for the account's sake all the same."""
    store = S3Store(s3_settings(shared_s3(), secret_access_key="wrong"))
    with pytest.raises(Unavailable, match="the account may not use the bucket"):
        store.exists("a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SESSION_TOKEN", "of-another-account"),
        ("AWS_ACCESS_KEY_ID", "another"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_S3_EXPRESS", "true"),
    ],
)
def test_what_the_settings_say_is_not_changed_by_the_environment(monkeypatch, name, value):
    """Account, address and region that were given are used as they are."""
    monkeypatch.setenv(name, value)
    S3Store(s3_settings(shared_s3())).check()


def test_without_an_account_that_of_the_environment_is_used(monkeypatch):
    """Settings without key and secret take those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store = S3Store(s3_settings(shared_s3(), prefix="environment", access_key_id="", secret_access_key=""))
    store.check()
    store.put("a", b"1")
    assert store.get("a") == b"1"


def test_without_any_account_a_person_is_told(monkeypatch):
    """No key in settings and environment, and no role to be had: the sentence says what to give."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BadRequest, match="no account is given"):
        S3Store(s3_settings(shared_s3(), access_key_id="", secret_access_key="")).check()


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
