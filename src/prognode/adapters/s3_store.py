"""Objects in a bucket of an S3 service. S3 answers a put when the object is durable and whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

from prognode.adapters.object_keys import checked_key
from prognode.adapters.s3_settings import S3Settings
from prognode.errors import BadRequest, Unavailable

RETRIES = 2
"""Quick ones, inside a call; what does not pass then is for the caller to try again."""
FOR_A_PERSON = {
    "NoSuchBucket": "the bucket does not exist; make it, or name another",
    "InvalidAccessKeyId": "the access key is not known; check `access_key_id`",
    "SignatureDoesNotMatch": "the secret does not fit the access key; check `secret_access_key`",
    "XAdminUserNotFound": "the access key is not known; check `access_key_id`",  # as versitygw says it
    "AccessDenied": "the account may not use the bucket; give it list, get, put and delete",
}


class S3Store:
    """An :class:`~prognode.ports.ObjectStore` in a bucket. Safe for many threads and processes."""

    def __init__(self, settings: S3Settings) -> None:
        self._bucket = settings.bucket
        self._store = obstore.store.S3Store(
            settings.bucket,
            config=_config(settings),
            client_options=_client(settings),
            retry_config=_retry(settings),
        )
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with self._errors(key):
            # one request whatever the size: an upload in parts could be left half done
            obstore.put(self._store, path, data, use_multipart=False)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with self._errors(key):
            return obstore.get(self._store, path).bytes().to_bytes()

    def exists(self, key: str) -> bool:
        path = self._path(key)
        try:
            with self._errors(key):
                obstore.head(self._store, path)
        except KeyError:
            return False
        return True

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            with self._errors(key):
                obstore.delete(self._store, path)
        except KeyError:
            return

    def used_fraction(self) -> float:
        """0: a bucket has no end that could be seen from here."""
        return 0.0

    def check(self) -> None:
        """Whether bucket and account are good. Raises Unavailable, or BadRequest for what a person must mend."""
        try:
            with self._errors("."):
                next(iter(obstore.list(self._store, prefix=f"{self._prefix}check", chunk_size=1)), None)
        except _ForAPerson as fault:
            raise BadRequest(f"s3: {self._bucket}: {FOR_A_PERSON[fault.code]}") from None

    def _path(self, key: str) -> str:
        return self._prefix + checked_key(key)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """What S3 answers as outcomes. Its own texts hold addresses and signatures: the kind alone is passed on."""
        try:
            yield
        except (BaseError, OSError) as fault:
            code = next((code for code in FOR_A_PERSON if code in str(fault)), "")
            if code or isinstance(fault, PermissionDeniedError | UnauthenticatedError):
                raise _ForAPerson(code or "AccessDenied") from None
            if isinstance(fault, NotFoundError | FileNotFoundError):
                raise KeyError(key) from None
            raise Unavailable(f"object {key}: {type(fault).__name__}") from fault


class _ForAPerson(Unavailable):
    """Account or bucket are not as they were: in the middle of work it is waited for, at the start a person is told."""

    def __init__(self, code: str) -> None:
        super().__init__(f"s3: {code}")
        self.code = code


def _config(settings: S3Settings) -> Any:
    config: dict[str, Any] = {"region": settings.region}
    if settings.endpoint:
        config |= {"endpoint": settings.endpoint, "virtual_hosted_style_request": False}
    if settings.access_key_id:
        config |= {
            "access_key_id": settings.access_key_id,
            "secret_access_key": settings.secret_access_key.get_secret_value(),
        }
    return config


def _client(settings: S3Settings) -> Any:
    return {
        "timeout": timedelta(seconds=settings.timeout_s),
        "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
        "allow_http": settings.endpoint.startswith("http://"),
    }


def _retry(settings: S3Settings) -> Any:
    return {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=settings.timeout_s),
        "backoff": {
            "init_backoff": timedelta(milliseconds=50),
            "max_backoff": timedelta(milliseconds=500),
            "base": 2,
        },
    }
