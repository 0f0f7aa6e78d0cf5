"""Several replicas of each service share the work: partitions by case, receivers one index."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from components import free_port, wait_until
from distributed_node import SERVICES, DistributedNode, distributed_node
from node import ReceivingPacs, send_over
from senders import shuffled
from studies import small_study

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def pacs():
    with ReceivingPacs() as pacs:
        yield pacs


@pytest.fixture(scope="module")
def node(tmp_path_factory, pacs):
    """Two of everything, and a console."""
    port = free_port()
    node = distributed_node(
        tmp_path_factory.mktemp("replicas"),
        [pacs],
        replicas=dict.fromkeys(SERVICES, 2),
        services=(*SERVICES, "console-api"),
        console={"port": port},
    )
    yield node
    node.stop()


def ports(node: DistributedNode) -> list[int]:
    """Where the receivers listen."""
    given = [one.environment.get("PROGNODE_RECEIVER__PORT") for one in node.of("receiver")]
    return [int(port) if port else node.port for port in given]


def test_replicas_share_the_work(node, pacs):
    """Each study comes in through both receivers at once; every one is reported once, and both replicas worked."""
    studies = [small_study(seed=7200 + n) for n in range(10)]
    first, second = ports(node)
    with ThreadPoolExecutor(2) as pool:
        for place, study in enumerate(studies):
            items = shuffled(study, place)
            halves = ((first, items[::2]), (second, items[1::2]))
            answers = list(pool.map(lambda half: send_over(*half), halves))
            assert {answer.status for some in answers for answer in some} == {0}
    for study in studies:
        pacs.wait_reports(1, study.study_uid)
        pacs.wait_figures(1, study.study_uid)
    node.settle()
    for study in studies:
        assert len(pacs.reports(study.study_uid)) == 1
        assert len(pacs.figures(study.study_uid)) == 1
    assert {uid: len(data) for uid, data in pacs.received.items() if len(data) > 1} == {}
    assert node.dead_letters() == []
    for name in ("preprocess", "scoring"):
        handled = Counter(
            one.replica for one in node.of(name) for line in one.events() if line["event"] == "handled"
        )
        assert set(handled) == {0, 1}, f"{name}: one replica did all the work"


def test_a_replica_more_and_one_less(node, pacs):
    """One preprocess is told to stop while studies are on their way, and started again: nothing waits for it."""
    studies = [small_study(seed=7220 + n) for n in range(4)]
    leaving = node.of("preprocess")[0]
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [send_over(node.port, study.instances) for study in studies])
        assert leaving.stop() == 0
        sending.result()
    for study in studies:
        pacs.wait_reports(1, study.study_uid)
    leaving.start().wait_up()
    node.settle()


def test_the_console_shows_and_decides(node, pacs):
    """Cases over HTTP; covariates given there end in a final report."""
    study = small_study(seed=7230)
    node.send(study.instances)
    pacs.wait_reports(1, study.study_uid)
    case = node.wait_state(study.study_uid, "preliminary")
    address = f"http://127.0.0.1:{node.config.console.port}/api"
    listed = ask(f"{address}/cases")
    assert next(one for one in listed if one["case_id"] == case.case_id)["state"] == "preliminary"
    given = {"ki67_percent": 35, "m_stage": "M0"}
    assert ask(f"{address}/cases/{case.case_id}/clinical", given) == {"ki67_percent": 35.0, "m_stage": "M0"}
    pacs.wait_reports(2, study.study_uid)
    wait_until(lambda: ask(f"{address}/cases/{case.case_id}")["state"] == "reported", "the final state")
    assert ask(f"{address}/dead-letters") == []


def ask(address: str, body: object = None):
    """GET, or POST of JSON; the answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
