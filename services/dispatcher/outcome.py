"""What an answer of a PACS means for the object that it was sent: pure, so that every rule is a line in a test."""

from __future__ import annotations

import random
from dataclasses import dataclass

from prognode.ports import SendResult
from prognode.runtime import worker
from services.dispatcher.settings import DispatcherSettings

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORISED = 0x0124
CANNOT_TAKE = (range(0xA900, 0xAA00), range(0xC000, 0xD000))
"""Data set does not match SOP class; cannot understand (PS3.4 table B.2-1)."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The PACS answered 0x0000."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """It may work later."""

    delay_s: float
    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The PACS will not take this object, however often it is sent."""

    why: str


Outcome = Delivered | RetryLater | GiveUp


def backoff_s(attempts: int, settings: DispatcherSettings, jitter: float) -> float:
    """Pause after ``attempts`` failed tries: doubles from ``retry_first_s`` to ``retry_cap_s``.

    ``jitter`` in [0, 1) takes away up to half of it, so that many objects do not all come back at one moment.
    """
    pause_s = worker.backoff_s(attempts - 1, settings.retry_first_s, settings.retry_cap_s)
    return pause_s * (1.0 - 0.5 * jitter)


def judge(
    result: SendResult, attempts: int, settings: DispatcherSettings, jitter: float | None = None
) -> Outcome:
    """Decide on the answer to try number ``attempts``. Only 0x0000 counts: with a warning (0xB000, 0xB006, 0xB007)
    the PACS may have changed or dropped elements, so that it does not hold the report that was sent.
    """
    if result.status == SUCCESS:
        return Delivered()
    if _is_final(result.status) and attempts >= settings.refusals:
        return GiveUp(f"refused {attempts} times: {result.detail}")
    chance = random.random() if jitter is None else jitter  # noqa: S311 - spreads load, guards nothing
    return RetryLater(backoff_s(attempts, settings, chance), result.detail)


def _is_final(status: int | None) -> bool:
    if status is None:
        return False
    return status in {SOP_CLASS_NOT_SUPPORTED, NOT_AUTHORISED} or any(
        status in codes for codes in CANNOT_TAKE
    )
