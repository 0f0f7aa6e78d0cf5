"""What a release sets is what the services read: the code itself loads the variables of each of them."""

from __future__ import annotations

import json

import pytest
from chart_rendering import (
    CHART,
    PRODUCTION,
    QUICKSTART,
    SERVICES,
    VALUES,
    environment,
    of_kind,
    pods,
    refusal,
    rendered,
)

from apps.config import NodeConfig, config_from_environment

pytestmark = pytest.mark.component

FETCHING, FOLDER, MINIMAL = (CHART / "ci" / f"{name}.yaml" for name in ("fetching", "folder", "minimal"))
SECRET = {
    "PROGNODE_INDEX_URL": "postgresql://user:password@host:5432/name",
    "PROGNODE_S3__ACCESS_KEY_ID": "key",
    "PROGNODE_S3__SECRET_ACCESS_KEY": "secret",
    "PROGNODE_KAFKA__USERNAME": "user",
    "PROGNODE_KAFKA__PASSWORD": "password",
}


def config_of(documents, component: str) -> NodeConfig:
    return config_from_environment(environment(documents, component, SECRET))


@pytest.mark.parametrize("component", SERVICES)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_service_takes_its_settings(values, component):
    """Each variable is a setting that the code knows, and what a service needs is there."""
    config = config_of(rendered(values), component)
    assert config.index_url.get_secret_value() == SECRET["PROGNODE_INDEX_URL"]
    assert config.kafka is not None
    assert (config.s3 is None) == (config.data is not None)
    assert config.triton is not None
    assert config.probes.port == 9464
    assert config.probes.host == config.console.host == "0.0.0.0"
    assert (config.recipe is not None) == (component == "scoring")


def test_settings_arrive_as_they_were_given():
    """Text, numbers, lists and tables of the values are those of the loaded configuration."""
    config = config_of(rendered(FETCHING), "receiver")
    assert config.receiver.ae_title == "NODE"
    assert config.receiver.port == 10104
    assert config.receiver.calling_ae_titles == ("ARCHIVE", "CT1")
    assert config.assembly.segment_codes == (("SCT", "108369006"),)
    assert config.threads == 4
    assert [(one.name, one.port, one.fetch, one.store) for one in config.pacs] == [
        ("archive", 104, "c-get", True),
        ("research", 11112, None, False),
    ]
    assert config.kafka.topic_prefix == "hospital.prognode"
    assert config.triton.url == "triton.example:8001"


def test_covariates_come_from_where_they_are():
    """The file of a Secret or a claim is mounted where the setting says, in scoring alone."""
    (pod,) = (pod for name, pod in pods(rendered(FETCHING)) if name == "scoring")
    path = str(config_of(rendered(FETCHING), "scoring").clinical_csv)
    mounts = {one["name"]: one["mountPath"] for one in pod["spec"]["containers"][0]["volumeMounts"]}
    assert path == f"{mounts['clinical']}/clinical.csv"
    assert {"name": "clinical", "secret": {"secretName": "covariates"}} in pod["spec"]["volumes"]


def test_objects_in_a_folder_are_in_one_folder():
    """Without S3, who reads or writes objects mounts the receiver's claim where `data` says; the console does not."""
    documents = rendered(FOLDER)
    data = str(config_of(documents, "receiver").data)
    users = set()
    for component, pod in pods(documents):
        mounts = {
            one["mountPath"]: one["name"] for one in pod["spec"]["containers"][0].get("volumeMounts", [])
        }
        if mounts.get(data) == "spool":
            users.add(component)
            claims = [one for one in pod["spec"]["volumes"] if one["name"] == "spool"]
            wanted = {"claimName": "spool-prognode-receiver-0"}
            assert [one["persistentVolumeClaim"] for one in claims] == ([wanted] if claims else [])
            assert bool(claims) == (component != "receiver")
    assert users == {"receiver", "preprocess", "scoring", "dispatcher"}
    (claim,) = of_kind(documents, "StatefulSet")["receiver"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "spool"


def test_services_of_a_trial_find_their_servers():
    """The quickstart's addresses are those of its services."""
    documents = rendered(QUICKSTART)
    ports = {
        f"prognode-{name}:{port['port']}"
        for name, one in of_kind(documents, "Service").items()
        for port in one["spec"]["ports"]
    }
    config = config_of(documents, "scoring")
    address = of_kind(documents, "Secret")["quickstart"]["stringData"]["url"].rpartition("@")[2]
    named = {config.kafka.bootstrap, config.triton.url, config.s3.endpoint.removeprefix("http://")}
    assert (named | {address.removesuffix("/prognode")}) - ports == set()


def test_a_changed_setting_starts_the_pods_again():
    """Every service's pods carry the digest of the settings; nothing else moves it."""

    def digests(*settings: str) -> dict[str, str]:
        found = pods(rendered(MINIMAL, *settings))
        return {
            name: pod["metadata"]["annotations"]["checksum/settings"]
            for name, pod in found
            if name in SERVICES
        }

    before = digests()
    assert set(before) == set(SERVICES)
    assert digests("receiver.replicas=2") == before
    after = digests("config.assembly.grace_s=20")
    assert all(after[name] != before[name] for name in SERVICES)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["secrets.index.existingSecret="], "secrets.index.existingSecret"),
        (["model.existingClaim="], "model: give one of"),
        (["model.demonstration=true"], "model: give one of"),
        (["model.existingClaim=", "model.recipe.secret=recipe"], "triton.repository"),
        (["triton.enabled=false"], "config.triton.url"),
        (["strimzi.enabled=true"], "strimzi: name cluster"),
        (["clinical.secret=a", "clinical.existingClaim=b"], "clinical: give one of"),
        (["networkPolicy.pacs=null"], "networkPolicy.pacs"),
        (["networkPolicy.dns=null"], "networkPolicy.dns"),
        (["networkPolicy.kafka.peers=null"], "networkPolicy.kafka.peers"),
        (["tracing.endpoint=http://collector:4318"], "networkPolicy.otlp.peers"),
        (["receiver.spool.enabled=true"], "receiver.spool: objects are either"),
        (
            ["receiver.spool.enabled=true", "receiver.replicas=2"],
            "receiver.spool: the folder is one receiver's",
        ),
        (["consoleApi.ingress.enabled=true"], "consoleApi.ingress.host"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_does_not_go_together_is_said(settings, sentence):
    """A release that could not work is not rendered; a sentence names the value."""
    words = [word for one in settings for word in ("--set", one)]
    assert sentence in refusal("--values", MINIMAL, *words)


def test_values_alone_are_no_release():
    """Who gives no values hears of the quickstart, and then what is missing, one after the other."""
    assert "values-quickstart.yaml" in refusal()
    brokers = ["--set", "config.kafka.bootstrap=kafka:9092"]
    assert "secrets.index.existingSecret" in refusal(*brokers)
    assert "config.s3.bucket" in refusal(*brokers, "--set", "secrets.index.existingSecret=postgresql")


def test_the_recipe_is_where_scoring_looks():
    """From a claim, a ConfigMap or a Secret, or written by the step before: it is mounted where the setting says."""
    for values in VALUES:
        (pod,) = (pod for name, pod in pods(rendered(values)) if name == "scoring")
        mounts = {one["name"]: one["mountPath"] for one in pod["spec"]["containers"][0]["volumeMounts"]}
        assert (
            environment(rendered(values), "scoring", SECRET)["PROGNODE_RECIPE"]
            == f"{mounts['model']}/recipe.json"
        )
    (pod,) = (pod for name, pod in pods(rendered(QUICKSTART)) if name == "scoring")
    (step,) = pod["spec"]["initContainers"]
    assert step["command"] == ["prognode", "recipe", "demonstration", "--out", "/model/recipe.json"]


def test_triton_has_the_model_that_its_hardware_takes():
    """The export is for the engine; a GPU is asked for with its taint and its label, the CPU asks for none."""
    (gpu,) = (pod for name, pod in pods(rendered(PRODUCTION)) if name == "triton")
    (cpu,) = (pod for name, pod in pods(rendered(QUICKSTART)) if name == "triton")
    assert gpu["spec"]["initContainers"][-1]["command"][-1] == "gpu"
    assert cpu["spec"]["initContainers"][-1]["command"][-1] == "cpu"
    assert gpu["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in json.dumps(cpu)
    assert gpu["spec"]["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert gpu["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    both = rendered(QUICKSTART, "triton.engine=gpu-fp16", "triton.nodeSelector.zone=a")
    (mixed,) = (pod for name, pod in pods(both) if name == "triton")
    assert mixed["spec"]["nodeSelector"] == {"nvidia.com/gpu.present": "true", "zone": "a"}
    assert cpu["spec"]["containers"][0]["command"] == ["tritonserver", "--model-repository=/models"]
