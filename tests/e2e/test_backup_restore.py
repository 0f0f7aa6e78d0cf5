"""Backup and restore as docs/deploy.md says: pg_dump, then a copy of the bucket; everything lost; and back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from components import require
from distributed_node import DistributedNode, distributed_node
from node import ReceivingPacs, prognode
from servers.postgres import program, talk
from servers.s3 import ACCOUNT, BUCKET, SECRET
from sqlalchemy import make_url
from studies import small_study

from apps.config import load_config
from prognode.adapters import index_schema

pytestmark = pytest.mark.component

REPORTED = [small_study(seed=7401), small_study(seed=7402)]
WAITING, IN_THE_MIDDLE = small_study(seed=7403), small_study(seed=7404)


class Operator:
    """The commands of the page, on the index and the bucket of one node."""

    def __init__(self, node: DistributedNode, backup: Path) -> None:
        self.url = node.config.index_url.get_secret_value()
        s3 = node.config.s3
        assert s3 is not None
        self.bucket = f"s3:{BUCKET}/{s3.prefix}"
        self.dump, self.objects = backup / "index.dump", backup / "objects"
        self.environment = {
            "PATH": os.environ["PATH"],
            "RCLONE_CONFIG": "",
            "RCLONE_CONFIG_S3_TYPE": "s3",
            "RCLONE_CONFIG_S3_PROVIDER": "Other",
            "RCLONE_CONFIG_S3_ENDPOINT": str(s3.endpoint),
            "RCLONE_CONFIG_S3_ACCESS_KEY_ID": ACCOUNT,
            "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": SECRET,
        }

    def back_up(self) -> None:
        """The index first: every object that it names is in the bucket already, and is never written again."""
        self._run(program("pg_dump"), "--format=custom", f"--file={self.dump}", f"--dbname={self.url}")
        self._run(require("rclone", apt="rclone"), "copy", self.bucket, self.objects)

    def lose_everything(self) -> None:
        """Neither data base nor objects are left."""
        with talk(self._server()) as db:
            db.run(f"DROP DATABASE {self._name()} WITH (FORCE)")
        self._run("rclone", "purge", self.bucket)

    def restore(self) -> None:
        """Objects and index into a new data base and an empty bucket, and the schema of this version."""
        self._run("rclone", "copy", self.objects, self.bucket)
        with talk(self._server()) as db:
            db.run(f"CREATE DATABASE {self._name()}")
        self._run(program("pg_restore"), "--exit-on-error", f"--dbname={self.url}", self.dump)
        index_schema.upgrade(self.url)

    def _server(self) -> str:
        return make_url(self.url).set(database="postgres").render_as_string(hide_password=False)

    def _name(self) -> str:
        return str(make_url(self.url).database)

    def _run(self, *command: object) -> None:
        ended = subprocess.run(
            [str(word) for word in command],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr


def test_a_node_that_lost_everything_goes_on_from_its_backup(tmp_path):
    """Reports as they were, a study that waited goes on, one that was on its way is taken up, nothing is sent twice."""
    folder, backup = tmp_path / "node", tmp_path / "backup"
    backup.mkdir()
    with ReceivingPacs() as pacs:
        node = distributed_node(folder, [pacs])
        try:
            before = fill(node, pacs)
            operator = Operator(node, backup)
            operator.back_up()
        finally:
            node.stop()
        node.index.close()
        arrivals = list(pacs.order)

        operator.lose_everything()
        assert prognode("db", "verify", "--config", node.config_path).status != 0
        operator.restore()
        # the brokers are new ones as well
        text = node.config_path.read_text()
        prefix = node.config.kafka.topic_prefix
        node.config_path.write_text(
            text.replace(f'topic_prefix = "{prefix}"', f'topic_prefix = "{prefix}-2"')
        )
        node.config = load_config(node.config_path)
        verified = prognode("db", "verify", "--config", node.config_path)
        assert (verified.status, "4 studies read, 0 objects" in verified.output) == (0, True), verified.output

        replayed = prognode("case", "replay", "--unfinished", "--config", node.config_path)
        assert replayed.output.count("published again") == 1, replayed.output
        node.start()
        try:
            node.wait_state(IN_THE_MIDDLE.study_uid, "preliminary")
            assert node.case(WAITING.study_uid) is None
            node.send(WAITING.contours)
            node.wait_state(WAITING.study_uid, "preliminary")
            for study in (IN_THE_MIDDLE, WAITING):
                pacs.wait_reports(1, study.study_uid)
                pacs.wait_figures(1, study.study_uid)
            node.settle()
            for study in REPORTED:
                assert reports_of(node, study.study_uid) == before[study.study_uid]
            assert pacs.order[: len(arrivals)] == arrivals
            assert len(pacs.order) == len(arrivals) + 4
            assert node.dead_letters() == []
        finally:
            node.stop()


def fill(node: DistributedNode, pacs: ReceivingPacs) -> dict[str, list[bytes]]:
    """Two studies reported, one without contours, one that nobody cuts; the reports of the first two."""
    for study in REPORTED:
        node.send(study.instances)
        pacs.wait_figures(1, study.study_uid)
    contours = {item.SOPInstanceUID for item in WAITING.contours}
    node.send([item for item in WAITING.instances if item.SOPInstanceUID not in contours])
    node.settle()
    (preprocess,) = node.of("preprocess")
    preprocess.stop()
    node.send(IN_THE_MIDDLE.instances)
    node.wait_state(IN_THE_MIDDLE.study_uid, "ready")
    return {study.study_uid: reports_of(node, study.study_uid) for study in REPORTED}


def reports_of(node: DistributedNode, study_uid: str) -> list[bytes]:
    """The report in its three encodings."""
    case = node.case(study_uid)
    assert case is not None
    return [node.objects.get(key) for key in case.outcome["sr"]["object_keys"]]
