"""A trained model called on networks as they are answers in units, from its run and from its file alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import graphws
from graphws import Run, Zoo
from graphws.errors import DataError, RunError, UsageError
from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.runtime.files import checksum
from graphws.runtime.model_file import read_whole_model, save_model
from graphws.runtime.trained_model import TrainedModel, load_model
from tests.runtime import mixed

pytestmark = pytest.mark.slow

SINE = mlp_graph([2, 4, 1], activation="sine", omega=30.0, keys=["0", "2"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of each kind of answer; their models' files are also where no run is, and the zoo is of another place."""
    folder = tmp_path_factory.mktemp("trained")
    zoo = mixed.make(folder / "zoo")
    one = mixed.make(folder / "one", names=("sine",), graphs={"sine": SINE})
    mixed.train(folder / "regression", zoo, "train.epochs=8", "preprocess.gauge=canonical")
    mixed.train(
        folder / "classes",
        zoo,
        "task={kind: classification, target: group}",
        "head.outputs=2",
        "compare=[{name: trees, model: {kind: trees}}]",
    )
    aligned = "preprocess={align: {networks: 8, iterations: 2}}"
    several = "head={kind: equivariant, networks: 2}"
    mixed.train(folder / "networks", one, "augment.noise=0.1", "task={kind: weights, points: 16}", several, aligned)
    for name, kind in (("regression", "dwsnet"), ("classes", "dwsnet"), ("classes", "trees"), ("networks", "dwsnet")):
        (folder / "alone").mkdir(exist_ok=True)
        shutil.copy(folder / name / "models" / f"{kind}.safetensors", folder / "alone" / f"{name}-{kind}.safetensors")
    (folder / "zoo").rename(folder / "moved")
    return folder


def _asked(zoo: Zoo, graph: int = 1) -> Weights:
    return zoo.weights(np.flatnonzero(zoo.architecture == graph))


def test_a_called_model_is_right_in_the_units_of_the_target(place: Path) -> None:
    """The natural use; the bare module's numbers are those of the training, off by far."""
    zoo, run = Zoo.open(place / "moved"), Run.load(place / "regression")
    weights, model = _asked(zoo), run.model()
    found = model(weights)
    assert isinstance(found, Tensor)
    assert found[:, 0].tolist() == pytest.approx(run.predict(weights).columns["size"], rel=1e-6)
    wanted = torch.tensor(zoo.table["size"].tolist())[zoo.architecture == 1]
    mean = (found[:, 0] - wanted).square().mean()
    assert float(mean) < 2 * float(wanted.var())
    assert float((model.bare(weights)[:, 0] - wanted).square().mean()) > 3 * float(mean)  # control
    assert model.targets == ("size",)
    assert repr(model).startswith("TrainedModel(\n  dwsnet: size\n")


@pytest.mark.parametrize(
    ("name", "kind"), [("regression", "dwsnet"), ("classes", "dwsnet"), ("classes", "trees"), ("networks", "dwsnet")]
)
def test_a_file_that_was_moved_answers_as_its_run(place: Path, name: str, kind: str) -> None:
    run, model = graphws.load_run(place / name), graphws.load_model(place / "alone" / f"{name}-{kind}.safetensors")
    zoo = Zoo.open(place / ("one" if name == "networks" else "moved"))
    weights = zoo.weights(slice(0, 6)) if name == "networks" else _asked(zoo)
    with torch.no_grad():
        here, there = model(weights), run.model(kind)(weights)
    if isinstance(here, Weights):
        assert isinstance(there, Weights)
        assert here.batch == 2 * weights.batch
        torch.testing.assert_close(here.flatten(), there.flatten(), rtol=0, atol=0)
        given = torch.cat([one.flatten() for one in run.predict(weights).networks])
        torch.testing.assert_close(here.flatten(), given)
    else:
        torch.testing.assert_close(here, there, rtol=0, atol=0)
    assert model.classes == (("large", "small") if name == "classes" else None)
    if name == "classes":
        shares = run.predict(weights, kind, probabilities=True).columns
        torch.testing.assert_close(here[:, 0], torch.tensor(shares["probability of large"]))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_several_graphs_give_one_result(place: Path) -> None:
    zoo, model = Zoo.open(place / "moved"), Run.load(place / "regression").model()
    parts = [_asked(zoo, graph) for graph in range(3)]
    torch.testing.assert_close(model(parts), torch.cat([model(part) for part in parts]))


def test_gradients_reach_the_weights(place: Path) -> None:
    zoo, model = Zoo.open(place / "moved"), Run.load(place / "regression").model()
    weights = _asked(zoo).map(lambda x: x.double().requires_grad_())
    model(weights).sum().backward()
    assert all(float(x.grad.abs().sum()) > 0 for _, x in weights.items())


def test_networks_keep_their_type(place: Path) -> None:
    weights = Zoo.open(place / "one").weights([0, 1]).to(dtype=torch.float64)
    assert Run.load(place / "networks").model()(weights).dtype == torch.float64


def test_what_is_no_weights_is_named(place: Path) -> None:
    model = Run.load(place / "regression").model()
    with pytest.raises(UsageError) as caught:
        model(torch.zeros(3, 17))
    assert str(caught.value) == (
        "TrainedModel takes Weights, got a Tensor (3, 17): make them with Weights.unflatten(graph, tensor)"
    )


@pytest.mark.parametrize(
    ("activation", "omega", "words"),
    [("relu", None, "x1 = relu(z1)"), ("sine", 1.0, "x1 = sine(z1, omega=1.0)")],
)
def test_another_activation_or_frequency_is_named(
    place: Path, tmp_path: Path, activation: str, omega: float | None, words: str
) -> None:
    run = Run.load(place / "networks")
    options = {} if omega is None else {"omega": omega}
    other = mlp_graph([2, 4, 1], activation=activation, keys=["0", "2"], **options)
    weights = Weights.unflatten(other, torch.randn(1, other.numel))
    reason = (
        f"it computes something else: {words} where the others have x1 = sine(z1, omega=30.0); "
        "train a model on networks like it"
    )
    with pytest.raises(UsageError) as caught:
        run.model()(weights)
    assert str(caught.value) == reason
    file = tmp_path / "net.safetensors"
    graphws.save(weights, file)
    with pytest.raises(DataError) as refused:
        run.predict(file)
    assert str(refused.value) == f"{file}: the model cannot read it: {reason}"
    graphws.save(Weights(SINE, weights.tensors), file, overwrite=True)
    assert len(run.predict(file)) == 1
    torch.save(weights.to_state_dict(), tmp_path / "net.pt")  # which does not say what it computes
    assert len(run.predict(tmp_path / "net.pt")) == 1


def test_another_width_is_named(place: Path) -> None:
    other = mlp_graph([2, 5, 1], activation="sine", omega=30.0)
    with pytest.raises(UsageError) as caught:
        Run.load(place / "networks").model()(Weights.unflatten(other, torch.randn(1, other.numel)))
    assert str(caught.value) == (
        "it is of another architecture: space 'hidden1' has 5 elements, the model's 4; only networks of its own can be "
        "aligned to the run's"
    )


def test_older_files_and_single_trainings_name_their_run(place: Path, tmp_path: Path) -> None:
    run = place / "regression"
    trial = next((run / "trials").iterdir()) / "best.safetensors"
    with pytest.raises(RunError) as caught:
        load_model(trial)
    assert str(caught.value) == (
        f"{trial} holds a model without what its answers need (units, classes, gauge); load its run: "
        f"graphws.load_run({str(run)!r}).model('dwsnet')"
    )
    shutil.copy(trial, tmp_path / "model.safetensors")
    with pytest.raises(RunError) as alone:
        load_model(tmp_path / "model.safetensors")
    assert str(alone.value).endswith("load its run: graphws.load_run(FOLDER).model('dwsnet')")


def test_a_run_whose_models_hold_nothing_else_still_answers(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(place / "regression", folder)
    path = folder / "models" / "dwsnet.safetensors"
    state, description, _ = read_whole_model(path)
    before = checksum(path.read_bytes())
    save_model(path, state, description)
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace(before, checksum(path.read_bytes())))
    weights = _asked(Zoo.open(place / "moved"))
    whole = Run.load(place / "regression").model()(weights)
    torch.testing.assert_close(Run.load(folder).model()(weights), whole, rtol=0, atol=0)


def test_parts_that_do_not_fit_are_damage(place: Path, tmp_path: Path) -> None:
    state, description, kept = read_whole_model(place / "alone" / "regression-dwsnet.safetensors")
    assert kept is not None
    path, hint = tmp_path / "model.safetensors", "; train again"
    other = {name: x for name, x in kept.tensors.items() if name != "targets"}
    save_model(path, state, description, type(kept)(kept.spec, kept.facts, other))
    with pytest.raises(RunError) as caught:
        load_model(path)
    assert str(caught.value) == f"the checkpoint {path} is damaged: 'targets'{hint}"
    save_model(path, state, description, type(kept)("graphws: 1\n", kept.facts, kept.tensors))
    with pytest.raises(RunError) as bare:
        load_model(path)
    assert str(bare.value).startswith(f"the checkpoint {path} is damaged: ")
    wide = kept.spec.replace("channels: ", "channels: 1000000")
    assert wide != kept.spec
    save_model(path, state, description, type(kept)(wide, kept.facts, kept.tensors))
    with pytest.raises(RunError, match=f"the checkpoint {path} is of another architecture"):
        load_model(path)  # before it takes terabytes


def test_a_bare_module_is_no_trained_model(place: Path) -> None:
    model = Run.load(place / "regression").model()
    assert isinstance(model, TrainedModel)
    assert isinstance(model.bare, graphws.DWSNet)
    assert isinstance(model, nn.Module)
    assert model.graphs == Run.load(place / "regression").prepared.graphs
