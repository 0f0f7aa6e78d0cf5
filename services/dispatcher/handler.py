"""Takes finished DICOM objects to every configured PACS, and counts only what the PACS says it has.

``report-ready`` fans out into one ``delivery-requested`` per destination, so that a PACS that is down holds up no
other. A delivery then goes ``pending -> stored -> committed``, each step durable before the next; where the PACS offers
no storage commitment it ends at ``stored``. Replays find the state and do only what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from prognode import metrics
from prognode.errors import GaveUp, Unavailable
from prognode.events import facts
from prognode.events.models import Sent
from prognode.ports import DELIVERED, JSON, Clock, Delivery, Event, Index, ObjectStore, Pacs, SendResult
from prognode.runtime import tracing
from prognode.runtime.arrivals import since_last
from prognode.runtime.stored import stored
from prognode.runtime.worker import Handler
from services.dispatcher.outcome import Delivered, GiveUp, RetryLater, backoff_s, judge
from services.dispatcher.settings import DispatcherSettings

OUTCOMES = (*DELIVERED, "retry", "failed")
"""What the metrics call what came of an attempt."""


@dataclass(frozen=True)
class Dispatcher:
    """The dispatcher service's handlers over its ports.

    ``peers`` are the destinations of reports by name; ``committing`` names those that are asked for storage commitment.
    """

    index: Index
    objects: ObjectStore
    peers: Mapping[str, Pacs]
    clock: Clock
    settings: DispatcherSettings = field(default_factory=DispatcherSettings)
    committing: Collection[str] = ()

    group = "dispatcher"

    def __post_init__(self) -> None:
        for destination in self.peers:
            for outcome in OUTCOMES:
                metrics.deliveries.labels(
                    destination, outcome
                )  # from zero, so that the first one is an increase

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What this service consumes."""
        return {
            facts.REPORT_READY: self.on_report_ready,
            facts.DELIVERY_REQUESTED: self.on_delivery_requested,
        }

    # ------------------------------------------------------------ handlers

    def on_report_ready(self, event: Event) -> Sequence[Event]:
        """``report-ready`` -> one ``delivery-requested`` per destination; with none, the report is where it can be."""
        if not self.peers:
            return _report_delivered(event)
        return [facts.delivery_requested(event, name) for name in self.peers]

    def on_delivery_requested(self, event: Event) -> Sequence[Event]:
        """``delivery-requested`` -> the next step of this delivery."""
        destination = event.payload["destination"]
        peer = self.peers.get(destination)
        if peer is None:
            raise GaveUp(f"{destination} is not a configured destination")
        if "sent" in event.payload:
            return self._commit(event, peer)
        delivery = self._delivery(event)
        if self._is_settled(delivery):
            return _report_delivered(event)
        return self._send(event, peer, delivery.attempts + 1)

    # ------------------------------------------------------------ steps

    def _send(self, event: Event, peer: Pacs, attempts: int) -> Sequence[Event]:
        variants = [stored(self.objects, key) for key in event.payload["object_keys"]]
        try:
            with tracing.span("deliver", destination=peer.name):
                result = peer.send(variants)
        except Unavailable as error:
            result = SendResult(None, str(error), "", event.payload["sop_instance_uid"])
        match judge(result, attempts, self.settings):
            case Delivered():
                first = not self._is_elsewhere(event)
                if first and event.payload["kind"] == "sr":
                    self._note_arrival(event)
                self._save(event, "stored", attempts, result.detail)
                said = _report_delivered(event) if first else []
                return [*said, *self._ask_commitment(event, result, attempts)]
            case RetryLater(delay_s, why):
                self._save(event, "pending", attempts, why)
                raise Unavailable(why, retry_after_s=delay_s)
            case GiveUp(why):
                self._save(event, "failed", attempts, why)
                raise GaveUp(why)

    def _note_arrival(self, event: Event) -> None:
        case = self.index.case(event.key)
        if case is not None:
            metrics.report_seconds.observe(since_last(self.index, case))

    def _is_elsewhere(self, event: Event) -> bool:
        """Whether another destination has the object: its delivery has said so, and the figure is on its way."""
        uid, destination = event.payload["sop_instance_uid"], event.payload["destination"]
        return any(
            delivery.state in DELIVERED
            for delivery in self.index.deliveries(uid)
            if delivery.destination != destination
        )

    def _ask_commitment(self, event: Event, result: SendResult, attempts: int) -> Sequence[Event]:
        """The event that comes back for the commitment step, knowing what was sent: by negotiation, perhaps a fall-back."""
        destination = event.payload["destination"]
        if destination not in self.committing:
            return []
        sent = Sent(
            sop_class_uid=result.sop_class_uid, sop_instance_uid=result.sop_instance_uid, attempts=attempts
        )
        resends = event.payload.get("resends", 0)
        return [facts.delivery_requested(event, destination, sent=sent, resends=resends)]

    def _commit(self, event: Event, peer: Pacs) -> Sequence[Event]:
        sent: JSON = event.payload["sent"]
        delivery = self._delivery(event)
        if delivery.state == "committed":
            return []
        try:
            verdict = peer.commit(sent["sop_class_uid"], sent["sop_instance_uid"])
        except Unavailable as error:
            return self._without_verdict(event, delivery.attempts + 1, str(error))
        if verdict is None:
            return self._without_verdict(event, delivery.attempts + 1, "no storage commitment verdict")
        if not verdict:
            return self._send_again(event, delivery.attempts + 1)
        self._save(event, "committed", delivery.attempts + 1, "storage commitment given")
        return []

    def _without_verdict(self, event: Event, attempts: int, why: str) -> Sequence[Event]:
        """Ask again some times, then leave it: the PACS has answered 0x0000 for the object all the same."""
        tries = attempts - event.payload["sent"]["attempts"]
        self._save(event, "stored", attempts, f"stored, not committed: {why}")
        if tries >= self.settings.commitment_tries:
            return []
        raise Unavailable(why, retry_after_s=backoff_s(tries, self.settings, jitter=0.0))

    def _send_again(self, event: Event, attempts: int) -> Sequence[Event]:
        """The PACS answered 0x0000 once and does not have the object now."""
        resends = event.payload.get("resends", 0) + 1
        why = f"storage commitment refused {resends} times"
        if resends >= self.settings.refusals:
            self._save(event, "failed", attempts, why)
            raise GaveUp(why)
        self._save(event, "pending", attempts, why)
        return [facts.delivery_requested(event, event.payload["destination"], resends=resends)]

    # ------------------------------------------------------------ state

    def _delivery(self, event: Event) -> Delivery:
        uid, destination = event.payload["sop_instance_uid"], event.payload["destination"]
        known = self.index.delivery(uid, destination)
        return known or Delivery(uid, destination, "pending", 0, "", self.clock.now())

    def _save(self, event: Event, state: str, attempts: int, last_status: str) -> None:
        uid, destination = event.payload["sop_instance_uid"], event.payload["destination"]
        metrics.deliveries.labels(destination, "retry" if state == "pending" else state).inc()
        self.index.save_delivery(Delivery(uid, destination, state, attempts, last_status, self.clock.now()))

    def _is_settled(self, delivery: Delivery) -> bool:
        if delivery.destination in self.committing:
            return delivery.state == "committed"
        return delivery.state in DELIVERED


def _report_delivered(event: Event) -> list[Event]:
    """Said of structured reports only: the figure is drawn after its report is out."""
    return [facts.report_delivered(event)] if event.payload["kind"] == "sr" else []
