"""What only SQLite's adapter promises: files of earlier versions open, and lose nothing."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from prognode.adapters.sql_index import SqlIndex
from prognode.ports import Case, CaseState, Delivery, Event, Registered

FIRST_VERSION = """
CREATE TABLE studies (
    study_instance_uid VARCHAR(64) NOT NULL, patient_key VARCHAR(64), revision INTEGER NOT NULL,
    assessed_revision INTEGER NOT NULL, PRIMARY KEY (study_instance_uid));
CREATE TABLE instances (
    sop_instance_uid VARCHAR(64) NOT NULL, sop_class_uid VARCHAR(64) NOT NULL,
    transfer_syntax_uid VARCHAR(64) NOT NULL, study_instance_uid VARCHAR(64) NOT NULL,
    series_instance_uid VARCHAR(64) NOT NULL, modality VARCHAR(16) NOT NULL, object_key TEXT NOT NULL,
    sha256 VARCHAR(64) NOT NULL, size_bytes BIGINT NOT NULL, received_at DATETIME NOT NULL, card JSON NOT NULL,
    PRIMARY KEY (sop_instance_uid),
    FOREIGN KEY(study_instance_uid) REFERENCES studies (study_instance_uid));
CREATE INDEX ix_instances_study_instance_uid ON instances (study_instance_uid);
CREATE TABLE problems (
    study_instance_uid VARCHAR(64) NOT NULL, kind VARCHAR(64) NOT NULL, detail VARCHAR(512) NOT NULL,
    count INTEGER NOT NULL, first_at DATETIME NOT NULL, last_at DATETIME NOT NULL,
    PRIMARY KEY (study_instance_uid, kind, detail));
CREATE TABLE cases (
    case_id VARCHAR(64) NOT NULL, study_instance_uid VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL,
    updated_at DATETIME NOT NULL, input_digest VARCHAR(64), assessment JSON NOT NULL, outcome JSON NOT NULL,
    PRIMARY KEY (case_id));
CREATE TABLE outbox (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, topic VARCHAR(64) NOT NULL, key VARCHAR(64) NOT NULL,
    payload JSON NOT NULL);
CREATE TABLE choices (case_id VARCHAR(64) NOT NULL, value JSON NOT NULL, PRIMARY KEY (case_id));
CREATE TABLE clinical (case_id VARCHAR(64) NOT NULL, value JSON NOT NULL, PRIMARY KEY (case_id));
CREATE TABLE deliveries (
    sop_instance_uid VARCHAR(64) NOT NULL, destination VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL, last_status TEXT NOT NULL, updated_at DATETIME NOT NULL,
    PRIMARY KEY (sop_instance_uid, destination));

INSERT INTO studies VALUES ('1.2', 'patient', 3, 2);
INSERT INTO instances VALUES ('1.2.1', '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', '1.2', '1.2.0', 'CT',
    'instances/1', 'abc', 525000, '2026-01-02 03:04:05.678901', '{"modality": "CT"}');
INSERT INTO cases VALUES ('case-1', '1.2', 'ready', '2026-01-02 03:04:05.000000', 'd1', '{}', '{}');
INSERT INTO outbox (topic, key, payload) VALUES ('case-ready', 'case-1', '{"version": 1}');
INSERT INTO outbox (topic, key, payload) VALUES ('clinical-updated', 'case-1', '{"version": 1}');
INSERT INTO deliveries VALUES ('1.2.9', 'main', 'stored', 1, '0x0000', '2026-01-02 03:04:05.000000');
"""


@pytest.fixture
def old_file(tmp_path):
    """An index as the first version left it, with two facts that are still to be published."""
    path = tmp_path / "index.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(FIRST_VERSION)
    return path


def test_a_file_of_the_first_version_opens_with_all_it_holds(old_file):
    """Instances, cases and deliveries are there, and more can be registered."""
    index = SqlIndex(old_file)
    (instance,) = index.instances("1.2")
    assert (instance.sop_instance_uid, instance.card) == ("1.2.1", {"modality": "CT"})
    (case,) = index.cases(CaseState.READY)
    assert isinstance(case, Case)
    assert case.input_digest == "d1"
    assert isinstance(index.delivery("1.2.9", "main"), Delivery)
    assert index.unassessed() == [("1.2", 3)]
    assert index.register(instance, "patient") is Registered.DUPLICATE


def test_facts_of_the_first_version_are_published(old_file):
    """A fact that was written before facts had ids gets one, the same at every try, and counts as written now."""
    ids = [event.id for _, event in SqlIndex(old_file).outbox()]
    index = SqlIndex(old_file)
    assert [event.id for _, event in index.outbox()] == ids
    assert len({*ids}) == 2
    assert all(ids)
    assert 0.0 <= index.outbox_age_s() < 600.0
    index.save_clinical("case-1", {}, [Event("clinical-updated", "case-1", {"version": 2}, "trace")])
    published = []
    assert index.publish_outbox(published.extend) == 3
    assert [(event.topic, event.payload["version"], event.traceparent) for event in published] == [
        ("case-ready", 1, ""),
        ("clinical-updated", 1, ""),
        ("clinical-updated", 2, "trace"),
    ]
