"""One consumer group's loop: receive, handle, publish, acknowledge; in that order, for ever.

A handler is a function ``Event -> Sequence[Event]``. What it raises decides what happens to the message:

* :class:`~prognode.errors.Unavailable`: handed back, comes again after a growing pause;
* :class:`~prognode.errors.GaveUp`: set aside as a dead letter, with the sentence it carries;
* anything else is a bug: the message becomes a dead letter that a person can see and replay, and the loop goes on.
  A bad release must not dead-letter all traffic: after ``dead_letter_limit`` in a row the loop stops loudly.

A message that is no event, or not what its schema says, is set aside before any handler sees it.

A message that takes the whole process down (a codec that aborts on broken data) raises nothing. It is known by the
leases that ended without a word; after ``abandon_limit`` of them it is set aside unhandled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from prognode import metrics
from prognode.errors import GaveUp, Unavailable
from prognode.events.validation import fault_of
from prognode.ports import Bus, Event, Message
from prognode.runtime import tracing

Handler = Callable[[Event], Sequence[Event]]

log = structlog.get_logger()


class TooManyDeadLetters(RuntimeError):
    """The loop met only bugs: stop, so that the traffic is kept for a repaired release."""


def backoff_s(attempts: int, first_s: float = 0.5, cap_s: float = 60.0) -> float:
    """Pause before the next try: doubles from ``first_s`` to ``cap_s``."""
    return float(min(cap_s, first_s * 2.0 ** min(max(attempts, 0), 32)))


DEAD_LETTER_KINDS = ("malformed", "gave-up", "bug", "died")
"""What the metrics call why a message was set aside."""


@dataclass
class Worker:
    """A named consumer group over one bus."""

    group: str
    bus: Bus
    handlers: Mapping[str, Handler]
    dead_letter_limit: int = 20
    abandon_limit: int = 20
    _in_a_row: int = field(default=0, init=False)

    def subscribe(self) -> None:
        """Declare the group, so that events published from now on are kept for it."""
        self.bus.subscribe(self.group, tuple(self.handlers))
        for topic in self.handlers:
            # from zero, so that the first one is an increase
            metrics.retries.labels(self.group, topic)
            for kind in DEAD_LETTER_KINDS:
                metrics.dead_letters.labels(self.group, topic, kind)

    def run(self, stop: threading.Event) -> None:
        """Handle messages until ``stop`` is set."""
        while not stop.is_set():
            self.step(timeout_s=0.25)

    def step(self, timeout_s: float = 0.0) -> bool:
        """Handle at most one message; True if there was one."""
        message = self.bus.receive(self.group, tuple(self.handlers), timeout_s)
        if message is None:
            return False
        self._handle(message)
        return True

    def _handle(self, message: Message) -> None:
        event = message.event
        if not self._accepts(message):
            return
        if message.abandoned >= self.abandon_limit:
            self._set_aside(
                message, f"the process died {message.abandoned} times in {self.group}", kind="died"
            )
            log.error(
                "set-aside", group=self.group, topic=event.topic, case_id=event.key, died=message.abandoned
            )
            return
        try:
            then = self._work(event)
        except Unavailable as error:
            pause = backoff_s(message.attempts) if error.retry_after_s is None else error.retry_after_s
            metrics.retries.labels(self.group, event.topic).inc()
            self.bus.retry(self.group, message, pause, str(error))
            log.warning(
                "retry", group=self.group, topic=event.topic, case_id=event.key, pause_s=pause, why=str(error)
            )
        except GaveUp as error:
            self._set_aside(message, str(error), kind="gave-up")
            log.error("gave-up", group=self.group, topic=event.topic, case_id=event.key, why=str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one case must not stop the others
            self._bury(message, error)
        else:
            self._in_a_row = 0
            self.bus.done(self.group, message, then)
            log.info(
                "handled",
                group=self.group,
                topic=event.topic,
                case_id=event.key,
                then=[e.topic for e in then],
            )

    def _work(self, event: Event) -> list[Event]:
        """The handler, timed and traced; what follows from it belongs to the same trace."""
        with (
            metrics.handling_seconds.labels(self.group, event.topic).time(),
            tracing.span(f"{self.group} {event.topic}", event.traceparent, case_id=event.key),
        ):
            context = tracing.traceparent()
            return [replace(each, traceparent=context) for each in self.handlers[event.topic](event)]

    def _set_aside(self, message: Message, why: str, kind: str) -> None:
        metrics.dead_letters.labels(self.group, message.event.topic, kind).inc()
        self.bus.dead(self.group, message, why)

    def _accepts(self, message: Message) -> bool:
        """Whether it is an event that the schemas know; otherwise it is set aside."""
        why = message.fault or fault_of(message.event)
        if why:
            self._set_aside(message, why, kind="malformed")
            # without the key: nothing of what is no event is known to be free of patient data
            log.error("refused", group=self.group, topic=message.event.topic, why=why)
        return not why

    def _bury(self, message: Message, error: Exception) -> None:
        event = message.event
        # the type alone: an exception's text may quote a data set
        why = f"{type(error).__name__} in {self.group}"
        self._set_aside(message, why, kind="bug")
        log.error(
            "dead-letter",
            group=self.group,
            topic=event.topic,
            case_id=event.key,
            why=why,
            trace=frames_of(error),
        )
        self._in_a_row += 1
        if self._in_a_row >= self.dead_letter_limit:
            raise TooManyDeadLetters(f"{self.group}: {self._in_a_row} dead letters in a row") from error


def frames_of(error: BaseException) -> list[str]:
    """File, line and function of each frame: enough to find the bug, nothing of the data."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames
