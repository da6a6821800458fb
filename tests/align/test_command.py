"""``graphws align`` on checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from graphws.checkpoints.network_file import save_network
from graphws.cli import app
from graphws.converting import convert
from graphws.graph import Weights
from graphws.operations import forward, mlp_graph
from tests.align.cases import network

GRAPH = mlp_graph([6, 24, 24, 3], "relu")


def run(*arguments: str | Path):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """a: a network; b: the same, moved; c: another one; data: labelled points."""
    a = network(GRAPH).to(dtype=torch.float32)
    b = GRAPH.group().random(torch.Generator().manual_seed(1)).act(a)
    for name, weights in (("a", a), ("b", b), ("c", network(GRAPH, 5).to(dtype=torch.float32))):
        save_file(weights.to_state_dict(), tmp_path / f"{name}.safetensors")
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    labels = forward(GRAPH, a, x)[0].argmax(1)
    save_file({"inputs": x, "labels": labels}, tmp_path / "data.safetensors")
    save_file({"inputs": x}, tmp_path / "points.safetensors")
    return tmp_path


def test_a_moved_network_comes_back_bit_for_bit(files: Path) -> None:
    out = files / "aligned.safetensors"
    result = run("align", files / "a.safetensors", files / "b.safetensors", "--activation", "relu",
                 "-o", out, "--data", files / "data.safetensors", "--actions", "permutation",
                 "--json", files / "report.json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    state, wanted = load_file(out), load_file(files / "a.safetensors")
    assert all(torch.equal(state[key], wanted[key]) for key in wanted)
    assert set(state) == set(wanted)
    assert "B computes what it did: its outputs changed by " in result.stdout
    assert "cross entropy, after:  barrier 0 (" in result.stdout
    assert "1.000" in result.stdout.split("all")[1].splitlines()[0]
    report = json.loads((files / "report.json").read_text())
    assert report["barrier"]["before"]["height"] > 0.1
    assert report["barrier"]["after"]["height"] < 1e-9
    assert report["agreement"]["after"] == pytest.approx(1)
    assert report["function_error"] < 1e-12
    module = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))
    module.load_state_dict(state)


@pytest.mark.parametrize("method", ["weights", "activations", "attributions"])
def test_every_method_lowers_the_barrier_of_the_moved_network(files: Path, method: str) -> None:
    result = run("align", files / "a.safetensors", files / "b.safetensors", "--activation", "relu",
                 "--data", files / "points.safetensors", "--method", method)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "distance, after:  barrier " in result.stdout
    after = float(result.stdout.split("after:  barrier ")[1].split()[0])
    assert after < 1e-6


def test_without_data_weights_alone_are_compared(files: Path) -> None:
    result = run("align", files / "a.safetensors", files / "c.safetensors", "--activation", "relu")
    assert result.exit_code == 0, result.stderr
    assert "outputs were not compared: give --data; aligning is exact by the graph's symmetry" in result.stdout
    before, after = (float(x) for x in result.stdout.split("all")[1].split()[:2])
    assert before < after < 0.9  # unrelated networks do not come to agree


def test_what_cannot_be_aligned_says_why(files: Path) -> None:
    save_file(network(mlp_graph([6, 9, 3])).to_state_dict(), files / "d.safetensors")
    (files / "graph.json").write_text(GRAPH.to_json())
    save_file({"x": torch.zeros(3)}, files / "odd.safetensors")
    a, b = files / "a.safetensors", files / "b.safetensors"
    relu = ("--activation", "relu")
    cases = {
        (a, files / "d.safetensors", *relu): (
            2,
            "a.safetensors and d.safetensors are of different architectures: W1[hidden1, input*] (24, 6) "
            "against W1[hidden1, input*] (9, 6)",
        ),
        (a, files / "graph.json", *relu): (
            2,
            "graph.json is a graph without weights: there is nothing to align",
        ),
        (a, b, *relu, "-o", files / "out.pt"): (2, "--output must end in .safetensors; got 'out.pt'"),
        (a, b, *relu, "--actions", "permutations"): (
            2,
            "--actions must be rich or permutation; got 'permutations'; did you mean 'permutation'?",
        ),
        (a, b, *relu, "--merge", files / "out.pt"): (2, "--merge must end in .safetensors; got 'out.pt'"),
        (a, *relu): (2, "aligning takes two networks or more; got a.safetensors alone"),
        (a, b, a, *relu, "-o", files / "all"): (
            2,
            "--output: two networks are called 'a', and would be written to one file",
        ),
        (a, b, files / "c.safetensors", *relu, "-o", files / "x.safetensors"): (
            2,
            "--output must be a folder for more than two networks; got 'x.safetensors'",
        ),
        (a, b, files / "c.safetensors", *relu, "--method", "activations"): (
            2,
            "--method activations is for two networks; more are matched by their weights",
        ),
        (a, b, *relu, "--json", files / "no" / "f.json"): (
            2,
            f"--json {files / 'no' / 'f.json'}: there is no folder {files / 'no'}",
        ),
        (a, b, *relu, "--method", "activations"): (2, "--method activations needs --data"),
        (a, b, *relu, "--data", files / "odd.safetensors"): (
            1,
            "odd.safetensors must hold `inputs` and may hold `labels`; it holds x",
        ),
        (a, b, *relu, "--data", files / "data.safetensors", "--method", "weight"): (
            2,
            "--method must be one of weights, activations, attributions; got 'weight'; did you mean 'weights'?",
        ),
    }
    for arguments, (code, message) in cases.items():
        result = run("align", *arguments)
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (code, f"error: {message}"), result.stderr


def test_the_merged_network_is_the_mean_of_the_aligned_ones(files: Path) -> None:
    out, merged = files / "aligned.safetensors", files / "merged.safetensors"
    result = run("align", files / "a.safetensors", files / "c.safetensors", "--activation", "relu",
                 "-o", out, "--merge", merged, "--data", files / "data.safetensors",
                 "--json", files / "f.json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    a, c, mean = (load_file(path) for path in (files / "a.safetensors", out, merged))
    assert set(mean) == set(a)
    for key in a:
        torch.testing.assert_close(mean[key], (a[key] + c[key]) / 2)
    assert result.stderr == ""  # no terminal, no progress
    figures = json.loads((files / "f.json").read_text())["barrier"]["after"]
    data = load_file(files / "data.safetensors")
    logits = forward(GRAPH, Weights.from_state_dict(GRAPH, mean), data["inputs"])[0]
    loss = nn.functional.cross_entropy(logits, data["labels"])
    assert figures["losses"][len(figures["losses"]) // 2] == pytest.approx(float(loss), rel=1e-5)


def test_many_networks_come_to_the_order_of_the_first(files: Path) -> None:
    """a, two moved copies of it, and the mean of all three, which is a again."""
    third = GRAPH.group().random(torch.Generator().manual_seed(2), actions="rich").act(network(GRAPH))
    save_file(third.to(dtype=torch.float32).to_state_dict(), files / "e.safetensors")
    result = run("align", files / "a.safetensors", files / "b.safetensors", files / "e.safetensors", "--activation",
                 "relu", "--data", files / "data.safetensors", "-o", files / "all",
                 "--merge", files / "mean.safetensors",
                 "--json", files / "f.json", "--report", files / "r.html")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    wanted = load_file(files / "a.safetensors")
    for path in (*(files / "all").iterdir(), files / "mean.safetensors"):
        for key, tensor in load_file(path).items():
            torch.testing.assert_close(tensor, wanted[key], rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in (files / "all").iterdir()) == [f"{n}.safetensors" for n in "abe"]
    figures = json.loads((files / "f.json").read_text())
    assert figures["mean_after"] == pytest.approx(figures["each"][0], rel=1e-4)
    assert figures["mean_before"] > 2 * figures["mean_after"]
    assert "all compute what they did: outputs changed by at most " in result.stdout
    assert "<h1>Are 3 networks one, up to symmetry?</h1>" in (files / "r.html").read_text()


def test_many_networks_without_data(files: Path) -> None:
    names = [files / f"{name}.safetensors" for name in "abc"]
    result = run("align", *names, "--activation", "relu", "--merge", files / "mean.safetensors",
                 "--overwrite")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "mean closeness of two networks: " in result.stdout
    assert "outputs were not compared: give --data" in result.stdout
    assert (files / "mean.safetensors").is_file()


def test_the_report_leads_with_the_barrier(files: Path) -> None:
    page = files / "r.html"
    result = run("align", files / "a.safetensors", files / "b.safetensors", "--activation", "relu",
                 "--data", files / "data.safetensors", "--report", page, "--overwrite")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    text = page.read_text()
    asked = "<h1>Is b.safetensors the same network as a.safetensors, up to symmetry?</h1>"
    assert text.index(asked) < text.index("The barrier between both")
    assert text.count("<img ") == 1
    result = run(
        "align",
        files / "a.safetensors",
        files / "b.safetensors",
        "--activation",
        "relu",
        "--report",
        page,
        "--overwrite",
    )
    assert result.exit_code == 0, result.stderr
    assert "Aligning raises the agreement of the parameters" in page.read_text()
    assert "<img " not in page.read_text()


@pytest.mark.parametrize("method", ["weights", "activations", "attributions"])
def test_networks_that_convolve_are_run_too(tmp_path: Path, method: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 1), nn.Tanh(),
        nn.Flatten(), nn.Linear(96, 4),
    )  # fmt: skip
    x = torch.randn(30, 3, 8, 8)
    first = convert(module, x[:2])
    assert first.weights is not None
    element = first.graph.group().random(torch.Generator().manual_seed(1), actions="rich")
    save_network(first, tmp_path / "a.safetensors")
    save_network(replace(first, weights=element.act(first.weights)), tmp_path / "b.safetensors")
    save_file({"inputs": x}, tmp_path / "x.safetensors")
    result = run("align", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--data", tmp_path / "x.safetensors",
                 "--method", method, "--json", tmp_path / "f.json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["barrier"]["before"]["height"] > 0.05
    assert figures["barrier"]["after"]["height"] < 1e-6
    save_file({"inputs": x.flatten(1)}, tmp_path / "flat.safetensors")
    result = run("align", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--data",
                 tmp_path / "flat.safetensors", "--method", method)  # fmt: skip
    said = "this network reads inputs of shape (points, 3, 8, 8); got (30, 192)"
    assert result.stderr.splitlines()[-1] == f"error: {said}"


def test_the_comparison_catches_a_network_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphws.align import align, compare, comparison
    from graphws.errors import VerificationError

    def false(first: Weights, second: Weights, **options: object) -> object:
        found = align(first, second)
        return replace(found, aligned=first)

    monkeypatch.setattr(comparison, "align", false)
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        VerificationError, match=r"^the aligned network computes something else: its outputs are off by"
    ):
        compare(network(GRAPH, 1), network(GRAPH, 2), inputs=x)


def normed(seed: int) -> nn.Module:
    """With batch norms whose statistics differ from network to network."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10), nn.BatchNorm1d(10),
        nn.ReLU(), nn.Linear(10, 3),
    )  # fmt: skip
    with torch.no_grad():
        module(3 * torch.randn(50, 1, 6, 6))
    return module.eval()


@pytest.fixture
def normed_files(tmp_path: Path) -> Path:
    x = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        save_network(convert(normed(seed), x[:2]), tmp_path / f"{name}.safetensors")
    save_file({"inputs": x, "labels": normed(0)(x).argmax(1)}, tmp_path / "data.safetensors")
    save_file({"inputs": x + 1}, tmp_path / "other.safetensors")
    return tmp_path


def statistics_gap(state: dict[str, torch.Tensor], x: torch.Tensor) -> float:
    module = normed(0)
    module.load_state_dict(module.state_dict() | state)
    h = module[0](x).detach().transpose(0, 1).flatten(1)  # type: ignore[index]
    return float((h.mean(1) - state["1.running_mean"]).abs().max() + (h.var(1) - state["1.running_var"]).abs().max())


def test_statistics_of_the_merged_network_are_measured_anew_over_the_data(normed_files: Path) -> None:
    a, b, merged = (normed_files / f"{name}.safetensors" for name in ("a", "b", "merged"))
    x = load_file(normed_files / "data.safetensors")["inputs"]
    said = "note: the statistics of 2 norms in the merged network were measured anew\n"
    result = run("align", a, b, "--data", normed_files / "data.safetensors", "--merge", merged,
                 "--json", normed_files / "f.json", "--report", normed_files / "r.html")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert said in result.stdout
    assert "note: before that its loss was " in result.stdout or "note: that raised its loss" in result.stdout
    assert statistics_gap(load_file(merged), x) < 1e-4
    figures = json.loads((normed_files / "f.json").read_text())
    line = figures["barrier"]["after"]["losses"]
    assert figures["candidates"][figures["kept"]]["objective"] == pytest.approx(line[len(line) // 2])
    assert f"* {'rich' if 'norm' in figures['candidates'][figures['kept']]['matching'] else ''}" in result.stdout
    assert said[len("note: ") :].strip() in (normed_files / "r.html").read_text()
    other = normed_files / "other.safetensors"
    result = run("align", a, b, "--statistics", other, "--merge", merged, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert said in result.stdout
    assert "note: whether the merged network is worse than the networks was not measured" in result.stdout
    assert statistics_gap(load_file(merged), x + 1) < 1e-4
    assert statistics_gap(load_file(merged), x) > 1e-2  # control
    result = run("align", a, b, normed_files / "c.safetensors", "--statistics", other, "--merge", merged, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert said in result.stdout
    assert statistics_gap(load_file(merged), x + 1) < 1e-4


def test_averaged_statistics_are_not_hidden(normed_files: Path) -> None:
    a, b, merged = (normed_files / f"{name}.safetensors" for name in ("a", "b", "merged"))
    result = run("align", a, b, "--merge", merged, "--overwrite")
    assert result.exit_code == 0, result.stderr
    said = "note: the statistics of 2 norms in the merged network are means of the networks' own, which belong to none"
    assert said in result.stdout.replace("\n", " ")
    assert statistics_gap(load_file(merged), load_file(normed_files / "data.safetensors")["inputs"]) > 1e-2


def test_neurons_are_rescaled_on_demand(files: Path) -> None:
    a, c, merged = files / "a.safetensors", files / "c.safetensors", files / "merged.safetensors"
    relu = ("--activation", "relu")
    data = ("--data", files / "data.safetensors")
    plain = run("align", a, c, *relu, *data, "--merge", merged, "--overwrite")
    before = load_file(merged)
    result = run("align", a, c, *relu, *data, "--repair", "--merge", merged, "--overwrite")
    assert (plain.exit_code, result.exit_code) == (0, 0), result.stderr
    assert "note: the neurons of 2 layers in the merged network were rescaled" in result.stdout
    assert "were rescaled" not in plain.stdout
    assert not torch.equal(before["0.weight" if "0.weight" in before else "W1"],
                           load_file(merged)["0.weight" if "0.weight" in before else "W1"])  # fmt: skip
    refused = run("align", a, c, *relu, "--repair")
    assert (refused.exit_code, refused.stderr.splitlines()[-1]) == (
        2,
        "error: --repair needs inputs: give --data or --statistics",
    )
    odd = run("align", a, c, *relu, "--statistics", files / "missing.safetensors")
    assert odd.exit_code != 0
    assert "missing.safetensors" in odd.stderr
