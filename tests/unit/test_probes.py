"""/healthz, /readyz and /metrics of a process."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request

import pytest

from prognode.errors import Unavailable
from prognode.runtime import probes as module
from prognode.runtime.probe_settings import ProbeSettings
from prognode.runtime.probes import Beating, Probes


@pytest.fixture
def make():
    """Starts probes on a free port; ends them."""
    started: list[Probes] = []

    def make(loops=None, checks=None, failed=None, refresh=lambda _silent: None) -> Probes:
        probes = Probes(
            ProbeSettings(port=0), loops or {}, failed or threading.Event(), checks or {}, refresh
        )
        probes.start()
        started.append(probes)
        return probes

    yield make
    for probes in started:
        probes.stop()


def get(probes: Probes, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{probes.port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as fault:
        return fault.code, fault.read().decode()


def test_healthy_while_every_loop_comes_round(make):
    """A loop that looks at its stop event is alive; one that does not for longer than its limit is not."""
    stop = threading.Event()
    quick, slow = Beating(stop, limit_s=60.0), Beating(stop, limit_s=0.05)
    probes = make({"quick": quick, "slow": slow})
    slow.is_set()
    assert get(probes, "/healthz")[0] == 200
    time.sleep(0.1)
    status, body = get(probes, "/healthz")
    assert (status, json.loads(body)["late"]) == (503, ["slow"])
    slow.wait(0.0)
    assert get(probes, "/healthz")[0] == 200


def test_a_loop_that_ended_by_a_bug_is_not_healthy(make):
    """The process is to be restarted."""
    failed = threading.Event()
    probes = make(failed=failed)
    assert get(probes, "/healthz")[0] == 200
    failed.set()
    assert get(probes, "/healthz")[0] == 503


def test_ready_when_every_port_answers(make, monkeypatch):
    """What does not answer is named with its reason; what hangs is given up; what is no foreseen fault shows no text."""
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    monkeypatch.setattr(module, "CHECK_LIMIT_S", 0.3)
    faults = {"index": None, "bus": None}

    def check(name):
        def answer():
            if faults[name] == "hangs":
                time.sleep(1.0)
            elif faults[name] is not None:
                raise faults[name]

        return answer

    probes = make(checks={name: check(name) for name in faults})
    assert get(probes, "/readyz")[0] == 200
    faults["bus"] = Unavailable("bus: no broker")
    status, body = get(probes, "/readyz")
    assert (status, json.loads(body)) == (503, {"not ready": {"bus": "bus: no broker"}})
    faults["bus"] = RuntimeError("quotes Mr Miller")
    assert json.loads(get(probes, "/readyz")[1]) == {"not ready": {"bus": "RuntimeError"}}
    faults.update(bus=None, index="hangs")
    assert json.loads(get(probes, "/readyz")[1]) == {"not ready": {"index": "no answer in time"}}


def test_answers_of_ports_are_kept_for_a_moment(make):
    """Many who ask at once do not load the data base."""
    asked = []
    probes = make(checks={"index": lambda: asked.append(1)})
    for _ in range(5):
        get(probes, "/readyz")
    assert len(asked) == 1


def test_metrics_are_refreshed_before_they_are_read(make):
    """Gauges are brought up to date; another path says what there is."""
    refreshed = []
    probes = make(refresh=refreshed.append)
    status, body = get(probes, "/metrics")
    assert status == 200
    assert "# HELP prognode_instances_received_total" in body
    assert refreshed == [{}]
    assert get(probes, "/")[0] == 404


def test_metrics_say_what_answers(make):
    """Each thing that the process runs on is 1 or 0, and the gauges of what is silent are not asked for."""

    def fail():
        raise Unavailable("no broker")

    refreshed = []
    probes = make(checks={"index": lambda: None, "bus": fail}, refresh=refreshed.append)
    body = get(probes, "/metrics")[1]
    assert 'prognode_dependency_ready{dependency="index"} 1.0' in body
    assert 'prognode_dependency_ready{dependency="bus"} 0.0' in body
    assert [list(silent) for silent in refreshed] == [["bus"]]


def test_without_a_port_nothing_listens():
    """Off by default."""
    probes = Probes(ProbeSettings(), {}, threading.Event(), {})
    probes.start()
    with pytest.raises(AssertionError):
        _ = probes.port
    probes.stop()
