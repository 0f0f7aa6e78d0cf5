"""What the Helm chart sets makes a node that works: its variables and commands, run as processes on real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from chart_rendering import QUICKSTART, SERVICES, environment, of_kind, pods, rendered
from components import free_port
from contract.adapters_under_test import name_of
from distributed_node import ServiceProcess, shared_servers
from node import ROOT, ReceivingPacs, test_model
from servers.s3 import ACCOUNT, BUCKET, SECRET

pytestmark = pytest.mark.component


def test_a_release_passes_its_own_test(tmp_path):
    """The trial's five services on the servers of the tests, then what `helm test` runs: a study in, its report out.

    Only addresses differ from the release: names of Kubernetes services, and ports, because all is on one machine.
    """
    servers, name, ports = (
        shared_servers(tmp_path),
        name_of(tmp_path),
        {one: free_port() for one in ("receiver", "console")},
    )
    with ReceivingPacs() as pacs:
        documents = rendered(
            QUICKSTART,
            f"config.kafka.topic_prefix={name}",
            f"config.s3.prefix={name}",
            f"config.receiver.port={ports['receiver']}",
            f"config.console.port={ports['console']}",
            f"config.pacs[0].name={pacs.name}",
            f"config.pacs[0].ae_title={pacs.ae_title}",
            "config.pacs[0].host=127.0.0.1",
            f"config.pacs[0].port={pacs.port}",
        )
        addresses = {
            "prognode-kafka:9092": servers.kafka,
            "prognode-triton:8001": servers.triton,
            "http://prognode-s3:7070": servers.s3,
            "prognode-dicom:11112": f"127.0.0.1:{ports['receiver']}",
            "http://prognode-console-api:8080": f"http://127.0.0.1:{ports['console']}",
        }
        secrets = {
            "PROGNODE_INDEX_URL": servers.postgres,
            "PROGNODE_S3__ACCESS_KEY_ID": ACCOUNT,
            "PROGNODE_S3__SECRET_ACCESS_KEY": SECRET,
        }
        assert of_kind(documents, "ConfigMap")["settings"]["data"]["PROGNODE_S3__BUCKET"] == BUCKET
        running = [
            ServiceProcess(
                one,
                tmp_path,
                variables(environment(documents, one, secrets), addresses, scoring=one == "scoring"),
            )
            for one in SERVICES
        ]
        try:
            for one in running:
                one.start()
            for one in running:
                one.wait_up()
            said = subprocess.run(
                check_of(documents, addresses),
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert said.returncode == 0, said.stdout + said.stderr
            assert "the node works" in said.stdout
            assert f"{pacs.name}: stored" in said.stdout
            assert len(pacs.wait_reports(1)) == 1
        finally:
            with ThreadPoolExecutor() as pool:
                statuses = list(pool.map(ServiceProcess.stop, running))
        assert set(statuses) == {0}


def variables(settings: dict[str, str], addresses: dict[str, str], *, scoring: bool) -> dict[str, str]:
    """The environment of a process: the release's, at the addresses of this machine."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PROGNODE_")}
    here = {key: addresses.get(value, value) for key, value in settings.items()}
    # Triton of the tests has the tests' network, and a recipe belongs to one network
    model = {"PROGNODE_RECIPE": str(test_model().recipe)} if scoring else {}
    return {**kept, **here, **model, "PROGNODE_PROBES__PORT": str(free_port()), "OPENBLAS_NUM_THREADS": "1"}


def check_of(documents, addresses: dict[str, str]) -> list[str]:
    """The command of the test's pod, at the addresses of this machine."""
    (pod,) = (pod for name, pod in pods(documents) if name == "test")
    program, *words = pod["spec"]["containers"][0]["command"]
    assert program == "prognode"
    for address, here in addresses.items():
        words = [word.replace(address, here) for word in words]
    return [sys.executable, "-m", "apps.cli.main", *words]
