"""Messages that no service can handle: set aside with a reason, and everything else goes on."""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import replace

import numpy as np
import pytest
from components import wait_until
from distributed_node import DistributedNode, distributed_node
from kafka import KafkaProducer
from node import ReceivingPacs
from studies import small_study

from apps.outside import bus_of
from prognode.domain.identity import case_id
from prognode.events import facts
from prognode.runtime.crop_archive import CropArchive
from prognode.runtime.keys import features_key

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def pacs():
    with ReceivingPacs() as pacs:
        yield pacs


@pytest.fixture(scope="module")
def node(tmp_path_factory, pacs):
    node = distributed_node(tmp_path_factory.mktemp("poison"), [pacs])
    yield node
    node.stop()


@pytest.fixture
def send_raw(node):
    """Puts bytes on a topic, as a broken or malicious producer would."""
    producer = KafkaProducer(bootstrap_servers=node.config.kafka.bootstrap)

    def send(topic: str, value: bytes | None) -> None:
        producer.send(f"{node.config.kafka.topic_prefix}.{topic}", value, key=b"0123456789abcdef").get(30)

    yield send
    producer.close()


def letters_after(node: DistributedNode, act) -> list[tuple[str, str, str]]:
    """The dead letters that come of ``act``."""
    before = len(node.dead_letters())
    act()
    wait_until(lambda: len(node.dead_letters()) > before, "a dead letter")
    node.settle()
    return node.dead_letters()[before:]


def still_works(node: DistributedNode, pacs: ReceivingPacs, seed: int) -> None:
    """A whole study, behind the poison."""
    study = small_study(seed=seed)
    node.send(study.instances)
    pacs.wait_reports(1, study.study_uid)


def envelope(topic: str, data: object, **changes: object) -> bytes:
    """An event as it travels, with some attributes changed."""
    document = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/prognode/test",
        "type": f"prognode.{topic}.v1",
        "subject": "0123456789abcdef",
        "time": "2026-11-25T12:00:00+00:00",
        "data": data,
    }
    return json.dumps(document | changes).encode()


READY = {"version": 1, "case_id": "0123456789abcdef", "input_digest": "ab" * 32}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"\xff\x00 not JSON", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"{}", "no CloudEvents envelope"),
        (None, "not JSON"),
        (envelope("case-ready", READY, type="prognode.case-ready.v2"), "of version 2 around data of version 1"),
        (envelope("case-ready", READY | {"version": 2}, type="prognode.case-ready.v2"), "version 2 is not known"),
        (envelope("case-ready", {"version": 1, "case_id": "0123456789abcdef"}), "input_digest"),
        (envelope("case-ready", READY | {"case_id": 7}), "case_id"),
        (envelope("crop-ready", READY, type="prognode.crop-ready.v1"), "another type"),
        (envelope("case-ready", "text"), "data"),
    ],
    ids=["bytes", "list", "empty", "tombstone", "type-v2", "v2", "field-missing", "field-wrong", "other-topic", "no-data"],
)  # fmt: skip
def test_what_is_no_event_is_set_aside_with_a_reason(node, pacs, send_raw, value, said):
    """Never handled, never lost: in the dead letters with a sentence, and the next study is reported."""
    letters = letters_after(node, lambda: send_raw("case-ready", value))
    assert [(group, topic) for group, topic, _ in letters] == [("preprocess", "case-ready")]
    assert said in letters[0][2]


def test_the_rest_goes_on_behind_the_poison(node, pacs, send_raw):
    """A study that comes in right behind a bad event is reported."""
    send_raw("case-ready", b"not JSON")
    still_works(node, pacs, 7300)


def damaged(node: DistributedNode, pacs: ReceivingPacs, seed: int, change) -> list[tuple[str, str, str]]:
    """Dead letters of a case whose crops are changed behind scoring's back, when they are scored again."""
    study = small_study(seed=seed)
    node.send(study.instances)
    pacs.wait_reports(1, study.study_uid)
    pacs.wait_figures(1, study.study_uid)
    node.settle()
    case = node.case(study.study_uid)
    key = case.outcome["crop_key"]
    features = features_key(key, _extractor_sha(node))
    node.objects.delete(features)
    change(key, features)
    event = facts.crop_ready(case_id(study.study_uid), case.input_digest, key)

    def publish():
        bus = bus_of(node.config, "test")
        bus.publish([event])
        bus.close()

    return letters_after(node, publish)


def _extractor_sha(node: DistributedNode) -> str:
    from prognode.adapters.recipe_file import load_recipe

    return load_recipe(node.config.recipe).extractor.sha256


def test_objects_that_do_not_exist(node, pacs):
    """The crops are gone."""
    (letter,) = damaged(node, pacs, 7301, lambda key, _: node.objects.delete(key))
    assert letter[:2] == ("scoring", "crop-ready")
    assert "does not exist" in letter[2]
    still_works(node, pacs, 7302)


def test_a_crop_of_the_wrong_shape(node, pacs):
    """Crops of 200 x 200."""

    def change(key, _features):
        archive = CropArchive.from_bytes(node.objects.get(key))
        node.objects.put(key, replace(archive, crops_hu=archive.crops_hu[..., :200, :200]).to_bytes())

    (letter,) = damaged(node, pacs, 7303, change)
    assert letter[:2] == ("scoring", "crop-ready")
    assert "(2, 3, 200, 200)" in letter[2]
    still_works(node, pacs, 7304)


def test_features_that_are_not_finite(node, pacs):
    """Stored features hold NaN."""

    def change(_key, features):
        buffer = io.BytesIO()
        np.save(buffer, np.full((2, 2048), np.nan, np.float32))
        node.objects.put(features, buffer.getvalue())

    (letter,) = damaged(node, pacs, 7305, change)
    assert letter[:2] == ("scoring", "crop-ready")
    assert "not finite" in letter[2]
    still_works(node, pacs, 7306)
