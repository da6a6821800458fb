"""Runs whose models see outputs, or answer with several networks: tables, predictions, programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from graphws.errors import DataError, UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import forward, mlp_graph
from graphws.operations.canonical_gauge import canonical_gauge
from graphws.operations.query_points import regular_grid
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.environment import Processes
from graphws.runtime.exporting import export_model
from graphws.runtime.prediction import Run
from graphws.runtime.results import Results
from graphws.spec import parse_spec
from graphws.zoo import Zoo
from tests.runtime import mixed

ALONE = Processes()
COMPARE = "compare=[{name: weights, model: {kind: dwsnet, layers: 1, channels: 2, share: role}}]"
QUERIES = ("model=null", "model={kind: queries, points: 9, layers: 1, width: 8}", COMPARE)


def _run(folder: Path, zoo: Zoo, *overrides: str) -> tuple[Run, Results]:
    spec = parse_spec(mixed.TEXT.format(zoo=zoo.path), overrides=("train.epochs=2", *overrides))
    place = job.choose_folder(spec, folder, ALONE)
    results = job.run(spec, place, ALONE, Reporter())
    return Run.load(folder), results


def _functions(graph: NetworkGraph, networks: Weights) -> Tensor:
    found = forward(graph, networks, regular_grid(16))
    assert isinstance(found, Tensor)
    return found


def test_access_is_in_tables_and_reports_and_weights_stay_raw(tmp_path: Path) -> None:
    zoo = mixed.make(tmp_path / "zoo")
    run, results = _run(tmp_path / "run", zoo, *QUERIES)
    columns, rows = results.table()
    assert columns[:2] == ["model", "access"]
    assert [row[:2] for row in rows] == [["queries", "queries"], ["weights", "weights"]]
    stored = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [score["access"] for score in stored["scores"]] == ["queries", "weights"]
    for score in stored["scores"]:  # of older runs
        del score["access"]
    assert [score.access for score in Results.from_json(stored).scores] == ["weights", "weights"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "access" in page
    assert ">queries<" in page
    graph = zoo.graphs[0]
    weights = zoo.weights([k for k, a in enumerate(zoo.table["architecture"]) if a == zoo.names[0]][:4])
    assert weights.graph == graph
    seen, others = (run.model(name).seen(weights) for name in ("queries", "weights"))
    torch.testing.assert_close(seen.flatten(), weights.flatten())
    assert not torch.allclose(others.flatten(), weights.flatten(), atol=1e-2)
    model = run.model().bare
    model.to("cpu")
    outputs = run.prepared.task(graph, run.section()).predictions(model(weights))
    found = run.predict(weights).columns["size"]
    torch.testing.assert_close(torch.tensor(found), outputs.flatten())
    again = job.evaluate_run(job.RunFolder(tmp_path / "run"), "test", ALONE, Reporter(), zoo.path)
    assert again["queries"].metrics == pytest.approx(results.scores[0].test[0])


def test_trained_queries_read_networks_of_any_graph_with_like_inputs_and_outputs(tmp_path: Path) -> None:
    zoo = mixed.make(tmp_path / "zoo")
    run, _ = _run(tmp_path / "run", zoo, *QUERIES)
    other = mlp_graph([2, 6, 4, 1], activation="tanh")
    weights = Weights.unflatten(other, torch.randn(3, other.numel, generator=torch.Generator().manual_seed(0)))
    assert len(run.predict(weights)) == 3
    wrong = mlp_graph([3, 6, 1])
    with pytest.raises(DataError, match=r"there are no points for networks that read \(n, 3\)"):
        run.predict(Weights.unflatten(wrong, torch.randn(3, wrong.numel)))


def test_queries_are_exported_for_a_fixed_number_of_networks(tmp_path: Path) -> None:
    graphs = {"tanh": mlp_graph([2, 3, 1], activation="tanh", keys=["0", "2"])}
    zoo = mixed.make(tmp_path / "zoo", names=("tanh",), graphs=graphs)
    run, _ = _run(tmp_path / "run", zoo, "model=null", "model={kind: queries, points: 9, layers: 1, width: 8}")
    weights = zoo.weights(slice(0, 4))
    with pytest.raises(
        UsageError, match=r"PyTorch cannot export this model: .*try a fixed number of networks: --batch 1"
    ):
        export_model(run, tmp_path / "any.pt2")
    export_model(run, tmp_path / "model.pt2", batch=4)
    program = torch.export.load(tmp_path / "model.pt2").module()
    keys = {"0.weight": "W1", "0.bias": "b1", "2.weight": "W2", "2.bias": "b2"}
    found = program({key: weights[name] for key, name in keys.items()})
    torch.testing.assert_close(found.flatten(), torch.tensor(run.predict(weights).columns["size"]))


@pytest.mark.parametrize("model", ["{kind: dwsnet, layers: 1, channels: 2}", "{kind: mlp, layers: 1, width: 4}"])
def test_several_networks_come_back_in_the_gauge_and_units_of_the_one_asked_about(tmp_path: Path, model: str) -> None:
    graphs = {"tanh": mlp_graph([2, 3, 1], activation="tanh", keys=["0", "2"])}
    zoo = mixed.make(tmp_path / "zoo", names=("tanh",), graphs=graphs)
    noise = ("augment.noise=0.1", "task=null", "task={kind: weights, points: 16}", "preprocess.gauge=canonical")
    head = ("head=null", "head={kind: equivariant, networks: 3}", "model=null", f"model={model}")
    run, results = _run(tmp_path / "run", zoo, *noise, *head)
    assert results.metric.name == "function_mse"
    weights, graph = zoo.weights(slice(0, 8)), zoo.graph
    found = run.predict(weights).networks
    assert [one.batch for one in found] == [3] * 8
    seen, section = run.model().seen(weights), run.section()
    task = run.prepared.task(graph, section)
    outputs = task.apply(run.model().bare, seen)
    means = torch.stack([_functions(graph, one).mean(0) for one in found])
    loss = (means - _functions(graph, canonical_gauge(weights))).square().mean((1, 2))
    torch.testing.assert_close(task.losses(outputs, seen.flatten()), loss, rtol=1e-4, atol=1e-6)
    export_model(run, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    keys = {"0.weight": "W1", "0.bias": "b1", "2.weight": "W2", "2.bias": "b2"}
    given = program({key: weights[name] for key, name in keys.items()})
    for key, name in keys.items():
        torch.testing.assert_close(given[key], torch.stack([one[name] for one in found]), atol=1e-5, rtol=1e-5)
