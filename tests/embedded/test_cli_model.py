"""``score``, ``recipe``, ``weights`` and ``synth``: the commands around the model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pydicom
import pytest
from command_line import require_sentence
from node import prognode, test_model
from release_layout import write_release_layout
from studies import small_study

from prognode.adapters.keras_weights import random_weights
from training.synthetic_study import SyntheticStudy, with_tilt, without_slices, write_study


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROGNODE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def score(study: Path | list[Path], out: Path, *more: object):
    model = test_model()
    return prognode(
        "score", study, "--recipe", model.recipe, "--extractor", model.extractor, "--out", out, *more
    )


def written(study: SyntheticStudy, folder: Path) -> Path:
    write_study(study, folder)
    return folder


def report_in(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


# ---------------------------------------------------------------- score


def test_score_writes_the_report_and_its_twin(tmp_path):
    """With covariates: a final report as SR, JSON, figure as DICOM and PNG; exit 0."""
    out = tmp_path / "out"
    study = written(small_study(), tmp_path / "study")
    result = score(study, out, "--clinical", "ki67=20,m_stage=M0")
    assert (result.status, result.errors) == (0, "")
    assert {path.name for path in out.iterdir()} == {"report.dcm", "report.json", "figure.dcm", "figure.png"}
    assert report_in(out)["status"] == "final"
    assert pydicom.dcmread(out / "report.dcm").Modality == "SR"
    assert "5-year overall survival" in result.output
    assert [line for line in result.output.splitlines() if line.startswith("{")] == []


def test_score_without_covariates_is_preliminary(tmp_path):
    """Signatures only: the report says that it is preliminary."""
    assert score(written(small_study(), tmp_path / "study"), tmp_path / "out").status == 0
    assert report_in(tmp_path / "out")["status"] == "preliminary"


def test_score_says_not_evaluable_in_a_report(tmp_path):
    """A tilted series gives a report with its reason, exit 0, and no figure."""
    study = written(with_tilt(small_study(), "arterial"), tmp_path / "study")
    result = score(study, tmp_path / "out")
    assert result.status == 0
    report = report_in(tmp_path / "out")
    assert (report["status"], report["reason"]) == ("not-evaluable", "gantry-tilt")
    assert "gantry-tilt" in result.output


def test_score_of_one_phase_says_what_is_missing(tmp_path):
    """The node would wait: exit 2, a sentence, nothing written."""
    images = without_slices(small_study(), "venous", set(range(40)))
    study = written(images, tmp_path / "study")
    for path in study.iterdir():
        if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SEG":
            path.unlink()
    require_sentence(score(study, tmp_path / "out"), "other phase", "prognode inspect")
    assert list((tmp_path / "out").iterdir()) == []


def test_score_of_images_without_contours_is_a_sentence(tmp_path):
    """No RTSTRUCT and no SEG."""
    study = written(small_study(), tmp_path / "study")
    for path in study.iterdir():
        if pydicom.dcmread(path, stop_before_pixels=True).Modality != "CT":
            path.unlink()
    require_sentence(score(study, tmp_path / "out"), "no study with contours")


def test_score_of_two_studies_is_a_sentence(tmp_path):
    """Which of them is meant is not guessed."""
    written(small_study(), tmp_path / "both" / "a")
    written(small_study(seed=801), tmp_path / "both" / "b")
    require_sentence(score(tmp_path / "both", tmp_path / "out"), "2 studies with contours")


# ---------------------------------------------------------------- recipe


def test_recipe_show_says_what_a_person_asks():
    """Name, notices, extractor, terms and cutoffs of both models."""
    result = prognode("recipe", "show", test_model().recipe)
    assert (result.status, result.errors) == (0, "")
    document = json.loads(test_model().recipe.read_text())
    for word in (document["name"], document["extractor"]["sha256"], *document["notices"]):
        assert word in result.output


def test_recipe_verify_takes_the_right_extractor_and_refuses_another(tmp_path):
    """Reference cases agree on the extractor that the recipe names, and on no other."""
    model = test_model()
    right = prognode("recipe", "verify", model.recipe, "--extractor", model.extractor)
    assert (right.status, right.errors) == (0, "")
    other = tmp_path / "other.onnx"
    assert prognode("weights", "random", "--seed", "2", "--out", other).status == 0
    require_sentence(prognode("recipe", "verify", model.recipe, "--extractor", other), "extractor")


def test_recipe_demonstration_makes_a_recipe_that_verifies(tmp_path):
    """It belongs to the network of `weights random`, reproduces there, and says that its patients are synthetic."""
    out, network = tmp_path / "deep" / "recipe.json", tmp_path / "random.onnx"
    made = prognode("recipe", "demonstration", "--out", out)
    assert (made.status, made.errors) == (0, "")
    assert prognode("weights", "random", "--out", network).status == 0
    assert prognode("recipe", "verify", out, "--extractor", network).status == 0
    assert any("synthetic" in notice for notice in json.loads(out.read_text())["notices"])


# ---------------------------------------------------------------- weights


def test_weights_random_is_the_same_for_the_same_seed(tmp_path):
    """A stand-in by seed: same seed, same file; its hash is said."""
    one, two = tmp_path / "1.onnx", tmp_path / "2.onnx"
    said = [prognode("weights", "random", "--seed", "7", "--out", path).output for path in (one, two)]
    assert one.read_bytes() == two.read_bytes()
    assert said[0].split()[-1] == said[1].split()[-1]
    assert "random weights, seed 7" in said[0]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in the release's layout, with another hash."""
    path = tmp_path_factory.mktemp("weights") / "own.h5"
    write_release_layout(path, random_weights(3))
    return path


def test_weights_of_another_hash_need_a_word(release, tmp_path):
    """A file that is no published release is refused, and taken when a person says so."""
    out = tmp_path / "own.onnx"
    require_sentence(prognode("weights", "import", release, "--out", out), "MD5")
    assert not out.exists()
    result = prognode("weights", "import", release, "--allow-other-hash", "--out", out)
    assert (result.status, result.errors) == (0, "")
    assert "other origin" in result.output
    assert out.stat().st_size > 90_000_000


@pytest.fixture
def server(release: Path) -> Iterator[str]:
    """Address of the folder with the weights."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(release.parent)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()


def test_a_download_with_another_hash_leaves_nothing(server, own_home):
    """The hash is checked before anything is built; no half file stays."""
    require_sentence(prognode("weights", "fetch", "--url", f"{server}/own.h5"), "MD5", "deleted")
    assert [path for path in own_home.rglob("*") if path.is_file()] == []


def test_an_address_that_answers_with_an_error_is_named(server, free_port):
    """404, and a port where nobody listens."""
    require_sentence(prognode("weights", "fetch", "--url", f"{server}/absent.h5"), "404")
    require_sentence(prognode("weights", "fetch", "--url", f"http://127.0.0.1:{free_port}/x"), "no answer")


# ---------------------------------------------------------------- synth


def test_synth_study_writes_a_study_that_is_ready(tmp_path):
    """Two phases and two contour objects that the node can work on."""
    out = tmp_path / "study"
    result = prognode("synth", "study", "--slices", "40", "--matrix", "128", "--seed", "5", "--out", out)
    assert (result.status, result.errors) == (0, "")
    assert len(list(out.iterdir())) == 82
    assert "no real patient" in result.output
    assert json.loads(prognode("inspect", out, "--json").output)["case"]["state"] == "ready"
