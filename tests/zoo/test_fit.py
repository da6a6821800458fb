"""Fits: hand-written passes against autograd, the optimiser against PyTorch, stopping, independence of grouping."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from graphws.errors import GraphError, ZooError
from graphws.graph import Weights
from graphws.operations import forward, mlp_graph
from graphws.zoo import Architecture, FitOptions, batched_mlp, fit_networks, load_digits
from graphws.zoo.adam import Adam, rate
from graphws.zoo.architecture import initial
from graphws.zoo.batched_mlp import BatchedMLP, FlatParameters
from graphws.zoo.fit import Interrupted, cached_group
from graphws.zoo.reconstruction import reconstruct
from graphws.zoo.sources import picture_grid

Omega = float | tuple[float, float]
DIGITS = load_digits(limit=12)
NUMBERS, VIEWS = np.arange(12), np.zeros(12, dtype=np.int64)


def as_weights(architecture: Architecture, layers: list[Tensor]) -> Weights:
    tensors = {}
    for m, layer in enumerate(layers, start=1):
        tensors[f"W{m}"], tensors[f"b{m}"] = layer[:, :-1].mT.clone(), layer[:, -1].clone()
    return Weights(architecture.graph(), tensors)


def one_by_one(architecture: Architecture, target: Tensor, start: Weights, options: FitOptions) -> Weights:
    """The slow reference: one network, autograd through the graph's forward, PyTorch's Adam."""
    tensors = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    optimiser = torch.optim.Adam(tensors.values(), lr=options.lr, weight_decay=options.weight_decay)
    points = DIGITS.coordinates.to(target)
    for step in range(1, options.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate(options.lr, options.schedule, step, options.steps)
        optimiser.zero_grad()
        output = forward(architecture.graph(), Weights(architecture.graph(), tensors), points)
        (output - target).square().mean().backward()
        optimiser.step()
    return Weights(architecture.graph(), {name: tensor.detach() for name, tensor in tensors.items()})


@pytest.mark.parametrize("activation", ["sine", "tanh", "relu", "sigmoid", "gelu", "leaky_relu"])
@pytest.mark.parametrize("widths", [(2, 8, 7, 1), (2, 5, 3), (2, 6, 5, 4, 3)])
@pytest.mark.parametrize("omega", [3.0, (4.0, 1.5)])
def test_gradients_are_those_of_autograd(activation: str, widths: tuple[int, ...], omega: Omega) -> None:
    architecture = Architecture(widths, activation, omega)
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(9, 2, generator=rng, dtype=torch.float64)
    cotangent = torch.randn(4, widths[-1], 9, generator=rng, dtype=torch.float64)
    mlps = BatchedMLP(architecture, points, 4)
    parameters = FlatParameters(mlps.shapes, 4, points)
    gradients = FlatParameters(mlps.shapes, 4, points)
    layers = initial(architecture, 0, np.arange(4), np.zeros(4, dtype=np.int64))
    for k, (place, layer) in enumerate(zip(parameters.layers, layers, strict=True)):
        layer[:, -1] = torch.randn(layer[:, -1].shape, generator=rng, dtype=torch.float64)
        layer.requires_grad_()
        place.copy_(layer.detach() * mlps.scales[k])
    weights = {}
    for m, layer in enumerate(layers, start=1):
        weights[f"W{m}"], weights[f"b{m}"] = layer[:, :-1].mT, layer[:, -1]
    graph = architecture.graph()
    wanted = forward(graph, Weights(graph, weights), points).mT
    with torch.no_grad():
        got = mlps.forward(parameters.layers).clone()
        mlps.backward(parameters.layers, cotangent, gradients.layers)
    assert torch.allclose(got, wanted, atol=1e-12)
    for k, (mine, theirs) in enumerate(
        zip(gradients.layers, torch.autograd.grad((wanted * cotangent).sum(), layers), strict=True)
    ):
        assert torch.allclose(mine * mlps.scales[k], theirs, atol=1e-12)


@pytest.mark.parametrize("widths", [(2, 16, 16, 1), (2, 9, 8, 7, 1)])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_two_frequencies_are_those_of_fitting_one_by_one(widths: tuple[int, ...], decay: float) -> None:
    architecture = Architecture(widths, omega=(8.0, 3.0))
    options = FitOptions(steps=40, lr=5e-3, psnr=None, weight_decay=decay)
    targets = DIGITS.targets(NUMBERS, torch.float64)
    fitted = fit_networks(architecture, DIGITS.coordinates, targets, NUMBERS, VIEWS, options)
    start = as_weights(architecture, initial(architecture, 0, NUMBERS, VIEWS))
    for k in (0, 11):
        alone = one_by_one(architecture, targets[k : k + 1], start.select([k]), options)
        assert (fitted.weights.select([k]).flatten() - alone.flatten()).abs().max() < 1e-9
        for wrong in ((3.0, 8.0), 8.0, 3.0):  # the comparison can fail
            other = one_by_one(replace(architecture, omega=wrong), targets[k : k + 1], start.select([k]), options)
            assert (fitted.weights.select([k]).flatten() - other.flatten()).abs().max() > 1e-3


def test_two_frequencies_are_in_the_graph_and_the_start() -> None:
    architecture = Architecture((2, 64, 64, 64, 1), omega=(30.0, 5.0))
    sines = [step.attribute("omega", 0.0) for step in architecture.graph().operations if step.kind == "sine"]
    assert sines == [30.0, 5.0, 5.0]
    inner = math.sqrt(6 / 64) / 5
    for found, bound in zip(largest(architecture), (1 / 2, inner, inner, inner), strict=True):
        assert 0.95 * bound < found <= bound
    own = largest(replace(architecture, first="hidden"))
    assert 0.95 * math.sqrt(6 / 2) / 30 < own[0] <= math.sqrt(6 / 2) / 30, "by the first layer's own frequency"
    assert architecture.settings()["omega"] == [30.0, 5.0]
    assert Architecture((2, 8, 1), omega=(30.0, 30.0)) == Architecture((2, 8, 1), omega=30.0)


@pytest.mark.parametrize("schedule", ["none", "cosine"])
@pytest.mark.parametrize("activation", ["sine", "tanh"])
def test_trajectories_are_those_of_fitting_one_by_one(activation: str, schedule: str) -> None:
    architecture = Architecture((2, 16, 16, 1), activation, omega=5.0)
    options = FitOptions(steps=40, lr=5e-3, schedule=schedule, psnr=None)  # type: ignore[arg-type]
    targets = DIGITS.targets(NUMBERS, torch.float64)
    fitted = fit_networks(architecture, DIGITS.coordinates, targets, NUMBERS, VIEWS, options)
    start = as_weights(architecture, initial(architecture, 0, NUMBERS, VIEWS))
    for k in (0, 5, 11):
        alone = one_by_one(architecture, targets[k : k + 1], start.select([k]), options)
        assert (fitted.weights.select([k]).flatten() - alone.flatten()).abs().max() < 1e-9
    assert (fitted.weights.flatten() - start.flatten()).abs().max() > 0.01


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["sine", "relu"])
def test_offset_and_decay_are_those_of_fitting_one_by_one(activation: str, decay: float) -> None:
    architecture = Architecture((2, 16, 16, 1), activation, omega=5.0, offset=0.5)
    options = FitOptions(steps=40, lr=5e-3, psnr=None, weight_decay=decay)
    targets = DIGITS.targets(NUMBERS, torch.float64)
    fitted = fit_networks(architecture, DIGITS.coordinates, targets, NUMBERS, VIEWS, options)
    start = as_weights(architecture, initial(architecture, 0, NUMBERS, VIEWS))
    for k in (0, 11):
        alone = one_by_one(architecture, targets[k : k + 1], start.select([k]), options)
        assert (fitted.weights.select([k]).flatten() - alone.flatten()).abs().max() < 1e-9
        for other in (replace(options, weight_decay=0.2), replace(options, weight_decay=0.0)):
            if other != options:  # the comparison can fail
                alone = one_by_one(architecture, targets[k : k + 1], start.select([k]), other)
                assert (fitted.weights.select([k]).flatten() - alone.flatten()).abs().max() > 1e-3


def test_an_offset_is_part_of_the_function() -> None:
    architecture = Architecture((2, 16, 16, 1), omega=5.0, offset=0.5)
    options = FitOptions(steps=30, lr=0.02, psnr=18.0, check_every=7)
    targets = DIGITS.targets(NUMBERS, torch.float64)
    fitted = fit_networks(architecture, DIGITS.coordinates, targets, NUMBERS, VIEWS, options)
    graph, bare = fitted.weights.graph, Architecture((2, 16, 16, 1), omega=5.0).graph()
    assert str(graph.operations[-1]) == "y = add(z3, other=0.5)"
    pictures = reconstruct(fitted.weights, (8, 8)).flatten(1, 2)
    assert torch.equal(pictures, forward(graph, fitted.weights, DIGITS.coordinates))
    assert np.allclose((pictures - targets).square().mean(dim=(1, 2)).numpy(), fitted.loss, rtol=1e-10)
    without = forward(bare, Weights(bare, fitted.weights.tensors), DIGITS.coordinates)
    assert torch.allclose(without + 0.5, pictures, atol=1e-12)
    assert ((without - targets).square().mean(dim=(1, 2)).numpy() > 2 * fitted.loss).all()


def test_graphs_without_an_offset_are_as_they_were() -> None:
    architecture = Architecture((2, 8, 1))
    assert architecture.graph() == mlp_graph((2, 8, 1), "sine", omega=30.0)
    assert [operation.kind for operation in architecture.graph().operations] == ["linear", "sine", "linear"]
    assert list(architecture.settings()) == ["widths", "activation", "omega", "start"]
    assert "weight_decay" not in FitOptions().settings()
    other = Architecture((2, 8, 1), first="hidden", offset=-0.25)
    assert (other.settings()["first"], other.settings()["offset"]) == ("hidden", -0.25)
    assert FitOptions(weight_decay=1e-4).settings()["weight_decay"] == 1e-4


def test_a_wrong_gradient_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above must fail for passes that forget the derivative of the activation."""
    monkeypatch.setitem(batched_mlp._DERIVATIVES, "tanh", lambda z, h: z.fill_(1))
    with pytest.raises(AssertionError):
        test_trajectories_are_those_of_fitting_one_by_one("tanh", "none")


def test_epsilon_is_scaled_with_omega() -> None:
    """With gradients as small as Adam's epsilon the two parametrisations still move alike."""
    parameters = FlatParameters([(2, 1), (1, 1)], 2, torch.zeros(1, dtype=torch.float64))
    optimiser = Adam(parameters, scales=(4.0, 1.0))
    for place in optimiser.gradients.layers:
        place.fill_(1e-8)
    optimiser.step(1, 0.1)
    hidden = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    hidden.grad = torch.full_like(hidden, 4e-8)
    torch.optim.Adam([hidden], lr=0.1).step()
    assert torch.allclose(parameters.layers[0] / 4, hidden.detach().expand(2, 2, 1), rtol=1e-12)


@pytest.mark.parametrize("points", [64, 61])
@pytest.mark.parametrize("psnr", [None, 14.0])
def test_a_network_has_the_same_bits_in_any_group(psnr: float | None, points: int) -> None:
    architecture = Architecture((2, 32, 32, 1), omega=5.0)
    coordinates, targets = DIGITS.coordinates[:points].float(), DIGITS.targets(NUMBERS)[:, :points]
    results = []
    for group in (12, 5, 1):
        options = FitOptions(steps=13, lr=0.02, psnr=psnr, check_every=3, group=group)
        results.append(fit_networks(architecture, coordinates, targets, NUMBERS, VIEWS, options))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).numpy()
    options = FitOptions(steps=13, lr=0.02, psnr=psnr, check_every=3, group=7)
    shuffled = fit_networks(architecture, coordinates, targets[order], NUMBERS[order], VIEWS, options)
    for other in results[1:]:
        assert torch.equal(other.weights.flatten(), results[0].weights.flatten())
        assert np.array_equal(other.loss, results[0].loss)
    assert torch.equal(shuffled.weights.flatten(), results[0].weights.flatten()[torch.from_numpy(order)])
    assert psnr is None or len(set(results[0].steps.tolist())) > 1


def test_stopped_networks_are_frozen_as_they_were() -> None:
    architecture = Architecture((2, 16, 16, 1), omega=5.0)
    coordinates, targets = DIGITS.coordinates.float(), DIGITS.targets(NUMBERS)
    options = FitOptions(steps=60, lr=0.02, psnr=17.0, check_every=2)
    fitted = fit_networks(architecture, coordinates, targets, NUMBERS, VIEWS, options)
    early = int(fitted.steps.argmin())
    assert fitted.steps[early] < fitted.steps.max()
    same = FitOptions(steps=int(fitted.steps[early]), lr=0.02, psnr=None, check_every=1000)
    until = fit_networks(architecture, coordinates, targets, NUMBERS, VIEWS, same)
    assert torch.equal(fitted.weights.flatten()[early], until.weights.flatten()[early])


def test_recorded_quality_is_that_of_the_stored_weights() -> None:
    architecture = Architecture((2, 16, 16, 1), omega=5.0)
    options = FitOptions(steps=30, lr=0.02, psnr=18.0, check_every=7)
    targets = DIGITS.targets(NUMBERS, torch.float64)
    fitted = fit_networks(architecture, DIGITS.coordinates, targets, NUMBERS, VIEWS, options)
    output = forward(architecture.graph(), fitted.weights, DIGITS.coordinates)
    loss = (output - targets).square().mean(dim=(1, 2)).numpy()
    assert np.allclose(loss, fitted.loss, rtol=1e-10)
    assert np.allclose(fitted.psnr, -10 * np.log10(loss), rtol=1e-10)
    stopped = fitted.steps < 30
    assert stopped.any()
    assert (fitted.psnr[stopped] >= 18).all()


def test_starts_depend_on_seed_sample_and_view_alone() -> None:
    architecture = Architecture((2, 8, 8, 1), omega=5.0)

    def start(seed: int, sample: int, view: int) -> Tensor:
        layers = initial(architecture, seed, np.array([sample]), np.array([view]))
        return torch.cat([layer.flatten() for layer in layers])

    base = start(0, 3, 1)
    assert torch.equal(base, start(0, 3, 1))
    for other in (start(1, 3, 1), start(0, 4, 1), start(0, 3, 2)):
        assert not torch.equal(base, other)
    many = initial(architecture, 0, np.array([7, 3]), np.array([0, 1]))
    assert torch.equal(torch.cat([layer[1].flatten() for layer in many]), base)


def test_the_start_is_sirens() -> None:
    architecture = Architecture((2, 64, 64, 1), omega=30.0)
    first, second, third = initial(architecture, 0, np.arange(50), np.zeros(50, dtype=np.int64))
    for layer, bound in ((first, 1 / 2), (second, math.sqrt(6 / 64) / 30), (third, math.sqrt(6 / 64) / 30)):
        assert 0.95 * bound < layer[:, :-1].abs().max() <= bound
        assert not layer[:, -1].any()
    halved = initial(
        Architecture((2, 64, 64, 1), omega=30.0, start=0.5), 0, np.arange(50), np.zeros(50, dtype=np.int64)
    )
    assert torch.allclose(halved[1], second / 2)
    tanh = initial(Architecture((2, 64, 64, 1), "tanh"), 0, np.arange(50), np.zeros(50, dtype=np.int64))
    assert 0.95 / 8 < tanh[1].abs().max() <= 1 / 8


def largest(architecture: Architecture) -> list[float]:
    layers = initial(architecture, 0, np.arange(50), np.zeros(50, dtype=np.int64))
    return [float(layer[:, :-1].abs().max()) for layer in layers]


def test_the_first_layer_may_start_like_the_hidden_ones() -> None:
    hidden = largest(Architecture((2, 64, 64, 1), omega=30.0, first="hidden"))
    siren = largest(Architecture((2, 64, 64, 1), omega=30.0))
    bound = math.sqrt(6 / 2) / 30
    assert 0.95 * bound < hidden[0] <= bound
    assert siren[0] > 8 * bound, "SIREN's own rule is another"
    assert hidden[1:] == siren[1:]
    scaled = largest(Architecture((2, 64, 64, 1), omega=30.0, first="hidden", start=0.5))
    assert scaled == pytest.approx([each / 2 for each in hidden])


def test_a_cosine_ends_at_zero() -> None:
    assert rate(2.0, "none", 7, 10) == 2.0
    assert rate(2.0, "cosine", 5, 10) == pytest.approx(1.0)
    assert rate(2.0, "cosine", 10, 10) == pytest.approx(0.0)


def test_groups_fit_the_cache() -> None:
    small, large = Architecture((2, 32, 32, 1)), Architecture((2, 256, 256, 3))
    assert cached_group(small, 64) == 64
    assert cached_group(small, 784) == 16
    assert cached_group(large, 1024) == 8
    assert cached_group(small, 64, cuda=True) == 1024


def test_stop_is_asked() -> None:
    options = FitOptions(steps=5)
    with pytest.raises(Interrupted):
        fit_networks(
            Architecture((2, 4, 1)),
            DIGITS.coordinates,
            DIGITS.targets(NUMBERS, torch.float64),
            NUMBERS,
            VIEWS,
            options,
            stop=lambda: True,
        )


def test_divergence_names_the_network() -> None:
    targets = DIGITS.targets(NUMBERS, torch.float64)
    targets[4] = 1e200
    with pytest.raises(ZooError) as caught:
        fit_networks(
            Architecture((2, 4, 1), "relu"),
            DIGITS.coordinates,
            targets,
            NUMBERS + 100,
            VIEWS,
            FitOptions(steps=5, lr=0.5, check_every=1),
        )
    assert str(caught.value) == (
        "sample 104, view 0: the error is inf after 0 steps; lower the learning rate (now 0.5)"
    )


def test_wrong_requests() -> None:
    for options, message in (
        ({"steps": 0}, "fit: steps must be a whole number of at least 1, got 0"),
        ({"views": 1.5}, "fit: views must be a whole number of at least 1, got 1.5"),
        ({"lr": -1.0}, "fit: lr must be a positive number, got -1.0"),
        ({"schedule": "cosin"}, "fit: schedule must be none or cosine, got 'cosin'; did you mean 'cosine'?"),
        ({"psnr": math.inf}, "fit: psnr must be a number of decibels or null, got inf"),
        ({"weight_decay": -0.1}, "fit: weight_decay must be a number of at least 0, got -0.1"),
    ):
        with pytest.raises(ZooError) as caught:
            FitOptions(**options)  # type: ignore[arg-type]
        assert str(caught.value) == message
    with pytest.raises(ZooError) as caught:
        Architecture((2, 4, 1), omega=0)
    assert str(caught.value) == "omega must be a positive number, got 0"
    with pytest.raises(ZooError) as caught:
        Architecture((2, 4, 1), omega=(30.0, -1.0))
    assert str(caught.value) == "omega must be a positive number, got (30.0, -1.0)"
    with pytest.raises(ZooError) as caught:
        Architecture((2, 4, 1), omega=(1.0, 2.0, 3.0))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "omega must be a number or two, of the first and of the hidden layers, got (1.0, 2.0, 3.0)"
    )
    with pytest.raises(GraphError) as many:
        mlp_graph((2, 4, 4, 1), "sine", omega=[1.0, 2.0, 3.0])
    assert str(many.value) == "2 hidden layers need 2 frequencies, got 3"
    with pytest.raises(ZooError) as caught:
        Architecture((2, 4, 1), first="hiden")  # type: ignore[arg-type]
    assert str(caught.value) == "first must be siren or hidden, got 'hiden'; did you mean 'hidden'?"
    with pytest.raises(ZooError) as caught:
        Architecture((2, 4, 1), "relu", first="hidden")
    assert str(caught.value) == "first: hidden is for sine networks; all layers of relu start alike"
    with pytest.raises(GraphError) as infinite:
        Architecture((2, 4, 1), offset=math.inf)
    assert str(infinite.value) == "an MLP's offset must be a finite number, got inf"
    with pytest.raises(GraphError) as other:
        Architecture((2, 4, 1), "sin")
    assert str(other.value) == "unknown activation 'sin'; did you mean 'sine'?"
    with pytest.raises(ZooError) as caught:
        fit_networks(Architecture((3, 4, 1)), picture_grid(8, 8), DIGITS.targets(NUMBERS), NUMBERS, VIEWS, FitOptions())
    assert str(caught.value) == (
        "networks with 3 inputs and 1 outputs cannot be fitted to values (12, 64, 1) at coordinates (64, 2)"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_runs_the_same_code() -> None:
    architecture = Architecture((2, 16, 16, 1), omega=5.0)
    options = FitOptions(steps=30, lr=5e-3, psnr=None)
    results = []
    for device in ("cpu", "cuda"):
        targets = DIGITS.targets(NUMBERS, torch.float64).to(device)
        results.append(fit_networks(architecture, DIGITS.coordinates.to(device), targets, NUMBERS, VIEWS, options))
    assert torch.allclose(results[0].weights.flatten(), results[1].weights.flatten(), atol=1e-8)
