"""Bad input gets one sentence that names the thing, what is wrong and what to do; exit 2, nothing on standard output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import require_sentence
from node import prognode, test_model
from studies import small_study

from training.synthetic_study import write_study

REPOSITORY = Path(__file__).resolve().parents[2]

CONFIG = 'data = "data"\nrecipe = "r.json"\nextractor = "e.onnx"\n'


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A home without model."""
    monkeypatch.setenv("PROGNODE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(small_study(), folder)
    return folder


@pytest.fixture
def places(tmp_path: Path, study: Path) -> dict[str, Path]:
    """Things that are not what a command asks for."""
    image = min(study.iterdir()).read_bytes()
    contents = {
        "text/notes.txt": b"not an image",
        "garbage/g.dcm": b"\0" * 128 + b"DICM" + bytes(range(256)) * 4,
        "truncated/half.dcm": image[: len(image) // 2],
        "truncated/head.dcm": image[:500],
        "half.json": b"{",
        "other.json": b'{"a": 1}',
        "list.json": b"[]",
        "bytes.json": b"\xff\xfe\0",
        "words.onnx": b"not a network",
        "empty.onnx": b"",
    }
    for name, data in contents.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "empty").mkdir()
    return {"here": tmp_path, "study": study}


def words(places: dict[str, Path], *arguments: str) -> list[str]:
    """Arguments with ``@name`` for a place below the test's folder, ``#study`` for the study."""
    model = test_model()
    known = {"#study": places["study"], "#recipe": model.recipe, "#extractor": model.extractor}
    return [
        str(places["here"] / word[1:]) if word.startswith("@") else str(known.get(word, word))
        for word in arguments
    ]


MODEL = ("--recipe", "#recipe", "--extractor", "#extractor", "--out", "@out")
FOLDERS = [
    ("@absent", "no such file"),
    ("@empty", "no files in it"),
    ("@text", "notes.txt: not a DICOM file"),
    ("@text/notes.txt", "not a DICOM file"),
    ("@garbage", "g.dcm"),
    ("@truncated", "half.dcm"),
]


@pytest.mark.parametrize(("folder", "said"), FOLDERS)
@pytest.mark.parametrize("command", [("inspect",), ("inspect", "--json"), ("score", *MODEL)])
def test_a_folder_without_a_usable_object_is_named(places, command, folder, said):
    """Absent, empty, without DICOM, garbage, truncated: the sentence names the file and what is wrong with it."""
    require_sentence(prognode(*words(places, *command, folder)), said)


@pytest.mark.parametrize(("folder", "said"), FOLDERS[:4])
def test_nothing_is_sent_from_a_folder_without_dicom(places, free_port, folder, said):
    """``send`` says what is wrong with the folder before it asks whether the peer is there."""
    result = prognode(*words(places, "send", folder, "--to", f"PEER@127.0.0.1:{free_port}"))
    require_sentence(
        result, said.replace(": not", " is not") if "notes" in said else said.removeprefix("not ")
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--extractor", "@words.onnx", "--recipe", "#recipe"), "not an ONNX model"),
        (("--extractor", "@empty.onnx", "--recipe", "#recipe"), "not an ONNX model"),
        (("--extractor", "@absent", "--recipe", "#recipe"), "weights fetch"),
        (("--extractor", "@empty", "--recipe", "#recipe"), "a folder"),
        (("--extractor", "#extractor", "--recipe", "@half.json"), "not JSON"),
        (("--extractor", "#extractor", "--recipe", "@other.json"), "schema"),
        (("--extractor", "#extractor", "--recipe", "@list.json"), "list.json"),
        (("--extractor", "#extractor", "--recipe", "@bytes.json"), "not JSON"),
        (("--extractor", "#extractor", "--recipe", "@absent"), "recipe demonstration"),
        (("--extractor", "#extractor"), "recipe.json"),
        ((), "resnet50.onnx"),
        ((*MODEL, "--clinical", "ki67"), "NAME=VALUE"),
        ((*MODEL, "--clinical", "ki67=much"), "0 to 100"),
        ((*MODEL, "--clinical", "age=40"), "known are ki67"),
        ((*MODEL, "--clinical", "m_stage=M7"), "M0 or M1"),
        ((*MODEL, "--out", "@half.json"), "cannot be written"),
        ((*MODEL, "--out", "@half.json/deep"), "cannot be written"),
        ((*MODEL, "--config", "@absent.toml"), "no such configuration file"),
    ],
)
def test_score_names_a_wrong_option(places, options, said):
    """Wrong model, recipe, covariate, folder for results, configuration."""
    require_sentence(prognode(*words(places, "score", "#study", *options)), said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"data = [", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file"),
        (CONFIG.encode() + b"flavour = 1\n", "flavour: there is no such key"),
        (CONFIG.encode() + b"[receiver]\nprot = 1\n", "receiver.prot: there is no such key"),
        (CONFIG.encode() + b'[receiver]\nport = "x"\n', "receiver.port"),
        (b'data = "data"\n', "recipe: this key is missing"),
        (CONFIG.encode() + b'[assembly]\nroi_name_patterns = ["("]\n', "not a regular expression"),
        (CONFIG.encode() + b'[preprocess]\nvenous_description = "("\n', "not a regular expression"),
        (CONFIG.encode() + b'[[pacs]]\nname = "p"\nae_title = "A"\nhost = "h"\nport = 0\n', "pacs.0.port"),
    ],
)
@pytest.mark.parametrize("command", [("inspect", "#study"), ("case", "list"), ("up",)])
def test_a_broken_configuration_is_named_with_its_key(places, command, content, said):
    """The sentence names the file and the key, whichever command reads it."""
    path = places["here"] / "node.toml"
    path.write_bytes(content)
    require_sentence(prognode(*words(places, *command, "--config", "@node.toml")), "node.toml", said)


def test_a_folder_is_no_configuration(places):
    """A folder where a file is asked for."""
    require_sentence(prognode(*words(places, "up", "--config", "@empty")), "cannot be read")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recipe", "show", "@absent"), "no such file"),
        (("recipe", "show", "@empty"), "a folder"),
        (("recipe", "show", "@half.json"), "not JSON"),
        (("recipe", "verify", "@other.json", "--extractor", "#extractor"), "schema"),
        (("recipe", "verify", "#recipe", "--extractor", "@words.onnx"), "not an ONNX model"),
        (("recipe", "verify", "#recipe"), "resnet50.onnx"),
        (("recipe", "demonstration", "--out", "@half.json/x"), "cannot be written"),
        (("weights", "import", "@absent"), "weights fetch"),
        (("weights", "import", "@empty"), "a folder"),
        (("weights", "import", "@half.json"), "MD5"),
        (("weights", "import", "@half.json", "--allow-other-hash"), "not a Keras"),
        (("weights", "random", "--out", "@half.json/x"), "cannot be written"),
        (("weights", "fetch", "--url", "ftp://host/file"), "http"),
        (("synth", "study", "--slices", "40", "--matrix", "64", "--out", "@half.json"), "cannot be written"),
        (("case", "list"), "no node has run here"),
        (("case", "show", "x"), "no node has run here"),
        (("up",), "resnet50.onnx"),
        (("demo", "--out", "@half.json"), "a file, not a folder"),
        (("demo", "--out", "@text"), "not empty"),
    ],
)
def test_every_other_command_names_what_it_cannot_use(places, arguments, said):
    """Recipes, weights, folders for results, data folders."""
    require_sentence(prognode(*words(places, *arguments)), said)


@pytest.mark.parametrize("data", ["half.json", "broken"])
def test_a_data_folder_that_is_none_is_named(places, data):
    """A file in its place, or an index that is no database."""
    model, here = test_model(), places["here"]
    (here / "broken").mkdir()
    (here / "broken" / "index.sqlite").write_text("not a database, whatever its name says" * 20)
    (here / "node.toml").write_text(
        f'data = "{data}"\nrecipe = "{model.recipe}"\nextractor = "{model.extractor}"\n[receiver]\nport = 0\n'
    )
    require_sentence(prognode("up", "--config", here / "node.toml"), data)
    require_sentence(prognode("case", "list", "--config", here / "node.toml"), data)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("synth", "study", "--out", "x", "--slices", "3"),
        ("inspect",),
        ("weights", "random", "--seed", "-1"),
    ],
)
def test_wrong_usage_ends_with_status_two(arguments):
    """An unknown command, a missing argument, a number out of range."""
    result = prognode(*arguments)
    assert result.status == 2
    assert result.output == ""
    assert "Traceback" not in result.errors


def test_the_program_itself_says_the_sentence(tmp_path):
    """``python -m apps.cli.main`` as a process: standard error and exit status reach the shell."""
    command = [sys.executable, "-m", "apps.cli.main", "inspect", str(tmp_path / "absent")]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("prognode: ")
    assert ended.stderr.count("\n") == 1


def test_help_loads_no_network_and_no_images(tmp_path):
    """The command line starts at once: what is heavy is loaded by the command that needs it."""
    code = (
        "import sys, apps.cli.main\n"
        "print([name for name in ('pynetdicom', 'pydicom', 'onnxruntime', 'matplotlib', 'SimpleITK', 'sqlalchemy',"
        " 'structlog') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"
