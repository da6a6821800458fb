"""Reduction by values: constants, silences and copies that norms, gates and padding make."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from graphws import convert
from graphws.actions.reduction import reduce
from graphws.actions.reduction.alike import alike
from graphws.actions.reduction.contributions import Stays, absorbed
from graphws.actions.reduction.quiet import without
from graphws.actions.reduction.reading import reading
from graphws.actions.reduction.slices import places
from graphws.actions.reduction.worlds import Worlds
from graphws.operations import forward, run_values
from graphws.operations.labels import labels

PICTURES = torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def settled(module):
    """In eval mode and double precision, every norm with statistics and factors of its own."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
    return module.double().eval()


def classifier(activation, *middle, last, width=5):
    """A convolution without bias, its norm, an activation, something, and a linear layer."""
    torch.manual_seed(0)
    first = nn.Conv2d(2, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), activation()
    return settled(nn.Sequential(*first, *middle, nn.Flatten(), nn.Linear(last, 3)))


def state_of(module):
    converted = convert(module, PICTURES[:2])
    weights = converted.weights
    return converted, {name: x[0].double() for name, x in weights.items()}


def pictures_like(worlds):
    """Pictures, as many as the worlds have."""
    return torch.randn(worlds.known[0]["x0"].shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def removed(module, inputs=PICTURES):
    """What a reduction takes out, after the outputs were compared with the module's on other inputs."""
    converted = convert(module, inputs[:2] if isinstance(inputs, torch.Tensor) else inputs)
    found = reduce(converted.weights, run=converted.run)
    with torch.no_grad():
        before = module(inputs) if isinstance(inputs, torch.Tensor) else module(*inputs)
    after = forward(found.graph, found.weights, inputs)
    torch.testing.assert_close(after[0], before, rtol=0, atol=1e-12)
    assert reduce(found.weights).removed == 0
    return found


def sizes(found):
    return {name: (m.size, m.reduced, [r.reason for r in m.removals]) for name, m in found.maps.items()
            if m.size > m.reduced}  # fmt: skip


POOLED = (nn.AdaptiveAvgPool2d(1),), 5
COUNTED = (nn.AvgPool2d(3, 2, 1),), 45
NOT_COUNTED = (nn.AvgPool2d(3, 2, 1, count_include_pad=False),), 45
UNPADDED = (nn.Conv2d(5, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), 4
AROUND = (nn.Conv2d(5, 4, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), 4
AVERAGED = (nn.Conv2d(5, 3, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1)), 3
PADDED = (nn.Conv2d(5, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), 4
BORDERED = (nn.AvgPool2d(3, 2, 1), nn.Conv2d(5, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), 4


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
@pytest.mark.parametrize(
    ("rest", "goes"),
    [(POOLED, True), (COUNTED, True), (NOT_COUNTED, True), (UNPADDED, True), (AROUND, True), (AVERAGED, True),
     (PADDED, False), (BORDERED, False)],
    ids=["pooled", "counted", "not counted", "unpadded", "around", "averaged", "padded", "bordered"],
)  # fmt: skip
def test_a_constant_goes_where_something_takes_it_over(activation, rest, goes):
    """γ = 0 and β > 0: the constant is the same everywhere but at the border of a padded map."""
    middle, last = rest
    module = classifier(activation, *middle, last=last)
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0.0, 0.4
    found = removed(module)
    if goes:
        assert sizes(found) == {"0": (5, 4, ["constant"])}
    else:
        assert sizes(found) == {}
        assert found.left_alone["0"] == (
            "1 redundant elements had to stay: they add other amounts to 'x5' at the border of a padded map than "
            "inside, which no bias takes over"
        )


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
@pytest.mark.parametrize("kind", ["slimmed", "below zero", "zero filter"])
def test_silent_channels_before_padding(activation, kind):
    """What is 0 everywhere is 0 at the border, too; GELU makes something else of what is below zero."""
    module = classifier(activation, *PADDED[0], last=4)
    with torch.no_grad():
        if kind == "zero filter":
            module[0].weight[3], module[1].bias[3] = 0.0, module[1].running_mean[3] * 0
            module[1].running_mean[3] = 0.0
        else:
            module[1].weight[3], module[1].bias[3] = 0.0, 0.0 if kind == "slimmed" else -0.3
    found = removed(module)
    stays = kind == "below zero" and activation is nn.GELU
    assert sizes(found) == ({} if stays else {"0": (5, 4, ["silent"])})


def test_the_state_dict_loads_into_the_class():
    module = classifier(nn.ReLU, *UNPADDED[0], last=4)
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0.0, 0.4
        module[4].weight[1], module[4].bias[1] = 0.0, 0.2
    found = removed(module)
    assert [s.size for s in found.graph.spaces if s.moves] == [4, 3]
    assert found.refused == ""
    middle = nn.Conv2d(4, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    smaller = classifier(nn.ReLU, *middle, last=3, width=4)
    smaller.load_state_dict(found.weights.to_state_dict())
    torch.testing.assert_close(smaller(PICTURES), module(PICTURES), rtol=0, atol=1e-12)


def test_nearly_silent_channels_stay():
    """A factor of 1e-6, and a constant that a gate makes depend on the input."""
    module = classifier(nn.ReLU, *POOLED[0], last=5)
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 1e-6, 0.4
    assert sizes(removed(module)) == {}


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.3])
def test_norms_of_an_mlp(shift):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5)]
    module = settled(nn.Sequential(*layers, nn.ReLU(), nn.Linear(5, 3)))
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0.0, shift
    reason = "constant" if shift else "silent"
    assert sizes(removed(module, torch.randn(9, 4, dtype=torch.float64))) == {"0": (6, 5, [reason])}


class Stream(nn.Module):
    """A residual stream of four channels, one block of which passes it by."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.outer = (nn.Conv2d(i, 4, 3, padding=1, bias=False) for i in (2, 4, 4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = functional.relu(self.norms[0](self.first(x)))
        y = functional.relu(self.norms[1](self.inner(x)))
        return self.last(functional.relu(x + self.norms[2](self.outer(y))).mean((2, 3)))


def test_channels_of_a_residual_stream():
    """Silenced by every norm it goes; by one of two it stays; an inner channel goes by itself."""
    torch.manual_seed(0)
    module = settled(Stream())
    with torch.no_grad():
        module.norms[0].weight[1] = module.norms[0].bias[1] = 0.0
        module.norms[1].weight[2], module.norms[1].bias[2] = 0.0, -0.2
    assert sizes(removed(module)) == {"inner": (4, 3, ["silent"])}
    with torch.no_grad():
        module.norms[2].weight[1], module.norms[2].bias[1] = 0.0, 0.4
    assert sizes(removed(module)) == {"first": (4, 3, ["constant"]), "inner": (4, 3, ["silent"])}


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(4, 7), nn.Linear(4, 7), nn.Linear(7, 3)

    def forward(self, x):
        return self.down(functional.silu(self.gate(x)) * self.up(x))


def test_gated_neurons():
    """Zero on one side of the product, or constant on both; constant on one side only is no constant."""
    torch.manual_seed(0)
    module = Gated().double()
    with torch.no_grad():
        module.up.weight[1] = module.up.bias[1] = 0.0
        module.gate.weight[2] = module.gate.bias[2] = 0.0
        module.up.weight[3] = module.gate.weight[3] = 0.0
        module.up.weight[4] = 0.0
    found = removed(module, torch.randn(9, 4, dtype=torch.float64))
    assert sizes(found) == {"gate": (7, 4, ["silent", "silent", "constant"])}


def test_constants_are_constant_on_every_input():
    """What the worlds call constant has that value in the network itself; what varies there is not called constant."""
    module = classifier(nn.ReLU, *PADDED[0], last=4)
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0.0, 0.4
        module[1].bias[0] = -1e3  # a ReLU that no ordinary input wakes is no constant
    converted, tensors = state_of(module)
    worlds = Worlds(converted.graph, tensors)
    assert not bool(worlds.varies["x3"][:, 2].any())
    assert bool(worlds.varies["x3"][:, [0, 1, 3, 4]].all())
    values = run_values(converted.graph, converted.weights, pictures_like(worlds))
    assert float(values["x3"][0, :, 0].abs().max()) == 0
    for name, value in values.items():
        still = ~worlds.varies.get(name, torch.zeros(value.shape[1:], dtype=torch.bool))
        torch.testing.assert_close(worlds.known[0][name][still], value[0][still])


def test_the_border_of_a_constant_is_another_constant():
    """Behind padding the constant alone makes a map of its own, found as such."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3, padding=1)).double()
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].bias.fill_(0.5)
    converted, tensors = state_of(module)
    worlds = Worlds(converted.graph, tensors)
    assert set(worlds.varies) == {"x0"}
    with torch.no_grad():
        torch.testing.assert_close(worlds.known[3]["x3"], module(pictures_like(worlds)))


class Shared(nn.Module):
    """One bias at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(3, 4), nn.Linear(4, 5, bias=False), nn.Linear(3, 5, bias=False)
        self.bias = nn.Parameter(torch.randn(5))
        self.last = nn.Linear(5, 2)

    def forward(self, x):
        first = functional.gelu(functional.linear(torch.sigmoid(self.one(x)), self.two.weight, self.bias))
        return self.last(first * functional.gelu(functional.linear(x, self.three.weight, self.bias)))


def test_what_others_read_takes_nothing_over():
    torch.manual_seed(0)
    module = Shared().double()
    with torch.no_grad():
        module.one.weight[2] = 0.0
    x = torch.randn(9, 3, dtype=torch.float64)
    found = removed(module, x)
    assert sizes(found) == {}
    assert "and no bias takes it over" in found.left_alone["one"]


def test_a_live_element_is_told_from_one_without_a_place():
    module = classifier(nn.ReLU, *PADDED[0], last=4)
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0.0, 0.4
    converted, tensors = state_of(module)
    worlds, where = Worlds(converted.graph, tensors), places(converted.graph, "0")
    for element, active in ((1, True), (2, False)):
        with pytest.raises(Stays) as error:
            absorbed(worlds, without(tensors, where, 5, [element]))
        assert error.value.active is active


def copied(activation, change=0.0, squash=1.0):
    """Channel 4 is channel 1, twice as large in its filter, and no larger behind its norm; but for `change`."""
    module = classifier(activation, *POOLED[0], last=5)
    with torch.no_grad():
        norm = module[1]
        module[0].weight[4] = 2.0 * module[0].weight[1]
        norm.running_mean[4] = 2.0 * norm.running_mean[1] + change
        norm.running_var[4], norm.weight[4] = norm.running_var[1], squash * norm.weight[1] / 2.0
        norm.bias[4] = squash * norm.bias[1]
    return module


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh])
def test_copies_whose_scale_the_norm_takes(activation):
    """Another factor behind the norm makes a copy of a ReLU only; another mean makes none."""
    found = removed(copied(activation))
    assert sizes(found) == {"0": (5, 4, ["duplicate"])}
    assert [r.of for r in found.maps["0"].removals] == [1]
    before = forward(found.source, found.equivalent(), PICTURES)
    torch.testing.assert_close(before, forward(found.graph, found.weights, PICTURES))
    assert sizes(removed(copied(activation, change=1e-6))) == {}
    assert bool(sizes(removed(copied(activation, squash=0.5)))) is (activation is nn.ReLU)


def test_elements_that_sleep_are_no_copies():
    """Two ReLUs that no number of the worlds wakes are not compared."""
    module = classifier(nn.ReLU, *POOLED[0], last=5)
    with torch.no_grad():
        module[1].bias[[0, 3]] = -1e12
    converted, tensors = state_of(module)
    worlds = Worlds(converted.graph, tensors)
    assert alike(worlds, labels(converted.graph), "0", 1e-9) == {}


def test_axes_of_power_0_that_read():
    """Behind GELU and a norm, signs come back: columns have power 0, as rows have; and rows before a ReLU's norm."""
    smooth, homogeneous = (state_of(classifier(a, *POOLED[0], last=5))[0].graph for a in (nn.GELU, nn.ReLU))
    assert smooth.parameter("5.weight").axes[1].power == homogeneous.parameter("0.weight").axes[0].power == 0
    assert reading(smooth) == {("5.weight", 1)}
    assert reading(homogeneous) == frozenset()
