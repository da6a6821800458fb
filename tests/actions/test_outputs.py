"""Outputs on another grid than the inputs, and several of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws import convert, find_actions
from graphws.actions.analysis.result import Actions
from graphws.errors import UsageError

QUARTER, MIRROR = "rotations:4", "mirror"


def symmetrised(kernel: Tensor, group: str) -> Tensor:
    """A kernel that every element of a group leaves alone, each channel by itself."""
    moved = [kernel, kernel.flip(-1)] if group == MIRROR else [kernel.rot90(k, (-2, -1)) for k in range(4)]
    return torch.stack(moved).mean(0)


class Detector(nn.Module):
    """A strided backbone; a map of classes, a map of boxes, and scores of the whole picture."""

    def __init__(self, heads: str) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.classes, self.boxes, self.scores = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 4, 3, padding=1), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.second(self.first(x).relu()).relu()
        if self.heads == "map":
            return self.classes(x)  # type: ignore[no-any-return]
        return self.classes(x), self.boxes(x), self.scores(x.mean((2, 3)))


def network(heads: str, group: str, broken: str = "") -> nn.Module:
    torch.manual_seed(0)
    made = Detector(heads).double()
    with torch.no_grad():
        for name in ("first", "second", "classes", "boxes"):
            kernel = getattr(made, name).weight
            if name != broken:
                kernel.copy_(symmetrised(kernel, group))
    return made


def found(net: nn.Module, group: str, size: int, output: object, *, probes: bool) -> Actions:
    x = torch.randn(16, 1, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given = x if probes else None
    return find_actions(convert(net, x[:2]), group, (1, size, size), output, data=given, decoys=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", [MIRROR, QUARTER])
@pytest.mark.parametrize("probes", [False, True])
def test_a_map_on_a_coarser_grid_is_exact(group: str, probes: bool):
    seen = found(network("map", group), group, 9, "same", probes=probes)
    assert seen.verdict.outcome == "exact action"
    assert seen.on_random_inputs is not None
    assert seen.on_random_inputs < 1e-10
    assert seen.note == ""


def test_same_says_what_the_shape_says():
    by_shape = found(network("map", MIRROR), MIRROR, 9, {"shape": [3, 5, 5]}, probes=True)
    assert by_shape.verdict.outcome == "exact action"
    with pytest.raises(UsageError, match=r"the network writes 3 \(per pixel\) on a grid 5 x 5"):
        found(network("map", MIRROR), MIRROR, 9, {"shape": [3, 4, 4]}, probes=True)


def test_decoys_move_the_pixels_of_outputs_too():
    seen = found(network("map", MIRROR), MIRROR, 9, "same", probes=True)
    assert list(seen.decoy_end_to_end)
    assert min(seen.decoy_end_to_end.values()) > 0.1
    assert all("taps" not in name for layer in seen.layers for name in layer.rivals)


@pytest.mark.parametrize("broken", ["first", "second"])
def test_a_near_neighbour_is_not_exact(broken: str):
    seen = found(network("map", MIRROR, broken), MIRROR, 9, "same", probes=True)
    assert "exact" not in seen.verdict.outcome
    assert seen.on_random_inputs is not None
    assert seen.on_random_inputs > 1e-3


def test_a_stride_that_leaves_a_column_over_is_said():
    seen = found(network("map", MIRROR), MIRROR, 8, "same", probes=True)
    assert seen.verdict.outcome == "action in part"
    assert seen.verdict.layers == {"first": "exact", "second": "none"}
    assert seen.note.startswith("The group's move of positions does not get through ")
    assert "stride=2,2" in seen.note


@pytest.mark.parametrize("group", [MIRROR, QUARTER])
@pytest.mark.parametrize("probes", [False, True])
def test_several_outputs_are_exact_together(group: str, probes: bool):
    seen = found(network("all", group), group, 9, "invariant", probes=probes)
    assert seen.verdict.outcome == "exact action"
    assert not probes or (seen.probes == 16 and seen.end_to_end is not None and seen.end_to_end < 1e-10)


@pytest.mark.parametrize("broken", ["classes", "boxes", "second"])
def test_one_broken_output_of_several_is_seen(broken: str):
    """A head of 1 x 1 kernels has no place to break at, so there nothing changes."""
    seen = found(network("all", MIRROR, broken), MIRROR, 9, "invariant", probes=True)
    assert (seen.verdict.outcome == "exact action") == (broken == "classes")


def test_outputs_of_several_layers_may_move_each_in_its_way():
    """A group may exchange the numbers of one output and leave another alone; it may not mix them."""
    torch.manual_seed(0)
    places = torch.tensor([1, 0, 3, 2])
    first, pair, single = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 1)
    hidden = torch.tensor([1, 0, 3, 2, 5, 4])
    with torch.no_grad():
        first.weight.copy_((first.weight + first.weight[hidden][:, places]) / 2)
        first.bias.copy_((first.bias + first.bias[hidden]) / 2)
        pair.weight.copy_((pair.weight + pair.weight[[1, 0]][:, hidden]) / 2)
        pair.bias.copy_((pair.bias + pair.bias[[1, 0]]) / 2)
        single.weight.copy_((single.weight + single.weight[:, hidden]) / 2)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.pair, self.single = first, pair, single

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.first(x).tanh()
            return self.pair(h), self.single(h)

    x = torch.randn(20, 4, dtype=torch.float64)
    conversion = convert(Two().double(), x[:2])
    swap = {"kind": "generated", "generators": {"a": [1, 0, 3, 2]}, "relations": ["a^2"]}
    exact = find_actions(conversion, swap, (4,), {"a": [1, 0, 2]}, data=x, decoys=0)
    assert exact.end_to_end is not None
    assert exact.end_to_end < 1e-10
    wrong = find_actions(conversion, swap, (4,), {"a": [0, 1, 2]}, data=x, decoys=0)
    assert wrong.end_to_end is not None
    assert wrong.end_to_end > 0.01
    with pytest.raises(UsageError, match="mixes the network's outputs"):
        find_actions(conversion, swap, (4,), {"a": [0, 2, 1]}, data=x, decoys=0)


@pytest.mark.parametrize("end", ["sum", "argmax", "logsumexp", "above", "sort"])
def test_outputs_that_no_space_labels_can_be_left_alone(end: str):
    functions = {
        "sum": lambda y: y.sum(-1),
        "argmax": lambda y: y.argmax(-1),
        "logsumexp": lambda y: y.logsumexp(-1, keepdim=True),
        "above": lambda y: (y > 0).double(),
        "sort": lambda y: y.sort(-1).values,
    }

    class Ended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 12), nn.Linear(12, 4)

        def forward(self, x: Tensor) -> Tensor:
            return functions[end](self.b(self.a(x).relu()))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    x = torch.randn(20, 16, dtype=torch.float64)
    seen = find_actions(convert(Ended().double(), x[:2]), "mirror", (1, 4, 4), "invariant", data=x, decoys=1)
    assert seen.verdict.outcome == "no action found"
    assert seen.to_json()


class Shifted(nn.Module):
    """Five numbers in a picture of one row, as in ACAS Xu's files: less a constant, then a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.mean = nn.Linear(5, 8), nn.Linear(8, 5), nn.Parameter(torch.zeros(1, 1, 1, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first((x - self.mean).flatten(1)).relu())  # type: ignore[no-any-return]


@pytest.mark.parametrize("probes", [False, True])
def test_features_in_a_row_of_axes_of_one_element(probes: bool) -> None:
    torch.manual_seed(0)
    module, signs, places = Shifted().double(), torch.tensor([1.0, -1, -1, 1, 1]), [0, 2, 1, 4, 3]
    pairs = [1, 0, 3, 2, 5, 4, 7, 6]
    with torch.no_grad():
        first, last = module.first, module.last
        first.weight.copy_((first.weight + first.weight[pairs] * signs) / 2)
        first.bias.copy_((first.bias + first.bias[pairs]) / 2)
        last.weight.copy_((last.weight + last.weight[places][:, pairs]) / 2)
        last.bias.copy_((last.bias + last.bias[places]) / 2)
    x = torch.randn(60, 1, 1, 5, dtype=torch.float64)
    group = {"kind": "generated", "generators": {"m": {"places": [0, 1, 2, 3, 4], "signs": signs.tolist()}}}
    found = find_actions(convert(module, x[:2]), group, (1, 1, 5), {"m": places}, data=x if probes else None)
    assert found.verdict.outcome == "exact action", found.verdict.text
