"""Settings of a single service from the environment: the same keys, the same checks, and sentences that name variables."""

from __future__ import annotations

import json

import pytest

from apps.config import config_from_environment, is_in_environment
from prognode.errors import BadRequest

SERVERS = {
    "PROGNODE_INDEX_URL": "postgresql://user:secret@db:5432/prognode",
    "PROGNODE_KAFKA__BOOTSTRAP": "kafka:9092",
    "PROGNODE_S3__BUCKET": "images",
    "PROGNODE_S3__ACCESS_KEY_ID": "somebody",
    "PROGNODE_S3__SECRET_ACCESS_KEY": "hidden",
    "PROGNODE_TRITON__URL": "triton:8001",
}
PACS = [{"name": "archive", "ae_title": "ARCHIVE", "host": "pacs", "port": 104}]


def test_every_kind_of_setting_is_read():
    """Texts, numbers, booleans, lists and peers; no file is needed where everything is on a server."""
    config = config_from_environment(
        SERVERS
        | {
            "PROGNODE_RECEIVER__PORT": "11113",
            "PROGNODE_RECEIVER__REQUIRE_CALLED_AE_TITLE": "true",
            "PROGNODE_RECEIVER__CALLING_AE_TITLES": '["CT1", "CT2"]',
            "PROGNODE_PACS": json.dumps(PACS),
            "PROGNODE_ASSEMBLY__GRACE_S": "2.5",
            "PATH": "/usr/bin",
            "PROGNODE_HOME": "/srv/prognode",
        }
    )
    assert config.data is None
    assert config.index_url.get_secret_value() == SERVERS["PROGNODE_INDEX_URL"]
    assert (config.kafka.bootstrap, config.s3.bucket, config.triton.url) == (
        "kafka:9092",
        "images",
        "triton:8001",
    )
    assert config.receiver.port == 11113
    assert config.receiver.require_called_ae_title
    assert config.receiver.calling_ae_titles == ("CT1", "CT2")
    assert config.assembly.grace_s == 2.5
    assert [one.name for one in config.pacs] == ["archive"]


def test_variables_win_over_the_file(tmp_path):
    """A file that PROGNODE_CONFIG names holds where no variable says otherwise; its paths are relative to it."""
    path = tmp_path / "node.toml"
    path.write_text(
        'data = "data"\nrecipe = "r.json"\nextractor = "e.onnx"\n[receiver]\nport = 1\nae_title = "FILE"\n'
    )
    config = config_from_environment({"PROGNODE_CONFIG": str(path), "PROGNODE_RECEIVER__PORT": "2"})
    assert (config.receiver.port, config.receiver.ae_title) == (2, "FILE")
    assert config.data == tmp_path / "data"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PROGNODE_RECIEVER__PORT": "1"}, "PROGNODE_RECIEVER__PORT: there is no such setting"),
        ({"PROGNODE_RECEIVER__PROT": "1"}, "PROGNODE_RECEIVER__PROT: there is no such setting"),
        ({"PROGNODE_PACS": "archive"}, "PROGNODE_PACS: not JSON"),
        ({"PROGNODE_RECEIVER__PORT": "eleven"}, "receiver.port"),
        ({"PROGNODE_KAFKA__SESSION_TIMEOUT_S": "1"}, "kafka.session_timeout_s"),
        ({"PROGNODE_S3__BUCKET": ""}, "s3.bucket"),
    ],
)
def test_faults_name_the_variable_or_the_key(changes, said):
    """One sentence, and no secret in it."""
    with pytest.raises(BadRequest) as raised:
        config_from_environment(SERVERS | changes)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value).replace("secret_access_key", "")


def test_what_is_on_no_server_needs_the_data_folder():
    """Without S3 the objects need a place."""
    without = {name: value for name, value in SERVERS.items() if not name.startswith("PROGNODE_S3")}
    with pytest.raises(BadRequest, match="data: this key is missing"):
        config_from_environment(without)


def test_secrets_are_not_printed():
    """Neither of the data base nor of the bucket."""
    shown = repr(config_from_environment(SERVERS))
    assert "hidden" not in shown
    assert "secret@" not in shown


@pytest.mark.parametrize(
    ("environment", "there"),
    [
        ({"PROGNODE_HOME": "/x", "PROGNODE_TEST_KAFKA": "y"}, False),
        ({"PROGNODE_DATA": "/x"}, True),
        ({"PROGNODE_CONFIG": "/x"}, True),
    ],
)
def test_commands_know_whether_the_environment_speaks(environment, there):
    """`case` and `dlq` use it only where it holds settings."""
    assert is_in_environment(environment) is there
