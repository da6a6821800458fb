"""Commands that need no training: help, checks, and the errors of all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphws.spec import json_schema
from tests.cli.runs import run
from tests.cli.specs import quick

COMMANDS = ["run", "train", "eval", "results", "predict", "export", "zoo", "check", "schema", "explain", "inspect"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_names_every_command_and_each_explains_itself() -> None:
    text = run("--help").stdout
    for command in COMMANDS:
        assert f"│ {command} " in text
        assert len(run(command, "--help").stdout) > 100
    for command in ("fit", "pack", "unpack", "info"):
        assert "Usage:" in run("zoo", command, "--help").stdout


def test_check_accepts_a_good_spec_and_can_spell_it_out(tmp_path: Path) -> None:
    path = quick(tmp_path)
    result = run("check", path)
    assert (result.exit_code, result.stdout) == (0, f"{path} is fine\n")
    shown = run("check", path, "--show", "--set", "train.epochs=7").stdout
    assert "name: quick\n" in shown
    assert "epochs: 7" in shown


def test_check_says_what_a_right_spec_lacks_for_a_run(tmp_path: Path) -> None:
    path = quick(tmp_path, **{"input: {kind: zoo}\n": MLP})
    assert run("check", path).stdout == (
        f"{path} is a valid spec, but graphws run would refuse it: training needs networks, but the spec has the "
        "input kind 'mlp'; use `input: {kind: zoo}`\nits model learns 1,110 numbers\n"
    )
    assert run("check", "mirror-digits").stdout == "mirror-digits is fine\n"


def test_check_reports_all_mistakes_with_their_place(tmp_path: Path) -> None:
    path = quick(tmp_path, **{"layers: 2,": "layrs: 2,", "epochs: 3,": "epochs: no,"})
    result = run("check", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{path}:11:23: unknown key 'layrs'" in result.stderr
    assert f"{path}:14:" in result.stderr


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert json.loads(run("schema").stdout) == json_schema()
    assert run("schema", "-o", tmp_path / "schema.json").exit_code == 0
    assert json.loads((tmp_path / "schema.json").read_text()) == json_schema()


ERRORS: dict[str, tuple[int, str]] = {
    "zoo info zoos/none": (1, "zoos/none: no such zoo; `graphws zoo fit` or `graphws zoo pack` makes one"),
    "eval digits-inr --split tset": (2, "no split 'tset'; there are train, validation, test; did you mean 'test'?"),
    "eval digits-inr": (1, "no finished run of 'digits-inr' under runs/; make one with: graphws run digits-inr"),
    "train .": (1, ". is not a run: it has no run.json"),
    "train . --set a=1": (
        2,
        "a run goes on as it was started; --set and --folder belong to a new run: graphws train SPEC",
    ),
    "inspect none.pt": (1, "none.pt: no such file"),
    "zoo pack none zoo": (1, "none: no such folder"),
}


@pytest.mark.parametrize("command", ERRORS)
def test_errors_are_one_line(command: str) -> None:
    result = run(*command.split())
    code, text = ERRORS[command]
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"error: {text}\n", "")


HEAD = "head: {kind: invariant, outputs: 10}\ntask: {kind: classification, target: label}\n"
MLP = "input: {kind: mlp, widths: [2, 6, 1]}\n"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            "task: {kind: classification, target: label}\n",
            "",
            "the spec has no task; add `task: {kind: classification, target: label}` or another one",
        ),
        (HEAD, "", "the spec has no head; training needs a section `head`"),
        (
            "input: {kind: zoo}\n",
            MLP,
            "training needs networks, but the spec has the input kind 'mlp'; use `input: {kind: zoo}`",
        ),
    ],
)
def test_what_training_needs(tmp_path: Path, old: str, new: str, text: str) -> None:
    result = run("train", quick(tmp_path, **{old: new}))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"error: {text}"
    assert not (tmp_path / "runs").exists()


def test_devices_that_are_not_there_are_refused_before_a_zoo_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("run", quick(tmp_path), "--set", "train.devices=3")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == (
        "error: train.devices is 3, but 1 process(es) run on this machine; "
        "start with: torchrun --nproc-per-node 3 -m graphws train ..."
    )
    assert not (tmp_path / "zoos").exists()


def test_a_zoo_is_made_only_where_one_is_described(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("graphws: 1\n")
    result = run("zoo", "fit", path)
    assert (result.exit_code, result.stderr) == (2, f"error: {path} has no section `zoo`, so there is nothing to fit\n")


def test_explain_tells_the_layers_and_draws_the_block_matrix(tmp_path: Path) -> None:
    path = quick(tmp_path)
    result = run("explain", path, "--figure", "blocks.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("dwsnet: ")
    assert "layer 1: 1 -> 4 channels" in result.stdout
    assert "layer 2 in full:\nlayer: 4 -> 4 channels" in result.stdout
    assert "any -> neuron (max) -> any" in result.stdout
    assert (tmp_path / "blocks.png").read_bytes().startswith(b"\x89PNG")


def test_explain_counts_what_the_model_learns(tmp_path: Path) -> None:
    from graphws.runtime.model_explanation import explain_model, graphs_of
    from graphws.runtime.sections import count_parameters
    from graphws.spec import load_spec

    spec = load_spec(quick(tmp_path))
    found = explain_model(spec)
    assert spec.model is not None
    assert spec.head is not None
    total = count_parameters(spec.model, graphs_of(spec), spec.head)
    assert sum(part.parameters for part in found.parts) == total
    layers = next(part.parameters for part in found.parts if part.name == "layers")
    assert sum(layer.parameters for layer in found.layers) == layers


WIDE = """graphws: 1
input: {kind: mlp, widths: [784, 64, 64, 10]}
model: {kind: dwsnet, layers: 5, channels: 32}
head: {kind: invariant, outputs: 10}
"""


def test_wide_free_axes_are_counted_and_never_allocated(tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    path.write_text(WIDE)
    told = run("check", path).stdout
    assert "its model learns 311,850 numbers, 25,824 of them (8%) in the maps of free axes" in told
    assert "warning" not in told
    shown = run("explain", path).stdout
    assert "reduce: W1: free numbers become 32 channels" in shown
    assert "layer 2 in full:\nlayer: 32 -> 32 channels" in shown
    for command in ("check", "explain"):
        told = run(command, path, "--set", "model.reduce=none").stdout
        assert "warning: the model learns 5,239,810,282 numbers, 738 times as many as a flat MLP" in told
        assert "(`model.reduce: auto`)" in told


def test_explain_needs_a_model_an_input_and_an_existing_layer(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("graphws: 1\n")
    assert run("explain", path).stderr == "error: the spec has no model; add `model: {kind: dwsnet}` or another one\n"
    path.write_text("graphws: 1\nmodel: {kind: dwsnet}\n")
    assert run("explain", path).stderr == (
        "error: the spec has no input; add `input: {kind: mlp, widths: [2, 32, 32, 1]}` or another one\n"
    )
    result = run("explain", quick(tmp_path), "--layer", "3")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: no layer 3: the model dwsnet has 2 equivariant layers\n"
    path.write_text("graphws: 1\ninput: {kind: mlp, widths: [2, 4, 1]}\nmodel: {kind: mlp}\n")
    result = run("explain", path, "--figure", "a.png")
    assert (result.exit_code, result.stderr) == (2, "error: no layer 0: the model mlp has no equivariant layers\n")


def test_explain_tells_what_neurons_have_and_what_carries_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "graphws: 1\ninput: {kind: mlp, widths: [2, 4, 3, 1], activation: sine}\n"
        "model: {kind: dwsnet, symmetry: rich}\n"
    )
    shown = run("explain", path).stdout
    assert "features: hidden1, hidden1 (odd), hidden2, hidden2 (odd), network" in shown
    assert "carries: W2: hidden1 (odd) -> hidden2 (odd)" in shown
    result = run("explain", path, "--figure", "a.png")
    assert result.exit_code == 2
    assert "only layers on parameters are made of blocks; leave out --layer and --figure" in result.stderr


def test_inspect_shows_a_checkpoint_as_a_typed_graph(tmp_path: Path) -> None:
    import torch

    from graphws.graph import NetworkGraph
    from graphws.operations import mlp_graph

    torch.save(
        torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).state_dict(), "net.pt"
    )
    result = run("inspect", "net.pt", "--activation", "relu", "--figure", "net.png")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line]
    assert lines[2][:5] == ["hidden1", "set", "5", "scaling", "S_5"]
    assert ["W1", "hidden1,", "input*", "5x2", "10", "2", "0.weight"] in lines
    assert "33 numbers in 9 orbits" in result.stdout
    assert "group: S_5, 10^2.1 relabellings" in result.stdout
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads(run("inspect", "net.pt", "--activation", "relu", "--json", "-").stdout)
    assert figures["summary"]["spaces"][1]["factor"] == "S_5"
    printed = NetworkGraph.from_json(json.dumps(figures["graph"]))
    wanted = mlp_graph([2, 5, 3], activation="relu")
    assert (printed.spaces, [p.axes for p in printed.parameters]) == (
        wanted.spaces,
        [p.axes for p in wanted.parameters],
    )


def test_inspect_asks_for_what_a_state_dict_does_not_say(tmp_path: Path) -> None:
    import torch

    torch.save(
        torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).state_dict(), "net.pt"
    )
    result = run("inspect", "net.pt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: net.pt does not say what runs between its 2 linear layers")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("actions", "net.pt", "--group", "mirror", "--input-shape", "1,4,4", "--json", "out"), "--json"),
        (("actions", "net.pt", "--group", "mirror", "--input-shape", "1,4,4", "--report", "out"), "--report"),
        (("convert", "net.pt", "-o", "out"), "--output"),
        (("convert", "net.pt", "--figure", "out"), "--figure"),
        (("inspect", "net.pt", "--figure", "out"), "--figure"),
        (("reduce", "net.pt", "-o", "out.safetensors"), "--output"),
        (("align", "a.pt", "b.pt", "--json", "out"), "--json"),
    ],
)
def test_folders_in_the_place_of_files_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out", "out.safetensors"):
        (tmp_path / name).mkdir()
    for name in ("net.pt", "a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"nothing is read")
    result = run(*arguments)
    place = next(word for word in arguments if word.startswith("out"))
    assert (result.exit_code, result.stderr) == (2, f"error: {option} {place}: this is a folder; name a file\n")


def test_no_option_is_an_abbreviation_of_one_of_torchruns() -> None:
    from torch.distributed.run import get_args_parser
    from typer.main import get_command

    from graphws.cli import app

    theirs = [option for action in get_args_parser()._actions for option in action.option_strings]
    commands = get_command(app).commands  # type: ignore[attr-defined]
    ours = {o for name in ("run", "train") for option in commands[name].params for o in option.opts if o[:2] == "--"}
    assert "--folder" in ours
    assert not [(our, their) for our in ours for their in theirs if their.startswith(our)]
