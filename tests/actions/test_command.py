"""``graphws actions`` and what a result gives besides its verdict: orbits, quotient, neurons, theory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from graphws.actions import find_actions
from graphws.checkpoints.network_file import save_network
from graphws.cli.app import app
from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.operations import forward, mlp_graph
from graphws.report.actions_neurons import neuron_file
from graphws.report.actions_page import COLUMNS
from tests.actions.picture_cases import classifier, planted
from tests.actions.planting import Case, pictures, rng

SHAPE = (1, 4, 4)


@pytest.fixture(scope="module")
def case() -> Case:
    return pictures(mlp_graph([16, 8, 8, 16], "gelu"), "mirror", SHAPE)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


@pytest.fixture
def place(case: Case, tmp_path: Path) -> Path:
    state = {}
    for k in (1, 2, 3):
        state[f"{2 * k - 2}.weight"] = case.planted.weights[f"W{k}"][0].contiguous()
        state[f"{2 * k - 2}.bias"] = case.planted.weights[f"b{k}"][0].contiguous()
    save_file(state, tmp_path / "net.safetensors")
    save_file({"inputs": case.probes(40)}, tmp_path / "probes.safetensors")
    return tmp_path


def test_the_command_writes_all_there_is_to_say(place: Path) -> None:
    code, text = run(
        "actions", place / "net.safetensors", "--activation", "gelu", "--group", "mirror", "--input-shape", "1,4,4",
        "--data", place / "probes.safetensors", "--json", place / "f.json", "--report", place / "r.html",
        "--neurons", place / "n.graphml", "--lie", "rotation", "--lie", "scaling", "--decoys", 2,
    )  # fmt: skip
    assert code == 0, text
    assert "Exact action: mirror acts on every layer" in " ".join(text.split())
    assert "Theory:" in text
    at = next(k for k, line in enumerate(text.splitlines()) if line.startswith("layer "))
    head, *rows = text.splitlines()[at : at + 4]
    assert head.split() == ["layer", "size", "action", "outcome", "K-error", "noise", "decoys", "p", "matched"]
    assert max(map(len, (head, *rows))) <= 100, "a terminal has no room for more"
    assert [row.split()[:2] for row in rows] == [["hidden1", "8"], ["hidden2", "8"], ["output", "16"]]
    assert all(f"<th>{column}</th>" in (place / "r.html").read_text() for column in COLUMNS)
    figures = json.loads((place / "f.json").read_text())
    assert figures["outcome"] == "exact action"
    assert figures["identifiability"]["theorem"]["name"]
    assert [rate["generator"] for rate in figures["lie"]] == ["rotation", "scaling"]
    assert figures["lie"][0]["end_to_end"] > 0.1  # it knows mirrors, not turns
    first = figures["layers"][0]
    assert sorted(first["generators"]["m"]["places"]) == list(range(8))
    assert sum(int(size) * count for size, count in first["orbits"].items()) == 8
    page = (place / "r.html").read_text()
    assert "what it licenses" in page
    assert "orbits of neurons" in page
    assert "Lie derivative, rotation" in page
    assert set(figures["parameters"]) == {"W1", "b1", "W2", "b2", "W3", "b3"}
    assert max(figures["parameters"].values()) < 1e-9
    view = nx.read_graphml(place / "n.graphml")
    assert max(edge["residual"] for _, _, edge in view.edges(data=True)) < 1e-9
    assert view.number_of_nodes() == 48
    assert {values["orbit_size"] for _, values in view.nodes(data=True)} <= {1, 2}


def test_what_does_nothing_is_taken_out_and_named(place: Path, case: Case) -> None:
    """Two dead neurons beside the eight: the search is made without them, and the command and the page say so."""
    state = {}
    for k in (1, 2, 3):
        weight, bias = case.planted.weights[f"W{k}"][0], case.planted.weights[f"b{k}"][0]
        if k == 1:
            weight, bias = torch.cat([weight, torch.ones(2, 16)]), torch.cat([bias, torch.zeros(2)])
        if k == 2:
            weight = torch.cat([weight, torch.zeros(8, 2)], dim=1)
        state[f"{2 * k - 2}.weight"], state[f"{2 * k - 2}.bias"] = weight.contiguous(), bias.contiguous()
    save_file(state, place / "wide.safetensors")
    code, text = run("actions", place / "wide.safetensors", "--activation", "gelu", "--group", "mirror",
                     "--input-shape", "1,4,4", "--json", place / "f.json", "--report", place / "r.html")  # fmt: skip
    assert code == 0, text
    said = (
        "Taken out before the search, as it does nothing: hidden1 10 to 8. All figures are of the network that is left."
    )
    assert said in text
    assert said in (place / "r.html").read_text()
    figures = json.loads((place / "f.json").read_text())
    assert figures["outcome"] == "exact action"
    assert figures["reduced"] == {"hidden1": [10, 8]}
    assert "Taken out" not in run("actions", place / "net.safetensors", "--activation", "gelu", "--group", "mirror",
                                  "--input-shape", "1,4,4")[1]  # fmt: skip


def test_unknown_symmetries_are_searched_for(place: Path, case: Case) -> None:
    code, text = run("actions", place / "net.safetensors", "--activation", "gelu", "--group", "unknown",
                     "--json", place / "u.json")  # fmt: skip
    assert code == 0, text
    assert "2 exact symmetries, from 1 generator." in text
    found = json.loads((place / "u.json").read_text())
    wanted = case.placed.maps[1]["input"].perm.tolist()  # type: ignore[union-attr]
    assert found["order"] == 2
    assert found["generators"][0]["input"]["places"] == wanted
    state = {"0.weight": torch.randn(3, 4, generator=rng()), "2.weight": torch.randn(2, 3, generator=rng())}
    save_file(state, place / "other.safetensors")
    code, text = run("actions", place / "other.safetensors", "--activation", "gelu", "--group", "unknown")
    assert code == 0, text
    assert "No symmetry found: only the identity leaves all weights as they are." in text


def test_unknown_symmetries_of_a_network_that_convolves(tmp_path: Path) -> None:
    network, _, _ = planted(classifier(), "dihedral")
    save_network(network, tmp_path / "net.safetensors")
    code, text = run("actions", tmp_path / "net.safetensors", "--group", "unknown", "--json", tmp_path / "u.json",
                     "--neurons", tmp_path / "n.graphml")  # fmt: skip
    assert code == 0, text
    assert "8 exact symmetries, from " in text
    found = json.loads((tmp_path / "u.json").read_text())
    assert set(found["generators"][0]) == {"input", "0", "2", "5", "output", "taps3x3", "pixels4x4"}
    assert nx.read_graphml(tmp_path / "n.graphml").nodes["taps3x3[4]"]["orbit_size"] == 1  # the middle


def test_neurons_of_an_unknown_symmetry_carry_their_orbits(place: Path) -> None:
    code, text = run("actions", place / "net.safetensors", "--activation", "gelu", "--group", "unknown",
                     "--neurons", place / "n.json")  # fmt: skip
    assert code == 0, text
    nodes = json.loads((place / "n.json").read_text())["nodes"]
    inputs = {node["index"]: node["orbit"] for node in nodes if node["space"] == "input"}
    assert all(inputs[4 * row + column] == inputs[4 * row + 3 - column] for row in range(4) for column in range(4))
    assert len(set(inputs.values())) == 8


def test_outputs_may_transform_as_a_file_says(place: Path) -> None:
    mirror = {"places": [4 * (k // 4) + 3 - k % 4 for k in range(16)], "signs": [1] * 16}
    (place / "output.yaml").write_text(json.dumps({"m": mirror}))
    (place / "wrong.yaml").write_text(json.dumps({"m": {**mirror, "signs": [-1] * 16}}))
    common = ("actions", place / "net.safetensors", "--activation", "gelu", "--group", "mirror", "--input-shape",
              "1,4,4", "--decoys", 0, "--output-action")  # fmt: skip
    code, text = run(*common, place / "output.yaml")
    assert (code, "Exact action" in text) == (0, True), text
    code, text = run(*common, place / "wrong.yaml")
    assert (code, "Exact action" in text) == (0, False), text


def test_where_there_is_no_terminal_nothing_but_the_result_is_said(place: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["actions", str(place / "net.safetensors"), "--activation", "gelu", "--group", "mirror", "--input-shape",
         "1,4,4", "--decoys", "2"],
    )  # fmt: skip
    assert result.stderr == ""
    assert "looking for" not in result.stdout


NAMED = ("--group", "mirror", "--input-shape", "1,4,4")
REFUSED = [
    (("--group", "mirror"), "--input-shape says what the group moves: give it, as 3,14,14"),
    ((*NAMED, "--lie", "rotation"), "a Lie derivative is measured on probes: give --data"),
    ((*NAMED, "--lie", "rotaton", "--data", "probes.safetensors"),
     "unknown generator 'rotaton'; there are translation-x, translation-y, rotation, scaling; "
     "did you mean 'rotation'?"),
    ((*NAMED, "--lie", "rotation", "--data", "probes.safetensors", "--output-action", "output.yaml"),
     "a Lie derivative needs --output-action same or invariant: no file says how a rate acts on outputs"),
    ((*NAMED, "--neurons", "n.dot"), "neurons are written as .json or .graphml, got '.dot'"),
    ((*NAMED, "--json", "no/f.json"), "--json no/f.json: there is no folder no"),
    ((*NAMED, "--report", "no/r.html"), "--report no/r.html: there is no folder no"),
    (("--group", "unknown", "--report", "r.html"),
     "--report is for a group that has a name; --group unknown takes --json and --neurons"),
    (("--group", "unknown", "--data", "probes.safetensors"),
     "--data is for a group that has a name; --group unknown takes --json and --neurons"),
    ((*NAMED, "--data", "narrow.safetensors"),
     "probes have the shape (points, 16), flattened or not; got (9, 1, 4, 3)"),
    ((*NAMED, "--data", "nan.safetensors"), "the probes hold NaN or infinity"),
    ((*NAMED, "--data", "two.safetensors"), "two.safetensors: holds 2 tensors, none of them called 'inputs'"),
    (("--group", "mirror", "--input-shape", "1x4x4"),
     "--input-shape is like 3,14,14: positive numbers with commas; got '1x4x4'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_the_command_refuses(
    place: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(place)
    (place / "output.yaml").write_text("m: [0, 1]\n")
    x = torch.randn(9, 1, 4, 4, generator=rng())
    save_file({"inputs": x[..., :3].contiguous()}, "narrow.safetensors")
    save_file({"inputs": torch.full_like(x, float("nan"))}, "nan.safetensors")
    save_file({"a": x, "b": x + 1}, "two.safetensors")
    result = CliRunner().invoke(app, ["actions", "net.safetensors", "--activation", "gelu", *arguments])
    assert result.exit_code != 0
    assert result.stderr.splitlines()[-1] == f"error: {said}"


def test_orbits_and_the_quotient_of_a_result(case: Case) -> None:
    found = find_actions(case.planted.weights, "mirror", SHAPE)
    orbits = found.orbits()
    truth = case.planted.actions[1]["hidden1"].perm  # type: ignore[union-attr]
    label = orbits["hidden1"].label
    assert torch.equal(label, label[truth])  # a neuron and its image are in one orbit
    assert orbits["hidden1"].count == len({frozenset((i, int(j))) for i, j in enumerate(truth)})
    small = found.quotient()
    assert small.graph.extent("input") == 8
    x = torch.randn(5, 1, 4, 4, generator=rng(), dtype=torch.float64)
    fixed = (x + x.flip(-1)).flatten(1)
    first = [int((orbits["input"].label == k).nonzero()[0, 0]) for k in range(8)]
    whole = forward(case.graph, case.planted.weights, fixed)[0]
    folded = forward(small.graph, small, fixed[:, first])[0]
    torch.testing.assert_close(folded[:, orbits["output"].label], whole)
    view = found.to_networkx()
    assert view.nodes[("hidden1", 0)]["orbit"] == 0
    assert json.loads(neuron_file(view, ".json"))["nodes"]


def test_results_without_a_network_and_files_of_another_kind(case: Case) -> None:
    found = find_actions(case.planted.weights, "mirror", SHAPE, decoys=0)
    assert isinstance(found.network, Weights)
    with pytest.raises(UsageError) as error:
        neuron_file(found.to_networkx(), ".dot")
    assert str(error.value) == "neurons are written as .json or .graphml, got '.dot'"
    with pytest.raises(UsageError) as error:
        replace(found, network=None).to_networkx()
    assert str(error.value) == "this result was made without its network, so there is nothing to fold or to draw"
