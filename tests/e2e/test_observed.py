"""What an operator sees of a distributed node: one trace, metrics, probes, and nothing of the patient."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections import Counter
from copy import deepcopy

import pytest
from components import wait_until
from distributed_node import SERVICES, DistributedNode, ServiceProcess, distributed_node
from kafka import KafkaConsumer, TopicPartition
from node import ReceivingPacs
from otlp_sink import OtlpSink
from studies import small_study

from prognode.runtime.keys import features_key

pytestmark = pytest.mark.component

PATIENT = {
    "PatientName": "Xylophon^Quirin Ödön",
    "PatientID": "ZZTOP-4711-0815",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "ACC99887766",
    "ReferringPhysicianName": "Wunderlich^Kassandra",
    "InstitutionName": "Klinik am Zauberberg",
    "StudyDescription": "Verdacht auf Unaussprechliches",
    "StationName": "STATIONQX17",
}
WORDS = sorted(
    {word for value in PATIENT.values() for word in value.replace("^", " ").split() if len(word) > 4}
)


@pytest.fixture(scope="module")
def sink():
    sink = OtlpSink()
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def pacs():
    with ReceivingPacs() as pacs:
        yield pacs


@pytest.fixture(scope="module")
def node(tmp_path_factory, pacs, sink):
    """Every service with traces on."""
    trace = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    changes = dict.fromkeys(SERVICES, trace)
    node = distributed_node(tmp_path_factory.mktemp("observed"), [pacs], changes=changes)
    yield node
    node.stop()


def get(service: ServiceProcess, path: str) -> tuple[int, str]:
    """Status and body of a probe."""
    address = f"http://127.0.0.1:{service.environment['PROGNODE_PROBES__PORT']}{path}"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as fault:
        return fault.code, fault.read().decode()


def metrics_of(node: DistributedNode) -> str:
    """All services' metrics."""
    return "\n".join(get(service, "/metrics")[1] for service in node.services)


def named(seed: int, **changes):
    """A study of the patient whose name nobody could miss."""
    study = deepcopy(small_study(seed=seed, **changes))
    for item in study.instances:
        item.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in PATIENT.items():
            setattr(item, keyword, value)
    return study


def test_one_trace_from_association_to_delivered_report(node, pacs, sink):
    """Receiver, preprocess, scoring and dispatcher speak of one trace, each step under the one before it."""
    study = small_study(seed=7401)
    node.send(study.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    pacs.wait_figures(1, study.study_uid)
    case = node.case(study.study_uid).case_id

    def chain():
        by_id = {span.span_id: span for span in sink.spans}
        for span in list(sink.spans):
            if span.name == "deliver":
                names, above = [span.name], span
                while above.parent_id in by_id:
                    above = by_id[above.parent_id]
                    names.append(above.name)
                if names[-1] == "association":
                    return names
        return None

    names = wait_until(chain, "a trace that begins with an association and ends with a delivery")
    assert [name for name in reversed(names) if name != "dispatcher report-ready"] == [
        "association",
        "store",
        "assess",
        "preprocess case-ready",
        "scoring crop-ready",
        "dispatcher delivery-requested",
        "deliver",
    ]
    traces = {span.trace_id for span in sink.spans if any(case in said for said in span.attributes)}
    assert len(traces) == 1
    services = {span.service for span in sink.spans if span.trace_id in traces}
    assert services == {f"prognode-{name}" for name in SERVICES}
    assert str(report.StudyInstanceUID) not in str(sink.spans)


def test_metrics_tell_what_happened(node, pacs):
    """Counts of the study's objects, latencies, deliveries; nothing waits."""
    study = small_study(seed=7402)
    node.send(study.instances)
    pacs.wait_reports(1, study.study_uid)
    pacs.wait_figures(1, study.study_uid)
    node.settle()
    values: Counter[str] = Counter()
    for line in metrics_of(node).splitlines():
        if line.startswith("prognode_"):
            name, _, value = line.rpartition(" ")
            values[name] += float(value)
    assert values['prognode_instances_received_total{status="0x0000"}'] >= len(study.instances)
    assert values["prognode_associations_total"] >= 1
    assert values["prognode_inference_seconds_count"] >= 1
    assert values['prognode_handling_seconds_count{group="preprocess",topic="case-ready"}'] >= 1
    assert values['prognode_deliveries_total{destination="main",outcome="stored"}'] >= 2
    assert values["prognode_report_seconds_count"] >= 1
    assert values["prognode_need_set_wait_seconds_count"] >= 1
    assert values['prognode_case_seconds_count{state="preliminary"}'] >= 1
    assert values["prognode_outbox_age_seconds"] == 0.0
    assert values['prognode_cases{state="preliminary",waiting_for=""}'] >= 1
    assert values['prognode_oldest_case_seconds{state="ready",waiting_for=""}'] == 0.0
    assert values["prognode_dead_letters_open"] == 0.0
    extractors = values['prognode_dependency_ready{dependency="extractor"}']
    assert (extractors, values['prognode_dependency_ready{dependency="index"}']) == (1.0, len(SERVICES))
    lags = {name: value for name, value in values.items() if name.startswith("prognode_consumer_lag")}
    assert len(lags) == 7
    assert set(lags.values()) == {0.0}


def test_every_service_is_alive_and_ready(node):
    """/healthz names the loops, /readyz asks what the service runs on."""
    for service in node.services:
        status, body = get(service, "/healthz")
        assert status == 200, body
        assert json.loads(body)["loops"]
        assert get(service, "/readyz") == (200, json.dumps({"not ready": {}}))


def test_nothing_of_the_patient_in_logs_events_metrics_or_traces(node, pacs, sink):
    """A study that is reported, one that is refused, a delivery that is tried again and a dead letter: no word of them."""
    study, refused = named(7403), named(7404, further_rois=("tumour, second",))
    pacs.faults[:] = [0xA700]
    node.send(study.instances)
    node.send(refused.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    pacs.wait_reports(1, refused.study_uid)
    assert str(report.PatientID) == PATIENT["PatientID"], "the report itself names its patient"
    node.settle()
    case = node.case(study.study_uid)
    features = features_key(case.outcome["crop_key"], _extractor_sha(node))
    node.objects.delete(features)
    node.objects.put(case.outcome["crop_key"], b"damaged")
    node.case_command("set-clinical", study.study_uid, "--ki67", "20", "--m-stage", "M0")
    wait_until(node.dead_letters, "a dead letter")
    seen = {
        "logs": "\n".join(service.log.read_text() for service in node.services),
        "events": everything_on_kafka(node),
        "metrics": metrics_of(node),
        "traces": str(sink.spans),
    }
    assert all(len(text) > 500 for text in seen.values())
    found = [(where, word) for where, text in seen.items() for word in WORDS if holds(text, word)]
    assert found == []


def test_the_search_would_find_a_name():
    """In plain, in other cases, as hexadecimal digits and in base64, wherever it begins."""
    for text in (
        "why=Xylophon",
        "XYLOPHON",
        b"Xylophon".hex(),
        *(base64.b64encode(b"x" * shift + b"Xylophon^Quirin").decode() for shift in range(3)),
    ):
        assert holds(text, "Xylophon"), text
    assert not holds("nothing to see", "Xylophon")


def holds(text: str, word: str) -> bool:
    """Whether the text holds the word in any common form."""
    data = word.encode()
    # base64 of a part depends on where it begins; the bytes at its ends depend on its neighbours
    inner = [base64.b64encode(b"\0" * shift + data).decode()[4 if shift else 0 : -4] for shift in range(3)]
    forms = [word.lower(), data.hex(), *(part for part in inner if len(part) >= 4)]
    return any(form in text or form in text.lower() for form in forms)


def _extractor_sha(node: DistributedNode) -> str:
    from prognode.adapters.recipe_file import load_recipe

    return load_recipe(node.config.recipe).extractor.sha256


def everything_on_kafka(node: DistributedNode) -> str:
    """Keys and values of all records of all topics of the node."""
    reader = KafkaConsumer(bootstrap_servers=node.config.kafka.bootstrap, auto_offset_reset="earliest")
    try:
        topics = [name for name in reader.topics() if name.startswith(f"{node.config.kafka.topic_prefix}.")]
        partitions = [
            TopicPartition(topic, one) for topic in topics for one in reader.partitions_for_topic(topic)
        ]
        reader.assign(partitions)
        reader.seek_to_beginning(*partitions)
        ends = reader.end_offsets(partitions)
        texts: list[str] = []
        while any(reader.position(one) < ends[one] for one in partitions):
            for records in reader.poll(timeout_ms=200).values():
                texts += [f"{record.key!r} {record.value!r} {record.headers!r}" for record in records]
    finally:
        reader.close(autocommit=False)
    assert len(topics) == 8
    return "\n".join(texts)
