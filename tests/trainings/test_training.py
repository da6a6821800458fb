"""Training the networks of paper I, section 6: equation 22, its second half, weight decay, going on after a stop."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from graphws.errors import RunError
from graphws.graph import Weights
from graphws.operations import attention_pool_graph, forward
from graphws.reporter import Reporter
from graphws.spec import SymmetryTraining
from graphws.trainings import Trained, design_of, train
from graphws.trainings.training import Training, equivariance_factor, learning_rate, start
from tests.trainings.cases import attending, experiment, pictures


class StopAfter(Reporter):
    """Interrupts a training at a step, as Ctrl-C would."""

    def __init__(self, step: int) -> None:
        self.last = step

    def step(self, done: int, values: Mapping[str, float]) -> None:
        if done >= self.last:
            raise KeyboardInterrupt


def same(one: Trained, other: Trained) -> bool:
    return all(torch.equal(x, other.weights[name]) for name, x in one.weights.items())


def figures(trained: Trained) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in trained.history]


@pytest.mark.parametrize("make", [experiment, attending])
def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_generator_alone(make) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (train(make(seed=seed), pictures()) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("task", ["autoencoder", "classifier"])
@pytest.mark.parametrize("stop", [20, 30])
def test_going_on_after_a_stop_gives_the_weights_of_an_uninterrupted_training(
    task: str, stop: int, tmp_path: Path
) -> None:
    section = experiment(task=task)
    whole = train(section, pictures(), folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(section, pictures(), folder=tmp_path / "cut", reporter=StopAfter(stop))
    with open(tmp_path / "cut" / "metrics.csv", newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(10, stop + 1, 10))
    resumed = train(section, pictures(), folder=tmp_path / "cut")
    assert same(whole, resumed)
    assert figures(whole) == figures(resumed)


def test_the_table_of_the_last_look_is_written_again(tmp_path: Path) -> None:
    """A kill may come between the last checkpoint and its table."""
    train(experiment(), pictures(), folder=tmp_path)
    table = tmp_path / "metrics.csv"
    whole = table.read_text()
    table.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    train(experiment(), pictures(), folder=tmp_path)
    assert table.read_text() == whole


def test_a_damaged_checkpoint_is_left_with_a_word(tmp_path: Path) -> None:
    whole = train(experiment(), pictures(), folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(experiment(), pictures(), folder=tmp_path / "cut", reporter=StopAfter(20))
    last, heard = tmp_path / "cut" / "last.safetensors", []
    data = bytearray(last.read_bytes())
    data[-3] ^= 1
    last.write_bytes(data)
    reporter = Reporter()
    reporter.note = heard.append  # type: ignore[method-assign]
    assert same(whole, train(experiment(), pictures(), folder=tmp_path / "cut", reporter=reporter))
    assert heard == [
        f"the checkpoint {last} is damaged: its checksum is another; train again: the network is trained anew"
    ]


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    train(experiment(), pictures(), folder=tmp_path)
    path = tmp_path / "last.safetensors"
    for section, data in ((experiment(lr=1e-3), pictures()), (experiment(), pictures(seed=1, count=124))):
        data = data if data.pixels.shape[0] == 120 else type(data)(data.pixels, data.labels, data.test, 3, "others")
        with pytest.raises(RunError) as caught:
            train(section, data, folder=tmp_path)
        assert str(caught.value) == f"the checkpoint {path} is of another training; delete it to train anew"


def test_a_checkpoint_of_another_device_is_refused(tmp_path: Path) -> None:
    train(experiment(), pictures(), folder=tmp_path)
    training = Training(design_of(experiment(), pictures()), pictures(), torch.device("cpu"))
    training.device = torch.device("cuda")
    path = tmp_path / "last.safetensors"
    with pytest.raises(RunError) as caught:
        training.load(path)
    assert str(caught.value) == (
        f"the checkpoint {path} is of a training on cpu, whose random numbers cannot go on on cuda; "
        "delete it to train anew"
    )


def test_the_equivariance_loss_begins_in_the_second_half() -> None:
    """Until then two trainings that differ in λ alone are one and the same; from then on they part."""
    section = SymmetryTraining(steps=41, equivariance=5.0)
    assert [equivariance_factor(section, step) for step in (0, 19, 20, 40)] == [0.0, 0.0, 5.0, 5.0]
    with_loss, without = (
        Training(design_of(experiment(equivariance=factor), pictures()), pictures(), torch.device("cpu"))
        for factor in (5.0, 0.0)
    )
    for step in range(1, 25):
        with_loss.advance(), without.advance()
        equal = torch.equal(with_loss.tensors["W1"], without.tensors["W1"])
        assert equal == (step <= 20), step


@pytest.mark.parametrize("group", ["mirror", "dihedral"])
@pytest.mark.parametrize("task", ["autoencoder", "classifier"])
def test_the_loss_is_equation_22(task: str, group: str) -> None:
    """Against the paper's own form, mse(f(x), g⁻¹ f(g x)), by loops over pictures turned with torch's functions."""
    turns = {"mirror": lambda x: x.flip(-1), "dihedral": lambda x: x.rot90(1, (-2, -1))}
    backs = {"mirror": lambda x: x.flip(-1), "dihedral": lambda x: x.rot90(-1, (-2, -1))}
    section = experiment(task=task, group=group, equivariance=3.0)
    training = Training(design_of(section, pictures(channels=3)), pictures(channels=3), torch.device("cpu"))
    element = training.design.symmetry.generators["m" if group == "mirror" else "r"]
    crops = training.design.crop.central(training.pixels[:7])
    labels = training.labels[:7]

    def run(x):
        return forward(training.design.graph, training.weights, x.flatten(1))[0]

    outputs, turned = run(crops), run(turns[group](crops))
    if task == "autoencoder":
        plain = (outputs - crops.flatten(1)).square().mean()
        turned = backs[group](turned.reshape(crops.shape)).flatten(1)
    else:
        plain = functional.cross_entropy(outputs, labels)
    torch.testing.assert_close(training.loss(crops, labels, element), plain)
    training.step = 20
    wanted = plain + 3.0 * (turned - outputs).square().mean()
    torch.testing.assert_close(training.loss(crops, labels, element), wanted)


def test_attention_in_the_cheap_order_is_the_graphs_own_function() -> None:
    design = design_of(attending(), pictures(channels=3))
    weights = start(design.graph, torch.Generator().manual_seed(0)).to(dtype=torch.float64).map(lambda x: 4 * x)
    crops = torch.randn(9, *design.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, theirs = design.run(weights, crops), forward(design.graph, weights, crops)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    other = weights.tensors | {"PK": weights["PK"].flip(1)}
    assert (design.run(Weights(design.graph, other), crops) - theirs).abs().max() > 1e-3


def test_the_networks_of_the_paper() -> None:
    shapes = {p.name: attending().network.hidden for p in design_of(attending(), pictures()).graph.parameters}
    assert {"EK", "PK", "EV", "PV", "T", "Q1", "K1", "V1", "bV1", "W2", "bW2", "W3", "bW3"} == set(shapes)
    assert design_of(attending(), pictures(channels=3)).graph == attention_pool_graph(
        3, 4, [6, 8, 48], 2, ["tanh", "gelu"], 2
    )
    graph = design_of(experiment(task="classifier"), pictures(channels=3)).graph
    assert [space.size for space in graph.spaces] == [48, 6, 8, 3]


def test_starts_are_those_of_torchs_layers() -> None:
    weights = start(attention_pool_graph(1, 4, [64, 64, 16], 2, patch=2), torch.Generator().manual_seed(0))
    bounds = {"EK": 1 / math.sqrt(4), "PK": 0.02, "T": 0.02, "V1": 1 / 8, "bV1": 1 / 8, "W2": 1 / 8, "bW2": 1 / 8}
    for name, bound in bounds.items():
        assert 0.85 * bound < float(weights[name].abs().max()) <= bound, name


def test_weight_decay_is_decoupled_and_would_kill_the_network_as_a_penalty() -> None:
    """The paper's 0.99: e^-6.4 over its 13,000 steps as AdamW reads it; as an L2 penalty nothing is learnt."""
    paper = SymmetryTraining()
    shrinks = [1 - paper.weight_decay * learning_rate(paper, step) for step in range(paper.steps)]
    assert math.log(math.prod(shrinks)) == pytest.approx(-6.4, abs=0.05)

    section = experiment(steps=300, equivariance=0.0, check_every=300, seed=1)
    decoupled = train(section, pictures()).history[-1]["r2"]
    training = Training(design_of(section, pictures()), pictures(), torch.device("cpu"))
    training.optimizer = torch.optim.Adam(training.tensors.values(), lr=1e-2, weight_decay=0.99)
    for _ in range(300):
        loss = training.advance()
    penalised = training.look(loss)["r2"]
    assert decoupled > 0.5
    assert penalised < 0.1
    assert max(float(x.detach().abs().max()) for name, x in training.tensors.items() if name.startswith("W")) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("make", [experiment, attending])
def test_the_loss_makes_the_function_equivariant(make) -> None:
    """With it in the second half the function is much closer to equivariant than without; the task hardly suffers."""
    options = {"steps": 300, "check_every": 300, "weight_decay": 0.1}
    with_loss, without = (train(make(**options, equivariance=x), pictures()).history[-1] for x in (5.0, 0.0))
    assert with_loss["equivariance"] < 0.5 * without["equivariance"]
    assert with_loss["r2"] > without["r2"] - 0.25


def test_a_loss_that_stops_being_a_number_ends_the_training() -> None:
    with pytest.raises(RunError) as caught:
        train(experiment(lr=1e30, weight_decay=0.0), pictures())
    assert str(caught.value) == ("the loss became NaN or infinite before step 10; try a smaller experiment.train.lr")


def test_history_says_when_and_how_fast() -> None:
    rows = train(experiment(steps=25), pictures()).history
    assert [row["step"] for row in rows] == [10, 20, 25]
    assert set(rows[0]) == {"step", "lr", "train_loss", "equivariance", "r2", "seconds"}
    assert [row["lr"] for row in rows] == pytest.approx(
        [1e-2 * (1 + math.cos(math.pi * t / 25)) / 2 for t in (9, 19, 24)]
    )
