"""Training classifiers at once: trajectories against PyTorch, independence of the group, and what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from graphws.errors import ZooError
from graphws.operations import forward
from graphws.threads import torch_threads
from graphws.zoo import SplitOptions
from graphws.zoo.classifiers import ClassifierArchitecture, ClassifierFitting, ClassifierOptions, Convolutions
from graphws.zoo.classifiers.streams import Order, pairs_of
from graphws.zoo.classifiers.training import Material, initial, train_group
from graphws.zoo.fitting import Interrupted, Part
from graphws.zoo.sources.labelled_pictures import Pictures

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


MLP = ClassifierArchitecture((2, 5, 5), 4, (7, 6))
TANH = ClassifierArchitecture((2, 5, 5), 4, (7, 6), "tanh")
CNN = ClassifierArchitecture((2, 5, 5), 4, (6,), "gelu", Convolutions((5, 3), kernel=2, stride=1))
STRIDED = ClassifierArchitecture((1, 8, 8), 4, (), "relu", Convolutions((5,), kernel=3, stride=2))


def pictures(architecture: ClassifierArchitecture = MLP, count: int = 90, bytes_: bool = False) -> Pictures:
    """Pictures that classes can be told from: a class is bright at a place of its own."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 4
    pixels = 0.5 * torch.rand(count, *architecture.picture, generator=generator, dtype=torch.float64)
    pixels[torch.arange(count), :, labels, labels] += 0.5
    return Pictures((255 * pixels).byte() if bytes_ else pixels, labels, torch.arange(count) % 3 == 0, 4, "bright")


def shown(architecture: ClassifierArchitecture, x: Tensor) -> Tensor:
    return x.flatten(1) if architecture.convolutions is None else x


def fitted(
    architecture: ClassifierArchitecture,
    options: ClassifierOptions,
    low: int = 0,
    high: int | None = None,
    dtype: torch.dtype = torch.float64,
    group: int | None = None,
    data: Pictures | None = None,
) -> tuple[ClassifierFitting, Part]:
    """A fitting, and the networks of some of its units."""
    fitting = ClassifierFitting(
        data or pictures(architecture), architecture, options, SplitOptions(0.0, 0.0), group=group
    )
    end = fitting.units if high is None else high
    return fitting, fitting.fit(low, end, CPU, dtype, lambda count, figures: None, lambda: False)


def one_by_one(
    architecture: ClassifierArchitecture, data: Pictures, options: ClassifierOptions, network: int, steps: int
) -> dict[str, Tensor]:
    """The slow reference: one module, PyTorch's Adam, and orders drawn as the documentation of streams says."""
    start = architecture.weights(initial(architecture, options.seed, [network])).to_state_dict(0)
    model = architecture.module().double()
    model.load_state_dict(start)
    optimiser = torch.optim.Adam(model.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    pairs = pairs_of(options.pairs, options.seed, options.number, data.classes)
    mine = range(data.classes) if pairs is None else pairs[network].tolist()
    members = [k for k in range(len(data.labels)) if not data.test[k] and int(data.labels[k]) in mine]
    seen: list[int] = []
    epoch = 0
    while len(seen) < steps * options.batch_size:
        key = np.array([options.seed, network << 24 | 2 + epoch], dtype=np.uint64)
        seen += np.random.Generator(np.random.Philox(key=key)).permutation(np.array(members)).tolist()
        epoch += 1
    for step in range(steps):
        batch = seen[step * options.batch_size : (step + 1) * options.batch_size]
        optimiser.zero_grad()
        outputs = model(shown(architecture, data.pixels[batch]))
        cross_entropy(outputs, data.labels[batch]).backward()
        optimiser.step()
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.parametrize("architecture", [MLP, TANH, CNN, STRIDED], ids=lambda each: f"{each.name} {each.activation}")
@pytest.mark.parametrize("pairs", ["none", "random"])
def test_trajectories_are_those_of_pytorch(architecture: ClassifierArchitecture, pairs: str) -> None:
    options = ClassifierOptions(3, pairs, batch_size=13, lr=0.01, weight_decay=1e-2, steps=9, trajectory=4, seed=5)  # type: ignore[arg-type]
    fitting, part = fitted(architecture, options)
    data = pictures(architecture)
    assert fitting.checkpoints == (4, 8, 9)
    for network in range(3):
        for place, step in enumerate(fitting.checkpoints):
            ours = part.weights.to_state_dict(3 * network + place)
            theirs = one_by_one(architecture, data, options, network, step)
            assert distance(ours, theirs) < 1e-10
        other = one_by_one(architecture, data, options, (network + 1) % 3, step)
        assert distance(ours, other) > 1e-2, "another network's start and order give another network"


def test_float32_and_bytes_stay_near() -> None:
    data, options = pictures(bytes_=True), ClassifierOptions(2, batch_size=8, steps=6)
    fine, coarse = (fitted(MLP, options, dtype=dtype, data=data)[1] for dtype in (torch.float64, torch.float32))
    assert coarse.weights.dtype == torch.float32
    assert 0 < float((fine.weights.flatten() - coarse.weights.flatten()).abs().max()) < 1e-4


@pytest.mark.parametrize("architecture", [MLP, TANH, CNN, STRIDED], ids=lambda each: f"{each.name} {each.activation}")
@pytest.mark.parametrize("pairs", ["none", "random"])
def test_a_network_depends_on_nothing_beside_it(architecture: ClassifierArchitecture, pairs: str) -> None:
    options = ClassifierOptions(7, pairs, batch_size=13, steps=5, trajectory=3, weight_decay=1e-3)  # type: ignore[arg-type]
    fitting, whole = fitted(architecture, options, dtype=torch.float32, group=7)
    for low, high, group in ((0, 3, 1), (0, 7, 3), (3, 4, None), (2, 7, 4)):
        _, part = fitted(architecture, options, low, high, torch.float32, group)
        rows = slice(fitting.rows * low, fitting.rows * high)
        for name, weights in whole.weights.items():  # products of other sizes may round otherwise, by the processor
            torch.testing.assert_close(part.weights[name], weights[rows], rtol=1e-5, atol=1e-6)
        for name, column in whole.columns.items():
            np.testing.assert_allclose(part.columns[name], column[rows], rtol=1e-4, atol=1e-6)
    more = ClassifierOptions(12, pairs, batch_size=13, steps=5, trajectory=3, weight_decay=1e-3)  # type: ignore[arg-type]
    _, part = fitted(architecture, more, 0, 7, torch.float32)
    assert torch.equal(part.weights.flatten(), whole.weights.flatten())
    _, part = fitted(
        architecture, ClassifierOptions(7, batch_size=13, steps=5, trajectory=3, seed=1), 0, 7, torch.float32
    )
    assert not torch.equal(part.weights.flatten(), whole.weights.flatten())


@pytest.mark.parametrize("architecture", [MLP, CNN], ids=lambda each: each.name)
@pytest.mark.parametrize("pairs", ["none", "all"])
def test_what_is_measured_is_what_the_graph_does(architecture: ClassifierArchitecture, pairs: str) -> None:
    options = ClassifierOptions(8, pairs, batch_size=10, lr=0.02, steps=12, trajectory=5)  # type: ignore[arg-type]
    fitting, part = fitted(architecture, options)
    data, table = pictures(architecture), fitting.table()
    for number in range(len(table["sample"])):
        mine = torch.ones(len(data.labels), dtype=torch.bool)
        if pairs == "all":
            mine = (data.labels == table["class_a"][number]) | (data.labels == table["class_b"][number])
        network = part.weights.select([number])
        found = {}
        for test in (False, True):
            chosen = mine & (data.test == test)
            outputs = forward(fitting.graph, network, shown(architecture, data.pixels[chosen]))[0]
            right = float((outputs.argmax(1) == data.labels[chosen]).double().mean())
            found[test] = (right, float(cross_entropy(outputs, data.labels[chosen])))
        assert part.columns["accuracy"][number] == pytest.approx(found[True][0], abs=1e-12)
        assert part.columns["loss"][number] == pytest.approx(found[True][1], abs=1e-10)
        assert part.columns["loss"][number] != pytest.approx(found[False][1], abs=1e-6), "the pictures are held out"
    assert np.array_equal(part.columns["error"], 1 - part.columns["accuracy"])
    assert len(set(part.columns["accuracy"].tolist())) > 1


def test_networks_start_within_pytorchs_bounds() -> None:
    layers = initial(MLP, 3, range(200))
    assert [tuple(layer.shape[1:]) for layer in layers] == [(50, 7), (1, 7), (7, 6), (1, 6), (6, 4), (1, 4)]
    for layer, inputs in zip(layers, (50, 50, 7, 7, 6, 6), strict=True):
        bound = inputs**-0.5
        assert 0.97 * bound < float(layer.abs().max()) <= bound
        assert float(layer.std()) == pytest.approx(bound / 3**0.5, rel=0.1)


def test_an_epoch_shows_every_picture_once() -> None:
    members, order = np.array([3, 5, 8, 13, 21]), Order(np.array([3, 5, 8, 13, 21]), 0, 4)
    seen = np.concatenate([order.take(begin, 4) for begin in range(0, 40, 4)])
    epochs = seen.reshape(8, 5)
    assert all(sorted(epoch) == members.tolist() for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 5
    assert np.array_equal(Order(members, 0, 4).take(17, 9), seen[17:26]), "from any place on"
    assert not np.array_equal(Order(members, 0, 5).take(0, 40), seen)


def test_pairs() -> None:
    assert pairs_of("none", 0, 5, 10) is None
    drawn = pairs_of("random", 0, 400, 10)
    assert drawn is not None
    assert (drawn[:, 0] < drawn[:, 1]).all()
    assert len({tuple(pair) for pair in drawn.tolist()}) == 45
    assert np.array_equal(pairs_of("random", 0, 7, 10), drawn[:7])
    assert not np.array_equal(pairs_of("random", 1, 7, 10), drawn[:7])
    every = pairs_of("all", 0, 90, 10)
    assert every is not None
    assert np.array_equal(every[:45], every[45:])
    assert all(first < second for first, second in pairwise(map(tuple, every[:45].tolist())))


def test_lengths_of_trainings() -> None:
    assert ClassifierOptions(epochs=5.0, batch_size=1024).updates(60000) == 293
    assert ClassifierOptions(epochs=2.0, batch_size=128).updates(10000) == 157
    assert ClassifierOptions(epochs=0.001, batch_size=128).checkpoints(10000) == (1,)
    assert ClassifierOptions(steps=6, trajectory=2).checkpoints(1) == (2, 4, 6)
    fitting, _ = fitted(MLP, ClassifierOptions(1, "random", batch_size=10, epochs=2.0), 0, 1)
    assert fitting.checkpoints == (6,), "60 pictures for training, 30 of an average pair"


def test_the_graph_is_that_of_the_networks() -> None:
    assert (MLP.name, CNN.name, STRIDED.name) == ("50-7-6-4", "conv2x2-5-3-6-4", "conv3x3-5-4")
    assert MLP.graph().log10_order() > 0
    assert [space.size for space in CNN.graph().spaces if space.moves] == [5, 3, 6]


def test_a_stop_is_heard_before_the_next_step() -> None:
    material = Material(MLP, pictures(), None, CPU, torch.float64)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Interrupted):
        train_group(MLP, material, [0, 1], ClassifierOptions(steps=9), [9], stop)
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"number": 0, "steps": 1}, "classifiers: number must be a whole number of at least 1, got 0"),
        ({"steps": True}, "classifiers: steps must be a whole number of at least 1, got True"),
        ({"steps": 1, "lr": 0.0}, "classifiers: lr must be a number above 0, got 0.0"),
        ({"steps": 1, "weight_decay": -1.0}, "classifiers: weight_decay must be a number of at least 0, got -1.0"),
        ({"epochs": float("nan")}, "classifiers: epochs must be a number above 0, got nan"),
        ({}, "classifiers: give one of steps and epochs"),
        ({"steps": 3, "epochs": 1.0}, "classifiers: give one of steps and epochs"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], text: str) -> None:
    with pytest.raises(ZooError) as caught:
        ClassifierOptions(**options)  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_networks_that_cannot_be() -> None:
    with pytest.raises(ZooError) as caught:
        ClassifierArchitecture((1, 8, 8), 10, ())
    assert str(caught.value) == (
        "a classifier needs hidden layers or convolutions: without, it has no neurons to permute"
    )
    with pytest.raises(ZooError) as caught:
        ClassifierArchitecture((1, 8, 8), 10, (), "relu", Convolutions((8, 8, 8)))
    assert str(caught.value) == "3 convolutions of kernel 3 and stride 2 leave no place of pictures of 8x8 pixels"
    with pytest.raises(ZooError) as caught:
        pairs_of("randon", 0, 1, 10)  # type: ignore[arg-type]
    assert str(caught.value) == "pairs must be none, random or all, got 'randon'; did you mean 'random'?"


def test_a_class_without_pictures() -> None:
    data = pictures()
    few = Pictures(data.pixels, data.labels, data.test & (data.labels != 2), 4)
    with pytest.raises(ZooError) as caught:
        fitted(MLP, ClassifierOptions(6, "all", steps=1), data=few)
    assert str(caught.value) == "class 2 of a pair has no pictures for tests; take more of them"
    fitted(MLP, ClassifierOptions(6, "none", steps=1), data=few)


def test_a_training_that_diverges_is_named() -> None:
    with pytest.raises(ZooError) as caught:
        fitted(MLP, ClassifierOptions(3, steps=6, batch_size=8, lr=1e300))
    assert str(caught.value) == "classifier 0: the loss is nan after 6 steps; lower the learning rate (now 1e+300)"
