"""Objects in a bucket of an S3 service. S3 answers a put when the object is durable and whole, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError

from prognode.adapters.object_keys import checked_key
from prognode.adapters.s3_settings import S3Settings
from prognode.errors import BadRequest, Unavailable

RETRIES = 2
"""Quick ones, inside a call; what does not pass then is for the caller to try again."""
QUICK = 0.1
"""Part of a call's time in which a try that failed is repeated, and again the longest pause before the last one."""
NO_ACCOUNT = "no account is given and this machine has no role; give `access_key_id` and `secret_access_key`"
NO_RIGHT = "the account may not use the bucket; give it list, get, put and delete"
FOR_A_PERSON = {
    "/latest/api/token": NO_ACCOUNT,  # where a cloud machine is asked for its role
    "/latest/meta-data/iam": NO_ACCOUNT,
    "NoSuchBucket": "the bucket does not exist; make it, or name another",
    "InvalidAccessKeyId": "the access key is not known; check `access_key_id`",
    "XAdminUserNotFound": "the access key is not known; check `access_key_id`",  # as versitygw says it
    "SignatureDoesNotMatch": "the secret does not fit the access key; check `secret_access_key`",
    "RequestTimeTooSkewed": "the clocks of service and machine differ; set this machine's clock",
    "AuthorizationHeaderMalformed": "the service expects another region; check `region`",
    "PermanentRedirect": "the bucket is in another region; check `region` and `endpoint`",
    "status code: 401": NO_RIGHT,
    "status code: 403": NO_RIGHT,
}
"""What the client's text of a fault holds, the particular before the general, and what a person does about it."""


class S3Store:
    """An :class:`~prognode.ports.ObjectStore` in a bucket. Safe for many threads and processes."""

    def __init__(self, settings: S3Settings) -> None:
        self._bucket = settings.bucket
        self._store = obstore.store.S3Store(
            settings.bucket,
            config=_config(settings),
            client_options=_client(settings),
            retry_config=_retry(settings),
            credential_provider=_account(settings),
        )
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with self._outcomes(key):
            # one request whatever the size: an upload in parts could be left half done
            obstore.put(self._store, path, data, use_multipart=False)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with self._outcomes(key):
            return obstore.get(self._store, path).bytes().to_bytes()

    def exists(self, key: str) -> bool:
        path = self._path(key)
        try:
            with self._outcomes(key):
                try:
                    obstore.head(self._store, path)
                except (NotFoundError, FileNotFoundError):
                    # the answer to a HEAD has no text: a GET says whether it is the key that is missing, or the bucket
                    obstore.get(self._store, path)
        except KeyError:
            return False
        return True

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            with self._outcomes(key):
                obstore.delete(self._store, path)
        except KeyError:
            return

    def used_fraction(self) -> float:
        """0: a bucket has no end that could be seen from here."""
        return 0.0

    def check(self) -> None:
        """Whether bucket and account are good. Raises Unavailable, or BadRequest for what a person must mend."""
        try:
            with self._outcomes("."):
                next(iter(obstore.list(self._store, prefix=f"{self._prefix}check", chunk_size=1)), None)
        except _ForAPerson as fault:
            raise BadRequest(str(fault)) from None

    def _path(self, key: str) -> str:
        return self._prefix + checked_key(key)

    @contextmanager
    def _outcomes(self, key: str) -> Iterator[None]:
        """What S3 answers as outcomes. Its own texts hold addresses and signatures: only what they mean is passed on."""
        try:
            yield
        except (BaseError, OSError) as fault:
            said = str(fault)
            for mark, sentence in FOR_A_PERSON.items():
                if mark in said:
                    raise _ForAPerson(f"s3: {self._bucket}: {sentence}") from None
            # a 404 that does not say so is a gateway's, and proves nothing about the object
            if "NoSuchKey" in said:
                raise KeyError(key) from None
            raise Unavailable(f"object {key}: {_kind(said)}") from None


class _ForAPerson(Unavailable):
    """Account or bucket are not as they were: in the middle of work it is waited for, at the start a person is told."""


def _kind(said: str) -> str:
    """A fault in some words, of which none is the service's own but its code."""
    status = re.search(r"status code: (\d{3})", said)
    code = re.search(r"<Code>(\w{1,40})</Code>", said)
    if status:
        return f"S3 answers {status[1]}{f' {code[1]}' if code else ''}"
    if "kind: Timeout" in said:
        return "S3 does not answer in time"
    if "kind: Connect" in said:
        return "S3 takes no connection"
    return "S3 gave no whole answer"


def _config(settings: S3Settings) -> Any:
    # said, so that no variable of the environment says otherwise
    config: dict[str, Any] = {"region": settings.region, "s3_express": False, "skip_signature": False}
    if settings.endpoint:
        config |= {"aws_endpoint_url_s3": settings.endpoint, "virtual_hosted_style_request": False}
    return config


def _account(settings: S3Settings) -> Any:
    """The account that was given, alone: a session token of the environment does not belong to it."""
    if not settings.access_key_id:
        return None
    key, secret = settings.access_key_id, settings.secret_access_key.get_secret_value()
    return lambda: {"access_key_id": key, "secret_access_key": secret, "expires_at": None}


def _client(settings: S3Settings) -> Any:
    return {
        "timeout": timedelta(seconds=settings.timeout_s * (1 - 2 * QUICK)),
        "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
        "allow_http": settings.endpoint.startswith("http://"),
    }


def _retry(settings: S3Settings) -> Any:
    """Only a try that failed within the first tenth is repeated: so a call ends by its time, whatever fails when."""
    longest = settings.timeout_s * QUICK
    return {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=longest),
        "backoff": {
            "init_backoff": timedelta(seconds=min(0.05, longest)),
            "max_backoff": timedelta(seconds=longest),
            "base": 2,
        },
    }
