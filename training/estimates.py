"""A number, or the sentence that stands where the data do not determine it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from prognode.errors import NotEstimable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NotKnown:
    """Why there is no number."""

    why: str


@contextmanager
def no_silent_warnings() -> Iterator[None]:
    """Whatever a fit warns of is an error: a number that came with a warning is not one to report.

    Arithmetic warns even where another library has silenced it for the whole process.
    """
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn"):
        for category in (RuntimeWarning, UserWarning):  # not what libraries say about their own future
            warnings.simplefilter("error", category)
        yield


def estimated(compute: Callable[[], T]) -> T | NotKnown:
    """What ``compute`` gives, or why it gives nothing: the data do not determine it, or the arithmetic warned."""
    try:
        with no_silent_warnings():
            return compute()
    except NotEstimable as fault:
        return NotKnown(str(fault))
    except Warning as warning:
        return NotKnown(f"the computation warned, so its number is not shown: {warning}")
