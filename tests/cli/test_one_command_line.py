"""What all commands have in common: versions, panels, figures as JSON, files that exist, names, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save_file
from torch import nn
from typer.core import TyperGroup
from typer.main import get_command

import graphws
from graphws.cli import app
from graphws.cli.commands import RENAMED
from graphws.cli.destinations import check_files, check_folder, write_figures
from graphws.errors import UsageError
from tests.cli.runs import run
from tests.cli.specs import quick

TANH = ("--activation", "tanh")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 16))
    save_file(net.state_dict(), "net.safetensors")


def test_the_version_is_told() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"graphws {graphws.__version__} (Python {sys.version.split()[0]}, torch ")


def test_help_has_a_panel_for_each_job() -> None:
    text = run("--help").stdout
    places = [text.index(f"─ {panel} ─") for panel in ("Networks", "Zoos and training", "Analysis")]
    assert places == sorted(places)
    assert (
        places[0] < text.index("│ convert ") < places[1] < text.index("│ run ") < places[2] < text.index("│ actions ")
    )


def _commands(group: TyperGroup, prefix: str = "") -> dict[str, typer.core.TyperCommand]:
    found: dict[str, typer.core.TyperCommand] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= _commands(command, f"{prefix}{name} ") if inner else {prefix + name: command}  # type: ignore[arg-type, dict-item]
    return found


COMMANDS = _commands(get_command(app))  # type: ignore[arg-type]


def test_one_thing_has_one_name() -> None:
    for name, command in COMMANDS.items():
        options = {word for parameter in command.params for word in parameter.opts}
        assert not options & set(RENAMED), f"{name} still has a former name"
        assert ("-o" in options) == ("--output" in options), name


REPORTING = ["eval", "check", "convert", "reduce", "explain", "zoo info", "inspect", "predict", "actions", "align"]


@pytest.mark.parametrize("name", REPORTING)
def test_commands_that_report_write_json(name: str) -> None:
    options = {word for parameter in COMMANDS[name].params for word in parameter.opts}
    assert {"--json", "--overwrite"} <= options


def test_json_on_standard_output_has_it_for_itself(tmp_path: Path) -> None:
    spec = quick(tmp_path)
    for command in (
        ("inspect", "net.safetensors", *TANH),
        ("convert", "net.safetensors", *TANH),
        ("reduce", "net.safetensors", *TANH, "-o", "small.safetensors"),
        ("actions", "net.safetensors", *TANH, "--group", "mirror", "--input-shape", "1,4,4", "--decoys", "0"),
        ("align", "net.safetensors", "net.safetensors", *TANH),
        ("check", spec),
        ("explain", spec),
        ("specs",),
    ):
        result = run(*command, "--json", "-")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout), command
        assert result.stderr, "the text goes to standard error"
        wanted = run(*command, "--json", "f.json", "--overwrite")
        assert json.loads(Path("f.json").read_text()) == json.loads(result.stdout), command
        assert "figures: f.json" in wanted.stdout


def test_check_says_what_is_wrong_as_json_too(tmp_path: Path) -> None:
    result = run("check", quick(tmp_path, **{"layers: 2,": "layrs: 2,"}), "--json", "-")
    assert result.exit_code == 2
    figures = json.loads(result.stdout)
    assert figures["fine"] is False
    assert "unknown key 'layrs'" in figures["mistakes"][0]


def test_what_json_has_no_word_for_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    write_figures({"a": float("nan"), "b": [float("inf"), 1.5, {"c": (2, -float("inf"))}]}, "-")
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5, {"c": [2, None]}]}


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "net.safetensors", *TANH, "--figure", "x.svg"),
        ("convert", "net.safetensors", *TANH, "-o", "x.safetensors"),
        ("reduce", "net.safetensors", *TANH, "-o", "x.safetensors"),
        ("align", "net.safetensors", "net.safetensors", *TANH, "--merge", "x.safetensors"),
        ("actions", "net.safetensors", *TANH, "--group", "mirror", "--input-shape", "1,4,4", "--report", "x.html"),
        ("schema", "-o", "x.json"),
    ],
)
def test_what_exists_is_refused_and_replaced_on_demand(command: tuple[str, ...]) -> None:
    option, name = {"-o": "--output"}.get(command[-2], command[-2]), command[-1]
    Path(name).write_text("mine")
    result = run(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {option} {name}: exists already; give --overwrite to replace it\n"
    assert Path(name).read_text() == "mine"
    result = run(*command, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert Path(name).read_bytes() != b"mine"


def test_files_are_looked_at_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("")
    for given, text in (
        ({"--json": "folder"}, "--json folder: this is a folder; name a file"),
        ({"--json": "no/f.json"}, "--json no/f.json: there is no folder no"),
        ({"--output": "a.txt", "--json": tmp_path / "a.txt"}, f"--json {tmp_path}/a.txt: is the file of --output, too"),
    ):
        with pytest.raises(UsageError) as caught:
            check_files(given)  # type: ignore[arg-type]
        assert str(caught.value) == text
    check_files({"--json": "-", "--output": None})
    with pytest.raises(UsageError, match=r"^--output folder: the folder is not empty; give --overwrite to replace "):
        check_folder("--output", Path("folder"))
    check_folder("--output", Path("folder"), overwrite=True)
    with pytest.raises(UsageError, match=r"^--output net\.safetensors: this is a file; name a folder$"):
        check_folder("--output", Path("net.safetensors"))

    def closed(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", closed)
    with pytest.raises(UsageError, match=r"^--report: cannot write r\.html: permission denied; choose another folder$"):
        check_files({"--report": "r.html"})


def test_former_names_are_taken_and_named() -> None:
    for form in (("--out", "small.safetensors"), ("--out=small.safetensors",)):
        result = run("reduce", "net.safetensors", *TANH, *form, "--overwrite")
        assert result.exit_code == 0, result.stderr
        assert "note: --out is now called --output\n" in result.stderr
    assert "--out " not in run("reduce", "--help").stdout


def test_errors_name_the_option_and_not_the_keyword() -> None:
    result = run("inspect", "net.safetensors")
    assert result.exit_code == 2
    assert "name it with --activation (and --omega for sines)" in result.stderr
    assert "activation=" not in result.stderr


def test_mistakes_of_the_command_line_end_in_one_clear_line() -> None:
    result = run("align", "--mrege", "x")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: No such option: --mrege")
    assert "--merge" in result.stderr.splitlines()[-1]


def _graphws(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "graphws", *arguments]


def test_files_are_written_though_nobody_reads_the_text() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        _graphws("inspect", "net.safetensors", *TANH, "--figure", "net.svg", "--json", "net.json"),
        stdout=writing, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writing)
    assert Path("net.svg").read_bytes().startswith(b"<?xml")
    assert json.loads(Path("net.json").read_text())
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    spec = quick(tmp_path, **{"epochs: 3,": "epochs: 100000, patience: null,"})
    process = subprocess.Popen(_graphws("run", str(spec)), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "epochs" not in said and process.poll() is None:
        said += process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "error: interrupted; go on with: graphws train runs/quick"


def test_the_shell_completes_commands_and_specs() -> None:
    for words, wanted in (("graphws ins", "inspect"), ("graphws run mirror-digits-c", "mirror-digits-classifier")):
        asked = {"_GRAPHWS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", "from graphws.cli import app; app(prog_name='graphws')"],
            env={**os.environ, **asked}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.split() == [wanted], done.stderr


def test_shipped_specs_are_listed_and_copied_with_their_parents() -> None:
    listed = json.loads(run("specs", "--json", "-").stdout)
    assert listed["digits-inr"].startswith("Read the class of a handwritten digit")
    result = run("specs", "copy", "digits-denoise")
    assert result.stdout.splitlines() == ["digits-denoise.yaml", "digits-inr.yaml", "base/neurons.yaml"]
    assert run("check", "digits-denoise.yaml", "--show").exit_code == 0
    again = run("specs", "copy", "digits-denoise.yaml")
    assert again.exit_code == 2
    assert again.stderr == ("error: --output digits-denoise.yaml: exists already; give --overwrite to replace it\n")
    assert run("specs", "copy", "digits-denoise", "--overwrite").exit_code == 0
    wrong = run("specs", "copy", "digits-inrs")
    assert wrong.stderr == (
        "error: no shipped spec 'digits-inrs'; graphws specs lists them; did you mean 'digits-inr'?\n"
    )


def test_specs_extend_shipped_ones_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("graphws: 1\nextends: digits-inr\nname: mine\n")
    shown = run("check", "mine.yaml", "--show").stdout
    assert "name: mine" in shown
    assert "kind: digits" in shown
    (tmp_path / "mine.yaml").write_text("graphws: 1\nextends: digits-imr\n")
    assert "'digits-imr' is neither a .yaml file nor the name of a shipped spec; did you mean 'digits-inr" in (
        run("check", "mine.yaml").stderr
    )


def test_progress_is_silent_where_output_is_no_terminal() -> None:
    result = run("reduce", "net.safetensors", *TANH, "-o", "small.safetensors")
    assert result.stderr == ""
