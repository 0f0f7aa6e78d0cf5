"""The console's interface: what it shows, what may be decided, and what it says to what may not."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest
from node import node_and_pacs, said_of
from studies import small_study

from prognode.errors import Unavailable
from services.console.service import Console
from services.console.settings import ConsoleSettings


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status_code: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Client:
    """Speaks HTTP to the console."""

    port: int

    def get(self, path: str) -> Answer:
        return self._ask("GET", path)

    def post(self, path: str, json: object = None) -> Answer:
        return self._ask("POST", path, json)

    def delete(self, path: str) -> Answer:
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, body: object = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as fault:
            return Answer(fault.code, fault.read().decode())


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A node with one preliminary case, its PACS, and the console over its index and bus."""
    study = small_study(seed=7501)
    with node_and_pacs(tmp_path_factory.mktemp("node")) as (node, pacs):
        node.send(study.instances)
        pacs.wait_figures(1)
        node.settle()
        outside = node.life.outside
        console = Console(ConsoleSettings(port=0), outside.index, outside.bus, outside.woken.set)
        console.start()
        yield node, pacs, Client(console.port), study
        console.stop()


@pytest.fixture
def client(shared) -> Client:
    return shared[2]


@pytest.fixture
def case_id(shared) -> str:
    node, _, _, study = shared
    return node.case(study.study_uid).case_id


def test_cases_are_listed_and_shown(shared, client, case_id):
    """A line for each, and everything about one, as the command line has it."""
    node, _, _, study = shared
    (listed,) = client.get("/api/cases").json()
    assert (listed["case_id"], listed["state"]) == (case_id, "preliminary")
    assert client.get(f"/api/cases/{case_id}").json() == node.show(study.study_uid)


def test_covariates_give_a_final_report(shared, client, case_id):
    """Given over HTTP they act at once."""
    _, pacs, _, study = shared
    answer = client.post(f"/api/cases/{case_id}/clinical", json={"ki67_percent": 35, "m_stage": "m0"})
    assert answer.json() == {"ki67_percent": 35.0, "m_stage": "M0"}
    assert said_of(pacs.wait_reports(2, study.study_uid)[-1]) == {"status": "final"}


def test_a_replay_publishes_the_fact_again(client, case_id):
    """The same inputs: the same report."""
    assert client.post(f"/api/cases/{case_id}/replay").json() == {"published": "case-ready"}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/cases/none/replay", {}, 404, "no case 'none'"),
        ("/api/cases/{id}/clinical", {"ki67_percent": 350}, 422, "between 0 and 100"),
        ("/api/cases/{id}/clinical", {"m_stage": "M7"}, 422, "give M0 or M1"),
        ("/api/cases/{id}/clinical", {}, 422, "nothing given"),
        ("/api/cases/{id}/clinical", {"ki": 1}, 422, "extra"),
        ("/api/cases/{id}/choices", {"phases": {"1.2.3": "arterial"}}, 422, "no series or ROI object"),
        ("/api/cases/{id}/choices", {"phases": {"1.2.3": "late"}}, 422, "arterial or venous"),
        ("/api/dead-letters/none/replay", {}, 404, "no dead letter"),
    ],
)
def test_what_cannot_be_is_a_sentence(client, case_id, path, body, status, said):
    """404 for what is not there, 422 for what may not be."""
    answer = client.post(path.format(id=case_id), json=body)
    assert answer.status_code == status
    assert said in answer.text


def test_dead_letters_are_listed_replayed_and_dropped(shared, client):
    """A message that no handler can take; replayed it dies again, dropped it is gone."""
    bus = shared[0].life.outside.bus
    from prognode.events import facts

    bus.subscribe("nobody", [facts.CROP_READY])
    message = bus.receive("nobody", [facts.CROP_READY], 10.0)
    bus.dead("nobody", message, "a test set it aside")
    (letter,) = client.get("/api/dead-letters").json()
    assert letter["why"] == "a test set it aside"
    assert client.post(f"/api/dead-letters/{letter['id']}/replay").status_code == 200
    assert client.get("/api/dead-letters").json() == []
    bus.dead("nobody", bus.receive("nobody", [facts.CROP_READY], 10.0), "again")
    assert client.delete(f"/api/dead-letters/{letter['id']}").status_code == 200
    assert client.delete(f"/api/dead-letters/{letter['id']}").status_code == 404


def test_a_data_base_that_does_not_answer_is_503(client, shared, monkeypatch):
    """Try again, says the answer."""

    def away(*_):
        raise Unavailable("index: no answer")

    monkeypatch.setattr(shared[0].life.outside.index, "cases", away)
    answer = client.get("/api/cases")
    assert (answer.status_code, answer.json()) == (503, {"detail": "index: no answer; try again"})
