"""Labels of values: what they say of one network holds for every network of the graph, and a wrong one is noticed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from graphws.converting import convert
from graphws.errors import GraphError
from graphws.graph import Action, Axis, NetworkGraph, Operation, Parameter, Space
from graphws.operations import mlp_graph, run_values
from graphws.operations.labels import Labels, labels, measure_labels
from graphws.operations.sampling import random_inputs, random_weights

DOUBLE = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def violation(graph: NetworkGraph, stated: Mapping[str, tuple[Axis | None, ...]], seed: int = 7) -> float:
    """How far values are from moving as their labels say, under random elements, on new weights and inputs."""
    weights, inputs = random_weights(graph, 1, rng(seed)), random_inputs(graph, 2, rng(seed + 1))
    before, worst = run_values(graph, weights, inputs), 0.0
    for draw in range(3):  # one may be the identity on a small space
        element = graph.group().random(rng(seed + 2 + draw), actions="rich", dtype=DOUBLE)
        after = run_values(graph, element.act(weights), inputs)
        for name, axes in stated.items():
            moved = before[name]
            for k, axis in enumerate(axes):
                if axis is not None and axis.space in element.maps:
                    moved = element.maps[axis.space].apply(moved, k + 1, axis.power)
            worst = max(worst, float((after[name] - moved).norm() / before[name].norm().clamp_min(1e-300)))
    return worst


def shown(found: Labels) -> dict[str, str]:
    """Labels as text: a dot for an axis that has none."""
    return {name: " ".join(str(axis or ".") for axis in axes) for name, axes in found.items()}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (2, 3)).transpose(1, 2) for f in (self.q, self.k, self.v))
        h = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y: Tensor = self.o(h)
        return y


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.lstm(x)[0][:, -1])
        return y


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(3, 5)
        self.tokens, self.back, self.out = nn.Linear(4, 7), nn.Linear(7, 4), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.read(x))
        h = h + self.back(nn.functional.gelu(self.tokens(h.transpose(1, 2)))).transpose(1, 2)
        y: Tensor = self.out(h.mean(1))
        return y


CNN = nn.Sequential(
    nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Tanh(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(36, 2),
)  # fmt: skip
MODULES = {
    "CNN": (CNN, (2, 3, 8, 8)),
    "attention": (Attention(), (2, 4, 6)),
    "LSTM": (Recurrent(), (2, 4, 3)),
    "Mixer": (Mixer(), (2, 4, 3)),
}


def converted(name: str) -> NetworkGraph:
    module, shape = MODULES[name]
    return convert(module.double().eval(), torch.randn(shape, generator=rng(), dtype=DOUBLE)).graph


@pytest.mark.parametrize("name", MODULES)
def test_what_labels_say_holds_for_other_weights(name: str) -> None:
    graph = converted(name)
    found = labels(graph)
    assert any(axis and graph.space(axis.space).moves for axes in found.values() for axis in axes)
    assert violation(graph, found) < 1e-9
    assert violation(graph, found, 20) < 1e-9


@pytest.mark.parametrize("name", MODULES)
def test_a_wrong_label_is_noticed(name: str) -> None:
    graph = converted(name)
    found = dict(labels(graph))
    for value, axes in found.items():
        for k, axis in enumerate(axes):
            if axis is not None and graph.space(axis.space).moves:
                for wrong in (None, Axis(axis.space, -axis.power)):
                    if wrong is not None and graph.space(axis.space).action is not Action.LINEAR:
                        continue  # signs and permutations do not tell a power from its negative
                    changed = {**found, value: (*axes[:k], wrong, *axes[k + 1 :])}
                    assert violation(graph, changed) > 1e-3, (value, axis, wrong)


def test_labels_of_a_network_that_convolves() -> None:
    found = shown(labels(converted("CNN")))
    assert found["x0"] == ". input . ."
    assert found["x3"] == ". 0 . ."  # behind the norm, whose scale is the space's
    assert found["x5"] == found["x6"] == ". 3 . ."
    assert found["x8"] == ". output"


def test_keys_of_heads_follow_the_inverse() -> None:
    graph = converted("attention")
    powers = {axis.power for axes in labels(graph).values() for axis in axes if axis and "head" in axis.space}
    assert powers == {1, -1}


def test_a_value_may_belong_to_two_spaces() -> None:
    """Behind the layer on tokens of a mixer: features of the first layer, and neurons of the one on tokens."""
    found = labels(converted("Mixer"))
    both = [axes for axes in found.values() if sum(axis is not None for axis in axes) == 2]
    assert {"read", "tokens"} in [{axis.space for axis in axes if axis is not None} for axes in both]


def test_a_space_of_one_element_is_recognised_on_a_wider_graph() -> None:
    graph = mlp_graph([1, 3, 1], "tanh")
    assert shown(labels(graph)) == {"x0": ". input", "z1": ". hidden1", "x1": ". hidden1", "z2": ". output"}


def test_a_space_of_two_elements_is_drawn_until_it_moves() -> None:
    """Half of the elements of S_2 move nothing, and would label nothing."""
    graph = mlp_graph([2, 2, 2, 2], "gelu")
    weights, inputs = random_weights(graph, 1, rng()), random_inputs(graph, 3, rng(1))
    for seed in range(8):
        found = shown(measure_labels(graph, weights, inputs, rng(seed)))
        assert found["x1"] == ". hidden1"
        assert found["x2"] == ". hidden2"


def test_a_graph_that_does_not_run_has_the_labels_that_it_states() -> None:
    graph = mlp_graph([2, 3, 1], "tanh")
    bare = NetworkGraph(graph.spaces, graph.parameters)
    assert labels(bare) == {}


def test_a_computation_that_breaks_the_symmetry_is_not_labelled_behind_it() -> None:
    """A cumulated sum over neurons: what permutes them before does not permute them behind."""
    graph = NetworkGraph(
        (Space("input", 2, "free"), Space("h", 4), Space("output", 1, "free")),
        (Parameter("W", "h input*"), Parameter("V", "output h*")),
        (
            Operation("linear", ("x", "W"), ("z",)),
            Operation("cumsum", ("z",), ("c",), {"dim": -1}),
            Operation("linear", ("c", "V"), ("y",)),
        ),
        ("x",),
        ("y",),
    )
    weights, inputs = random_weights(graph, 1, rng()), {"x": torch.randn(3, 2, generator=rng(), dtype=DOUBLE)}
    found = measure_labels(graph, weights, inputs, rng())
    assert shown(found)["z"] == ". h"
    assert "c" not in found
    with pytest.raises(GraphError) as error:
        random_inputs(graph, 3, rng())
    assert str(error.value) == "the graph does not say which shape its input 'x' has"
