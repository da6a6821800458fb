"""Rules one by one: the order of the group of a small network, counted by hand or by trying every permutation."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import Conversion
from graphws.graph import Action
from graphws_converters.fronts.recorder import record_program
from graphws_converters.modules.conversion import convert_module
from graphws_converters.rules.strided import as_strided, stays_inside
from tests.converters.networks import seeded

WIDTH = 4
SEQUENCE, PICTURE = (2, 8, 3), (2, 4, 4, 3)
Middle = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """A layer, what is done with its neurons, and a layer that reads the result."""

    def __init__(
        self, middle: Callable[..., Tensor], readers: int, activation: Middle, **own: nn.Module | nn.Parameter
    ):
        super().__init__()
        self.a, self.b = nn.Linear(3, WIDTH), nn.Linear(readers, 2)
        self.middle, self.activation, self.own = middle, activation, list(own)
        for name, value in own.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.middle(self.activation(self.a(x)), *(getattr(self, name) for name in self.own)))


def _inputs(shape: tuple[int, ...] = (5, 3)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _convert(middle: Callable[..., Tensor], readers: int, shape: tuple[int, ...] = (5, 3),
             activation: Middle = torch.sigmoid, front: str = "export", **own: Any) -> Conversion:  # fmt: skip
    module = seeded(lambda: Net(middle, readers, activation, **{k: v() for k, v in own.items()}))
    rng = torch.Generator().manual_seed(0)
    return convert_module(module, _inputs(shape).float(), generator=rng, front=front)  # type: ignore[arg-type]


def _order(middle: Middle, shape: tuple[int, ...]) -> int:
    """How many permutations of neurons and of what reads them leave every such network alone, found by trying.

    A permutation of neurons counts if what is read is then the same, in some order; what reads equal numbers may also
    change places by itself.
    """
    h = torch.rand((*shape[:-1], WIDTH), generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def columns(neurons: Tensor) -> Counter[tuple[float, ...]]:
        return Counter(tuple(column.tolist()) for column in (1e9 * middle(neurons)).round().T)

    before = columns(h)
    kept = sum(columns(h[..., list(order)]) == before for order in itertools.permutations(range(WIDTH)))
    return kept * math.prod(math.factorial(count) for count in before.values())


def _windows(h: Tensor) -> Tensor:
    batch, steps, width = h.shape
    return (
        h.contiguous().as_strided((batch, steps // 2 - 1, 4, width), (steps * width, 2 * width, width, 1)).amax((1, 2))
    )


def _windows_of_heads(h: Tensor) -> Tensor:
    heads = h.view(2, 8, 2, 2).transpose(1, 2).reshape(4, 8, 2)
    return heads.as_strided((4, 3, 4, 2), (16, 4, 2, 1)).amax((1, 2)).view(2, 4)


def _written(h: Tensor) -> Tensor:
    return torch.zeros(h.shape[0], 6, dtype=h.dtype).slice_scatter(h, 1, 1, 5)


def _written_by_twos(h: Tensor) -> Tensor:
    made = torch.zeros(h.shape[0], 8, dtype=h.dtype).slice_scatter(h, 1, 0, 8, 2)
    return made.slice_scatter(2 * h, 1, 1, 8, 2)


def _between(h: Tensor) -> Tensor:
    return torch.bucketize(h, torch.tensor([0.3, 0.5], dtype=h.dtype)).to(h.dtype) + h


def _every_other(h: Tensor) -> Tensor:
    """A mask over steps, for all neurons alike."""
    return (torch.arange(h.shape[1]) % 2 == 0).reshape(1, -1, 1)


def _chosen(h: Tensor) -> Tensor:
    """A mask over rows and steps, of four steps a row."""
    return torch.arange(h.shape[0])[:, None] % 2 == torch.arange(h.shape[1]) % 2


MIDDLES: dict[str, tuple[Middle, tuple[int, ...]]] = {
    "windows": (_windows, SEQUENCE),
    "windows by head": (_windows_of_heads, SEQUENCE),
    "windows across neurons": (lambda h: h.contiguous().as_strided((h.shape[0], 2), (4, 2)), (5, 3)),
    "written into zeros": (_written, (5, 3)),
    "written by twos": (_written_by_twos, (5, 3)),
    "steps overwritten": (lambda h: h.slice_scatter(h[:, :4] ** 2, 1, 0, 8, 2).amax(1), SEQUENCE),
    "one step overwritten": (lambda h: h.select_scatter(h[:, 3] ** 2, 1, -1).amax(1), SEQUENCE),
    "one neuron overwritten": (lambda h: h.select_scatter(h[:, 3] ** 2, 1, 0), (5, 3)),
    "unfolded": (lambda h: functional.unfold(h.permute(0, 3, 1, 2), 2).view(-1, 4, 4, 9).amax((2, 3)), PICTURE),
    "folded": (
        lambda h: functional.fold(functional.unfold(h.permute(0, 3, 1, 2), 3, padding=1), 4, 3, padding=1).amax((2, 3)),
        PICTURE,
    ),
    "frequencies": (lambda h: torch.fft.rfft(h, dim=1).abs().amax(1), SEQUENCE),
    "frequencies of pictures": (
        lambda h: torch.fft.irfft2(torch.fft.rfft2(h, dim=(1, 2)), dim=(1, 2))[:, 0, 0],
        PICTURE,
    ),
    "frequencies of neurons": (lambda h: torch.fft.fft(h).real + 0.5 * torch.fft.fft(h).imag, (5, 3)),
    "parts": (lambda h: torch.view_as_real(torch.fft.fft(h, dim=1))[:, 1].flatten(1), SEQUENCE),
    "parts exchanged": (lambda h: torch.view_as_complex(torch.stack([h, h**2], -1)).exp().imag, (5, 3)),
    "neurons as parts": (lambda h: torch.view_as_complex(h.view(-1, 2, 2)).exp().imag, (5, 3)),
    "rows by a mask": (lambda h: h.masked_scatter(_every_other(h), (h**2).flatten(0, 1)).amax(1), SEQUENCE),
    "rows by a mask of copies": (
        lambda h: h.masked_scatter(_every_other(h).expand_as(h), (h**2).flatten(0, 1)).amax(1), SEQUENCE
    ),
    "neurons by a mask": (lambda h: h.masked_scatter(h > 0.5, (h**2).flatten(0, 1)).amax(1), SEQUENCE),
    "chosen by a mask": (lambda h: h[_chosen(h)].view(h.shape[0], -1, h.shape[2]).amax(1), SEQUENCE),
    "put by a mask": (lambda h: h.index_put((_chosen(h),), (h**2)[_chosen(h)]).amax(1), SEQUENCE),
    "added by a mask": (lambda h: h.index_put((_chosen(h),), (h**2)[_chosen(h)], True).amax(1), SEQUENCE),
    "put at places": (
        lambda h: h.index_put((torch.tensor([0, 1]), torch.tensor([2, 3])), (h**2)[0, :2]).amax(1), SEQUENCE
    ),
    "one row at each place": (lambda h: h.index_put((torch.tensor([1, 0]),), (h**2)[0]).amax(1), SEQUENCE),
    "neurons put by a mask": (lambda h: h.index_put((h > 0.5,), torch.zeros((), dtype=h.dtype)), (5, 3)),
    "a neuron put at a place": (lambda h: h.T.index_put((torch.tensor([1]),), (h.T**2)[2:3]).T, (5, 3)),
    "medians": (lambda h: h.median(-2).values, SEQUENCE),
    "median of neurons": (lambda h: h.median(-1, keepdim=True).values, (5, 3)),
    "nanmedians": (lambda h: h.nanmedian(1, True).values[:, 0], SEQUENCE),
    "modes": (lambda h: h.round(decimals=1).mode(-2)[0], SEQUENCE),
    "ranks": (lambda h: h.kthvalue(3, -2).values, SEQUENCE),
    "rank of each neuron": (lambda h: h.msort().sort(-1).values, (5, 3)),
    "quantiles": (lambda h: h.quantile(torch.tensor([0.2, 0.7], dtype=h.dtype), dim=1).amax(0), SEQUENCE),
    "classes": (_between, (5, 3)),
    "places in a row": (lambda h: torch.searchsorted(h.sort(-1).values, h.contiguous()).to(h.dtype) + h, (5, 3)),
    "products": (lambda h: torch.einsum("bi,bj->bij", h, h).flatten(1), (5, 3)),
    "products of heads": (
        lambda h: torch.einsum("bhi,bhj->bij", h.view(-1, 2, 2), h.view(-1, 2, 2)).flatten(1),
        (5, 3),
    ),
    "three products": (lambda h: torch.einsum("bi,bj,bk->bijk", h, h, h).flatten(1), (5, 3)),
    "nearest": (lambda h: functional.interpolate(h[:, None], scale_factor=2)[:, 0], (5, 3)),
    "nearest, exact": (lambda h: functional.interpolate(h[:, None], 12, mode="nearest-exact")[:, 0], (5, 3)),
    "nearest of two axes": (lambda h: functional.interpolate(h.view(-1, 1, 4, 1), (8, 2)).flatten(1), (5, 3)),
    "nearest of an odd size": (lambda h: functional.interpolate(h[:, None], 7)[:, 0], (5, 3)),
    "every other": (lambda h: functional.interpolate(h[:, None], 2)[:, 0], (5, 3)),
    "stacked and flat": (lambda h: torch.stack([h, h**2], 1).flatten(1), (5, 3)),
    "halves apart": (
        lambda h: torch.cat([h, h**2], 1).view(-1, 2, 4).exp().permute(1, 0, 2).permute(1, 0, 2).flatten(1),
        (5, 3),
    ),
}  # fmt: skip
LESS = {
    "windows by head": 8,  # S_2 wr S_2 of S_4: heads are heads, though nothing here tells them apart
    "windows across neurons": 1,
    "written into zeros": 24,  # the columns that read the two zeros may change places, too
    "frequencies of neurons": 1,  # a mirrored order of neurons is a symmetry
    "neurons put by a mask": 1,
    "a neuron put at a place": 1,
    "products": 24,  # h_i h_j = h_j h_i: their columns may change places, too
    "products of heads": 4,
    "three products": 24,
    "nearest of two axes": 384,  # S_4 and S_2 wr S_4; copies along the second axis count as pixels
    "nearest of an odd size": 1,
}
"""Where less is found than there is, how much: each is sound, and no more is claimed."""
EXPORTED = (
    "windows",
    "written by twos",
    "folded",
    "frequencies",
    "medians",
    "classes",
    "products",
    "nearest",
    "halves apart",
)


@pytest.mark.parametrize(("name", "front"), [*((n, "recorder") for n in MIDDLES), *((n, "export") for n in EXPORTED)])
def test_the_group_is_the_one_that_trying_every_permutation_finds(name: str, front: str) -> None:
    middle, shape = MIDDLES[name]
    readers = middle(torch.rand((*shape[:-1], WIDTH))).shape[-1]
    found = _convert(middle, readers, shape, front=front)
    order, whole = round(10 ** found.graph.log10_order()), _order(middle, shape)
    assert found.verified or order == 1, found.verdict
    assert order == LESS.get(name, whole)
    assert whole % order == 0, "a subgroup"
    assert not any(note.startswith("no rule") for note in found.notes)


@pytest.mark.parametrize("name", ["windows", "written into zeros", "unfolded", "frequencies", "products"])
def test_positive_scales_pass(name: str) -> None:
    middle, shape = MIDDLES[name]
    readers = middle(torch.rand((*shape[:-1], WIDTH))).shape[-1]
    found = _convert(middle, readers, shape, torch.relu, "recorder")
    assert found.verified
    assert Action.SCALING in {space.action for space in found.graph.spaces if space.size == WIDTH}


def _parameter(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], nn.Parameter]:
    return lambda: nn.Parameter(torch.randn(shape, dtype=dtype))


def _fno(h: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """A Fourier layer: the lowest and highest frequencies are mixed over channels, the others dropped."""
    found = torch.fft.rfft2(h.permute(0, 3, 1, 2))
    made = torch.zeros(h.shape[0], 6, 4, 3, dtype=found.dtype)
    made[:, :, :1, :2] = torch.einsum("bixy,ioxy->boxy", found[:, :, :1, :2], low)
    made[:, :, -1:, :2] = torch.einsum("bixy,ioxy->boxy", found[:, :, -1:, :2], high)
    return torch.relu(torch.fft.irfft2(made, s=(4, 4))).mean((2, 3))


def test_a_fourier_layer_with_complex_weights() -> None:
    weights = {name: _parameter(4, 6, 1, 2, dtype=torch.cfloat) for name in ("low", "high")}
    found = _convert(_fno, 6, PICTURE, torch.relu, **weights)
    assert found.verified
    assert found.verification is not None
    assert found.verification.error < 1e-11, "complex weights are tried in double precision, too"
    assert found.graph.group().factors == ("S_4", "S_6")
    assert {check.verdict for check in found.actions} == {"confirmed"}
    assert found.weights is not None
    assert found.weights.to(dtype=torch.float64)["low"].dtype == torch.complex128
    wrong = _convert(
        lambda h, low, high: _fno(h, low, high).flip(-1) + _fno(h, low, high), 6, PICTURE, torch.relu, **weights
    )
    assert wrong.graph.group().factors[0] == "S_4"
    assert wrong.graph.log10_order() <= found.graph.log10_order()


TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@pytest.mark.parametrize(("axes", "groups"), [(1, 2), (2, 2), (3, 2), (2, 4), (2, 1)])
def test_a_transposed_convolution_in_groups(axes: int, groups: int) -> None:
    def middle(h: Tensor, layer: nn.Module) -> Tensor:
        pictures = h.reshape(-1, WIDTH, *[1] * axes).expand(-1, -1, *[2] * axes)
        return torch.tanh(layer(pictures)).mean(tuple(range(2, axes + 2)))

    inside, outside = WIDTH // groups, 8 // groups
    found = _convert(
        middle, 8, (5, 3), torch.relu, "recorder", layer=lambda: TRANSPOSED[axes](4, 8, 3, 2, groups=groups)
    )
    order = math.factorial(groups) * (math.factorial(inside) * math.factorial(outside)) ** groups
    assert found.verified
    assert round(10 ** found.graph.log10_order()) == order


def test_parameters_that_are_only_taken_apart_have_neurons_of_their_own() -> None:
    def chain(h: Tensor, w: Tensor) -> Tensor:
        return torch.tanh(torch.tanh(h @ w[0]) @ w[1])

    def unbound(h: Tensor, w: Tensor) -> Tensor:
        first, second = w.unbind(-1)
        return torch.tanh(torch.tanh(h @ first) @ second)

    def whole(h: Tensor, w: Tensor) -> Tensor:
        return chain(h, w) + torch.einsum("bi,kij->bj", h, w)

    assert _convert(chain, 4, w=_parameter(2, 4, 4)).graph.group().factors == ("S_4", "S_4", "S_4")
    assert _convert(unbound, 4, w=_parameter(4, 4, 2)).graph.group().factors == ("S_4", "S_4", "S_4")
    found = _convert(whole, 4, w=_parameter(2, 4, 4))
    assert found.verified
    assert found.graph.group().factors == ("S_4",), "read as a whole, too, its matrices share their neurons"
    found = _convert(chain, 4, w=_parameter(2, 4, 4))
    assert [p.name for p in found.graph.parameters if p.name.startswith("w")] == ["w[0]", "w[1]"]
    assert str(found.runs).startswith("runs: yes"), found.runs


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_learned_states_of_a_batch(kind: str) -> None:
    def middle(h: Tensor, layer: nn.RNNBase, state: Tensor, cells: Tensor) -> Tensor:
        return layer(h, (state, cells) if kind == "LSTM" else state)[0].mean(1)

    own = {"layer": lambda: getattr(nn, kind)(4, 5, 2, batch_first=True), "state": _parameter(2, 3, 5)}
    found = _convert(middle, 5, (3, 6, 3), front="recorder", **own, cells=_parameter(2, 3, 5))
    assert found.verified, found.verdict
    assert (
        found.graph.group().factors == ("S_5", "S_5", "S_4")
        if kind != "LSTM"
        else len(found.graph.group().factors) == 3
    )
    assert round(10 ** found.graph.log10_order()) == math.factorial(5) ** 2 * math.factorial(4)


def test_a_learned_state_of_a_cell_and_a_bias_of_a_batch() -> None:
    found = _convert(
        lambda h, cell, state: cell(h, state), 5, (3, 3), cell=lambda: nn.GRUCell(4, 5), state=_parameter(3, 5)
    )
    assert found.verified
    assert sorted(found.graph.group().factors) == ["S_4", "S_5"]
    module = lambda h, w, c: torch.tanh(torch.nn.functional.linear(h, w, c))  # noqa: E731
    found = _convert(module, 6, (5, 3), front="recorder", w=_parameter(6, 4), c=_parameter(5, 6))
    assert sorted(found.graph.group().factors) == ["S_4", "S_6"], "the batch is no space"


def test_signs_pass_behind_flips_and_rolls() -> None:
    found = _convert(lambda h: h.flip(1).roll(2, 1)[:, 0], 4, SEQUENCE, torch.tanh, "recorder")
    assert found.verified
    assert [space.action for space in found.graph.spaces if space.moves] == [Action.SIGNED]


def test_a_family_is_told_by_the_axis_that_it_is_in() -> None:
    """Two axes of one matrix hold heads that are told apart: each has its own dimensions on both sides."""
    slopes = torch.tensor([1.0, 2.0])[:, None]

    def sloped(h: Tensor) -> Tensor:
        return torch.sigmoid(h.view(-1, 2, 2) * slopes.to(h.dtype)).flatten(1)

    def middle(h: Tensor, w: Tensor) -> Tensor:
        return sloped(sloped(h) + sloped(h) @ w)

    found = _convert(middle, 4, w=_parameter(4, 4))
    assert found.verified
    assert found.graph.group().factors == ("S_2", "S_2")


def test_a_strided_view_is_understood_only_inside_a_dense_tensor() -> None:
    class Strided(nn.Module):
        def __init__(self, size: tuple[int, ...], strides: tuple[int, ...], start: int) -> None:
            super().__init__()
            self.arguments = size, strides, start

        def forward(self, x: Tensor) -> Tensor:
            return x.as_strided(*self.arguments)

    def inside(size: tuple[int, ...], strides: tuple[int, ...], start: int, x: Tensor) -> bool:
        program = record_program(Strided(size, strides, start), (x,), {})
        return stays_inside(next(node for node in program.nodes if node.op == as_strided.__name__))

    x = torch.zeros(4, 6)
    assert inside((2, 2, 6), (6, 6, 1), 6, x)
    assert inside((6, 4), (1, 6), 0, x)
    assert not inside((2, 2, 6), (12, 6, 1), 0, x[:3]), "beyond the argument, though inside its memory"
    assert not inside((2, 6), (6, 1), 0, x[2:]), "before the argument"
    assert not inside((2, 3), (6, 1), 0, x[:, :3]), "what lies between the rows is not the argument's"


def test_the_axis_that_is_ranked_is_counted_from_the_argument() -> None:
    """Where the axis disappears, a negative one means another axis of the result."""
    found = _convert(lambda h, w: torch.tanh(h[..., None] * w).kthvalue(2, -1).values, 4, w=_parameter(4, 4))
    assert found.verified
    assert sorted(found.graph.group().factors) in (["S_4", "S_4"], ["S_4 wr S_4", "S_4"], ["S_4", "S_4 wr S_4"])
