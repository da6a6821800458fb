"""Runs whose models have features on neurons: units, probes, predictions, programs, a limit on training networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.models import GradedNet
from graphws.operations import mlp_graph
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
NEURONS = "model={kind: dwsnet, symmetry: rich, layers: 1, channels: 4, share: role}"
PROBES = "model={kind: dwsnet, symmetry: rich, layers: 1, channels: 4, share: role, probes: {points: 4}}"


def _run(folder: Path, zoo: Zoo, *overrides: str) -> tuple[Run, Results]:
    spec = parse_spec(mixed.TEXT.format(zoo=zoo.path), overrides=("train.epochs=2", "model=null", *overrides))
    results = job.run(spec, job.choose_folder(spec, folder, ALONE), ALONE, Reporter())
    return Run.load(folder), results


@pytest.mark.parametrize(("model", "access"), [(NEURONS, "weights"), (PROBES, "weights + queries")])
def test_trained_models_follow_signs_and_say_their_access(tmp_path: Path, model: str, access: str) -> None:
    zoo = mixed.make(tmp_path / "zoo")
    run, results = _run(tmp_path / "run", zoo, model)
    assert [row[:2] for row in results.table()[1]] == [["neurons", access]]
    first = [k for k, name in enumerate(zoo.table["architecture"]) if name == zoo.names[0]][:4]
    weights = zoo.weights(first)
    element = zoo.graphs[0].group().random(torch.Generator().manual_seed(0), batch=4, actions="rich")
    before, after = (run.predict(each).columns["size"] for each in (weights, element.act(weights)))
    assert torch.tensor(before).flatten() == pytest.approx(torch.tensor(after).flatten(), rel=1e-3, abs=1e-3)
    assert float(torch.tensor(before).std()) > 0


def test_units_are_those_of_the_training_networks_and_stay_with_the_model(tmp_path: Path) -> None:
    zoo = mixed.make(tmp_path / "zoo", names=("tanh",), graphs={"tanh": mlp_graph([2, 3, 1], activation="tanh")})
    run, _ = _run(tmp_path / "run", zoo, PROBES)
    model = run.model().bare
    assert isinstance(model, GradedNet)
    assert model.units is not None
    trained = zoo.weights(zoo.split("train"))
    seen = run.model().seen(trained)
    for name, x in trained.items():
        root = x.square().mean().sqrt()
        torch.testing.assert_close(seen[name], x / root, rtol=1e-4, atol=1e-5)
    whole = model.units(seen, model.plan(zoo.graph).owners)
    for name, x in trained.items():
        torch.testing.assert_close(whole[name], x, rtol=1e-4, atol=1e-5)


def test_a_program_says_what_the_model_says(tmp_path: Path) -> None:
    graphs = {"tanh": mlp_graph([2, 3, 1], activation="tanh", keys=["0", "2"])}
    zoo = mixed.make(tmp_path / "zoo", names=("tanh",), graphs=graphs)
    run, _ = _run(tmp_path / "run", zoo, NEURONS)
    weights = zoo.weights(slice(0, 4))
    export_model(run, tmp_path / "model.pt2", batch=4)
    program = torch.export.load(tmp_path / "model.pt2").module()
    keys = {"0.weight": "W1", "0.bias": "b1", "2.weight": "W2", "2.bias": "b2"}
    found = program({key: weights[name] for key, name in keys.items()})
    torch.testing.assert_close(found.flatten(), torch.tensor(run.predict(weights).columns["size"]))


def test_only_the_first_training_networks_are_learnt_from(tmp_path: Path) -> None:
    zoo = mixed.make(tmp_path / "zoo")
    whole, limited = (
        _run(tmp_path / name, zoo, NEURONS, limit)[1]
        for name, limit in (("all", "input.training=null"), ("few", "input.training=5"))
    )
    assert limited.networks["train"] == 5
    assert limited.networks["test"] == whole.networks["test"]
    assert whole.networks["train"] > 5
