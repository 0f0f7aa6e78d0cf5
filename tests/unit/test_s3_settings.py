"""Settings of a bucket: what the client could not send is refused by name, and a call's time is divided."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prognode.adapters import s3_store
from prognode.adapters.s3_settings import S3Settings

GIVEN = {"bucket": "prognode", "access_key_id": "key", "secret_access_key": "secret"}


@pytest.mark.parametrize(
    "changes",
    [
        {"bucket": "Prognode"},
        {"bucket": "a b"},
        {"bucket": "..-"},
        {"endpoint": "s3:9000"},
        {"endpoint": "http://"},
        {"endpoint": "http://a b"},
        {"endpoint": "http://s3:0"},
        {"endpoint": "http://s3:99999"},
        {"endpoint": "http://key:secret@s3"},
        {"endpoint": "ftp://s3"},
        {"endpoint": "http://s3\n"},
        {"region": "us-east-1\n"},
        {"region": ""},
        {"access_key_id": "key\n"},
        {"access_key_id": "kéy"},
        {"prefix": "../other"},
        {"prefix": "Upper"},
        {"timeout_s": 0},
        {"another": "x"},
    ],
)
def test_a_value_that_cannot_be_sent_is_refused_by_name(changes):
    """The fault names the key that holds it."""
    with pytest.raises(ValidationError) as raised:
        S3Settings.model_validate(GIVEN | changes)
    assert [fault["loc"] for fault in raised.value.errors()] == [tuple(changes)]


@pytest.mark.parametrize("missing", ["access_key_id", "secret_access_key"])
def test_key_and_secret_go_together(missing):
    """One without the other is a mistake that would otherwise look like a wrong secret."""
    with pytest.raises(ValidationError, match="give both, or neither"):
        S3Settings.model_validate({name: value for name, value in GIVEN.items() if name != missing})


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "http://127.0.0.1:9000",
        "https://s3.example.org/",
        "http://[::1]:9000",
        "https://gate/storage/v1/s3",
    ],
)
def test_addresses_of_services_are_taken(endpoint):
    """Amazon's own, a host, a port, IPv6, and a service under a path."""
    assert S3Settings.model_validate(GIVEN | {"endpoint": endpoint}).endpoint == endpoint


def test_the_secret_is_shown_by_nothing():
    """Neither str nor repr of the settings holds it."""
    settings = S3Settings.model_validate(GIVEN | {"secret_access_key": "hush-hush"})
    assert "hush-hush" not in f"{settings} {settings!r}"


@pytest.mark.parametrize("timeout_s", [0.1, 2.0, 10.0, 60.0])
def test_the_parts_of_a_call_fit_into_its_time(timeout_s):
    """The time for quick tries, the longest pause and a last try that hangs are together no longer than the call may be."""
    settings = S3Settings.model_validate(GIVEN | {"timeout_s": timeout_s})
    retry, client = s3_store._retry(settings), s3_store._client(settings)
    parts = retry["retry_timeout"], retry["backoff"]["max_backoff"], client["timeout"]
    assert sum(part.total_seconds() for part in parts) == pytest.approx(timeout_s)
    assert retry["backoff"]["init_backoff"] <= retry["backoff"]["max_backoff"]
