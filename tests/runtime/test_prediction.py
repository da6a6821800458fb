"""A run asked about new networks, without its zoo, and its models as files that PyTorch alone loads."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from graphws import Run, Zoo
from graphws.errors import GraphwsError, RunError, UsageError
from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.environment import Processes
from graphws.runtime.exporting import export_model
from graphws.runtime.folder import RunFolder
from graphws.runtime.prepared_file import FACTS, TENSORS
from graphws.tasks.denoising import ONE_GRAPH
from tests.cli.runs import run as command
from tests.runtime import mixed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run and its zoo, which has another place than the run knows."""
    folder = tmp_path_factory.mktemp("predict")
    zoo = mixed.make(folder / "zoo")
    mixed.train(folder / "run", zoo)
    mixed.train(folder / "classes", zoo, "task={kind: classification, target: group}", "head.outputs=2")
    one = mixed.make(folder / "one", names=("deep",))
    mixed.train(folder / "clean", one, "augment.noise=0.1", "task={kind: weights}", "head={kind: equivariant}")
    (folder / "zoo").rename(folder / "moved")
    (folder / "one").rename(folder / "one-moved")
    return folder


def _state(zoo: Zoo, number: int) -> dict[str, torch.Tensor]:
    return zoo[number][0].to_state_dict()


def test_files_and_zoo_and_weights_get_one_answer(place: Path, tmp_path: Path) -> None:
    zoo, run = Zoo.open(place / "moved"), Run.load(place / "run")
    whole = run.predict(place / "moved")
    assert len(whole) == 60
    for number in range(6):
        torch.save(_state(zoo, number), tmp_path / f"net{number}.pt")
    save_file(_state(zoo, 6), tmp_path / "net6.safetensors")
    found = run.predict(tmp_path)
    assert [Path(name).stem for name in found.names] == [f"net{k}" for k in range(7)]
    assert found.columns["size"] == pytest.approx(whole.columns["size"][:7], rel=1e-5)
    assert run.predict(zoo[3][0]).columns["size"] == pytest.approx(whole.columns["size"][3:4], rel=1e-5)
    assert run.predict([tmp_path / "net5.pt", tmp_path / "net1.pt"]).columns["size"] == pytest.approx(
        [whole.columns["size"][k] for k in (5, 1)], rel=1e-5
    )


def test_predictions_are_those_of_the_evaluation(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(place / "run", folder)
    state = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**state, "zoo": str(place / "moved")}))
    answers = job.evaluate_run(job.RunFolder(folder), "test", Processes(), Reporter())["dwsnet"]
    whole = Run.load(folder).predict(place / "moved").columns["size"]
    assert answers.predictions[:, 0].tolist() == pytest.approx([whole[k] for k in answers.index.tolist()], rel=1e-5)
    for name in (FACTS, TENSORS):  # as runs of older versions are
        (folder / name).unlink()
    del state["files"][FACTS], state["files"][TENSORS]
    (folder / "run.json").write_text(json.dumps({**state, "zoo": str(place / "moved")}))
    assert Run.load(folder).predict(place / "moved").columns["size"] == pytest.approx(whole, rel=1e-5)


def test_another_zoo_is_scored_where_the_run_s_own_is_gone(place: Path, tmp_path: Path) -> None:
    zoo = mixed.make(tmp_path / "other", seed=5)
    answers = job.evaluate_run(RunFolder(place / "run"), "test", Processes(), Reporter(), zoo.path)["dwsnet"]
    asked = dict(enumerate(Run.load(place / "run").predict(zoo.path).columns["size"]))
    wanted = [asked[int(number)] for number in answers.index]
    assert answers.predictions[:, 0].tolist() == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(UsageError) as caught:
        job.evaluate_run(RunFolder(place / "clean"), "test", Processes(), Reporter(), zoo.path)
    assert str(caught.value) == f"the zoo {zoo.path}: {ONE_GRAPH.format(3)}"


def test_a_depth_that_was_never_met_is_read_where_roles_are_shared(place: Path) -> None:
    graph = mlp_graph([2, 3, 4, 3, 1])
    weights = Weights.unflatten(graph, torch.randn(2, graph.numel))
    assert len(Run.load(place / "run").predict(weights).columns["size"]) == 2


def test_what_does_not_fit_is_named_and_skipped_on_demand(place: Path, tmp_path: Path) -> None:
    run, zoo = Run.load(place / "run"), Zoo.open(place / "moved")
    state = _state(zoo, 0)
    first = next(iter(state))
    torch.save({**state, first: torch.zeros(7, 7)}, tmp_path / "bad.pt")
    torch.save(state, tmp_path / "good.pt")
    torch.save({**state, first: torch.full_like(state[first], float("nan"))}, tmp_path / "nan.pt")
    with pytest.raises(GraphwsError) as caught:
        run.predict(tmp_path / "bad.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.pt'}: it fits none of the run's 3 architectures")
    assert "'0.weight' has shape (7, 7), the graph needs" in str(caught.value)
    found = run.predict(tmp_path, skip_bad=True)
    assert [Path(name).name for name in found.names] == ["good.pt"]
    assert [Path(name).name for name, _ in found.skipped] == ["bad.pt", "nan.pt"]
    assert "NaN or inf" in found.skipped[1][1]


def test_what_a_run_keeps_is_checked(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(place / "run", folder)
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-8])
    with pytest.raises(RunError) as caught:
        Run.load(folder)
    assert str(caught.value) == (f"{folder / TENSORS} was altered; make it again with: graphws train {folder}")
    with pytest.raises(UsageError) as unknown:
        Run.load(place / "run").model("dwsnit")
    assert str(unknown.value) == "no model 'dwsnit'; the run has dwsnet; did you mean 'dwsnet'?"


def test_the_command_writes_tables_with_names_and_probabilities(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.csv"
    result = command("predict", str(place / "classes"), str(place / "moved"), "--probabilities", "-o", str(out))
    assert result.exit_code == 0, result.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "class", "name", "probability of large", "probability of small"]
    assert len(rows) == 60
    assert {(row["class"], row["name"]) for row in rows} <= {("0", "large"), ("1", "small")}
    assert all(
        float(row["probability of large"]) + float(row["probability of small"]) == pytest.approx(1) for row in rows
    )
    shown = command("predict", str(place / "run"), str(place / "moved"))
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0].split() == ["file", "size"]
    assert command("predict", str(place / "run"), str(place / "moved"), "-o", "x.xls").stderr == (
        "error: x.xls: predictions are written as .csv or .json; got '.xls'\n"
    )


def test_networks_come_back_as_state_dicts(place: Path, tmp_path: Path) -> None:
    zoo = Zoo.open(place / "one-moved")
    torch.save(_state(zoo, 0), tmp_path / "noisy.pt")
    assert "say where to write them: -o FOLDER" in command("predict", str(place / "clean"), str(tmp_path)).stderr
    result = command("predict", str(place / "clean"), str(tmp_path / "noisy.pt"), "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    module.load_state_dict(torch.load(tmp_path / "out" / "noisy.pt", weights_only=True))


def test_a_zoo_without_the_target_is_for_predict(place: Path, tmp_path: Path) -> None:
    result = command("eval", str(place / "classes"), "--zoo", str(_without(tmp_path / "bare")))
    assert result.exit_code == 2 or result.exit_code == 1
    assert f"graphws predict {place / 'classes'} {tmp_path / 'bare'}" in result.stderr


def _without(path: Path) -> Path:
    from graphws.zoo.writer import finish, partial_folder

    partial_folder(path).mkdir()
    graph = mixed.GRAPHS["deep"]
    weights = Weights.unflatten(graph, torch.randn(4, graph.numel))
    finish(path, {"deep": graph}, lambda _, low, high: weights.select(slice(low, high)), {"n": np.arange(4)}, {})
    return path


ALONE = """
import json, sys, torch
extra = {"graphws.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
keys = json.loads(extra["graphws.json"])["keys"]
states = [torch.load(file, weights_only=True) for file in sys.argv[2:]]
print(json.dumps(program({key: torch.stack([state[key] for state in states]) for key in keys}).tolist()))
assert "graphws" not in sys.modules
"""


@pytest.mark.parametrize(("folder", "count"), [("run", 1), ("run", 5), ("classes", 2)])
def test_pytorch_alone_gets_the_same_numbers(place: Path, tmp_path: Path, folder: str, count: int) -> None:
    zoo, run = Zoo.open(place / "moved"), Run.load(place / folder)
    with pytest.raises(UsageError, match="choose with --architecture NAME: shallow, deep, wide"):
        export_model(run, tmp_path / "model.pt2")
    made = command("export", str(place / folder), str(tmp_path / "model.pt2"), "--architecture", "deep")
    assert made.exit_code == 0, made.output
    files = []
    for number in np.flatnonzero(zoo.architecture == 1)[:count].tolist():
        torch.save(_state(zoo, number), tmp_path / f"{number:03d}.pt")
        files.append(str(tmp_path / f"{number:03d}.pt"))
    (tmp_path / "alone.py").write_text(ALONE)
    done = subprocess.run(
        [sys.executable, "-I", "alone.py", "model.pt2", *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = run.predict(files, probabilities=True)
    wanted = [c for name, c in found.columns.items() if name == "size" or name.startswith("probability")]
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), torch.tensor(wanted).T, rtol=1e-6, atol=1e-6)


def test_an_exported_gauge_gives_networks_back_in_their_own(tmp_path: Path) -> None:
    """Signs of tanh neurons, turned for the model and turned back."""
    graphs = {"tanh": mlp_graph([2, 3, 1], activation="tanh", keys=["0", "2"])}
    zoo = mixed.make(tmp_path / "zoo", names=("tanh",), graphs=graphs)
    noise = ("augment.noise=0.1", "task={kind: weights}", "head={kind: equivariant}", "preprocess.gauge=canonical")
    run = Run.load(mixed.train(tmp_path / "run", zoo, *noise))
    weights = zoo.weights(slice(0, 8))
    found = run.predict(weights).networks
    assert all(bool((one["b1"].sign() == weights["b1"][k].sign()).all()) for k, one in enumerate(found))
    assert bool((weights["b1"] < 0).any())  # or else there was nothing to turn
    export_model(run, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    keys = {"0.weight": "W1", "0.bias": "b1", "2.weight": "W2", "2.bias": "b2"}
    given = program({key: weights[name] for key, name in keys.items()})
    for key, name in keys.items():
        torch.testing.assert_close(given[key], torch.cat([one[name] for one in found]), atol=1e-5, rtol=1e-5)
