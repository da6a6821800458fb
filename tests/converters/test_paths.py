"""What leaves the tensors: numbers read by Python, branches on data, values put back from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Hints
from graphws.errors import UsageError, VerificationError
from graphws_converters.analysis.engine import Engine
from graphws_converters.gate.inputs import other_kinds
from graphws_converters.modules.conversion import _moved, convert_module
from graphws_converters.rules import RULES
from graphws_converters.rules.registry import Call, Entry, Result
from tests.converters.networks import seeded


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _x(rows: int = 4) -> Tensor:
    return torch.randn(rows, 5, generator=_rng(3)).double()


class Net(nn.Module):
    """Two layers; something happens to the hidden one, or to the outputs."""

    def __init__(self, hidden: Callable[..., Any], out: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3)
        self.hidden, self.out = hidden, out

    def forward(self, x: Tensor) -> Any:
        h = self.hidden(torch.tanh(self.a(x)))
        return self.b(h) if self.out is None else self.out(self.b(h), h)


def _verdict(hidden: Callable[..., Any], out: Callable[..., Any] | None = None, **given: Any) -> str:
    module = seeded(lambda: Net(hidden, out)).double()
    return convert_module(module, _x(), generator=_rng(), **given).verdict


def _branch(h: Tensor) -> Tensor:
    return h.cumsum(-1) if float(h[0, 0]) > 4 else h


def _picks_a_layer(h: Tensor) -> Tensor:
    return [h, h.flip(-1)][int(h.mean() > 3)]


def _array(h: Tensor) -> Tensor:
    return h + 0 * torch.from_numpy(h.detach().numpy().cumsum(-1))


def _storage(h: Tensor) -> Tensor:
    return h if h.untyped_storage()[0] > 300 else h + 0


@pytest.mark.parametrize("leaves", [_branch, _picks_a_layer, _array, _storage])
def test_a_number_read_from_an_activation_is_one_path(leaves: Callable[[Tensor], Tensor]) -> None:
    assert _verdict(leaves).startswith("UNVERIFIED (one path seen: a number was read from a result of ")


def test_a_number_read_from_the_inputs_is_one_path() -> None:
    class Branch(Net):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.a(x))
            return self.b(h) if x.sum() > -1e3 else self.b(h * torch.arange(8))

    module = seeded(lambda: Branch(torch.tanh)).double()
    found = convert_module(module, _x(), generator=_rng())
    assert found.verdict == "UNVERIFIED (one path seen: a number was read from a result of gt of shape ())"
    assert not convert_module(module, None, generator=_rng()).verified


def test_what_an_export_reads_is_free_and_the_rest_is_verified() -> None:
    """The exported program holds what becomes of the number; its neurons have an order, others do not."""
    module = seeded(lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), Net(lambda h: h * h[0, 0].item())))
    module[2].a = nn.Linear(6, 8)
    found = convert_module(module.double(), _x(), generator=_rng())
    assert found.verified
    assert sorted(space.size for space in found.graph.spaces if space.moves) == [6, 7]


def test_numbers_of_constants_are_no_paths() -> None:
    assert _verdict(lambda h: h * float(torch.arange(4.0).sum()), front="recorder").startswith("VERIFIED")
    assert _verdict(lambda h: h + nn.functional.one_hot(torch.tensor(2), 8)[:1], front="recorder")


def test_other_objects_of_a_tensor_are_followed() -> None:
    assert _verdict(lambda h: h.data.cumsum(-1) + h.data).startswith("UNVERIFIED (no space has two neurons")
    assert _verdict(lambda h: h.data + h).startswith("VERIFIED")


def test_tensors_made_out_of_sight_are_found_by_a_second_run() -> None:
    kept: list[Tensor] = []

    def smuggled(h: Tensor) -> Tensor:
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            kept.append(h.cumsum(-1))
        return h + 0 * kept.pop()

    assert _verdict(smuggled, front="recorder") == (
        "UNVERIFIED (one path seen: a tensor of shape (4, 8) is made from others out of sight of the trace)"
    )


def test_a_wrong_claim_that_only_large_inputs_show_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(e: Engine, call: Call) -> Result:
        return e.tensor(e.plain(call["self"]).legs)

    monkeypatch.setitem(RULES, "clamp", Entry(wrong, powers=True))
    net = seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), Bounded(), nn.Linear(8, 3), nn.Softmax(-1))).double()
    message = (
        r"^a random element changes the outputs by \S+ \(allowed 1e-08\) on inputs times 10,000, not on the example"
    )
    with pytest.raises(VerificationError, match=message):
        convert_module(net, _x(), generator=_rng())


class Bounded(nn.Module):
    """A bound that no example reaches."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(max=1000.0)


def test_the_kinds_of_inputs() -> None:
    mask = torch.ones(4, dtype=torch.bool)
    found = dict(other_kinds(((_x(),), {"mask": mask}), _rng()))
    assert list(found) == [
        "negated inputs", "inputs times 10", "inputs times 0.1", "inputs times 10,000", "zeros",
        "inputs in another order", "a batch of 5",
    ]  # fmt: skip
    assert torch.equal(found["negated inputs"][0][0], -_x())
    assert all(bool(named["mask"].all()) for _, named in found.values())
    assert [name for name, _ in other_kinds(((torch.arange(3),), {}), _rng())] == [
        "inputs in another order",
        "a batch of 4",
    ]


class Record:
    """No container that anyone knows."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


def test_outputs_that_cannot_be_looked_into_are_refused() -> None:
    message = (
        r"^cannot look into an output of type Record: return tensors in tuples, lists, dictionaries or dataclasses, or "
        r"name one output with outputs=$"
    )
    with pytest.raises(UsageError, match=message):
        _verdict(lambda h: h, lambda y, h: (y, Record(h)))
    with pytest.raises(UsageError, match="an output of type ndarray"):
        _verdict(lambda h: h, lambda y, h: [y, h.detach().numpy()])
    assert _verdict(lambda h: h, lambda y, h: (y, Record(h)), hints=Hints(outputs=0)).startswith("VERIFIED")


def test_numbers_among_the_outputs_are_read_from_what_they_come_from() -> None:
    assert _verdict(lambda h: h, lambda y, h: (y, h[0].tolist())).startswith("UNVERIFIED")
    assert _verdict(lambda h: h, lambda y, h: {"y": y, "name": "net", "count": 3, "none": None}).startswith("VERIFIED")


@pytest.mark.parametrize("looked_at", [False, True])
def test_writes_into_a_cast_matter_where_the_tensor_is_read_again(looked_at: bool) -> None:
    """In float32 the cast lies in the memory of the tensor, in float64 in that of a copy."""

    class Casts(Net):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.a(x))
            made = h.view(-1).to(torch.float32)
            made += 1
            return self.b(made.view(h.shape).to(h.dtype)) + (h.sum() if looked_at else 0)

    found = convert_module(seeded(lambda: Casts(torch.tanh)), _x().float(), generator=_rng())
    assert ("alias_write runs more or less often" in found.verdict) == looked_at
    assert found.verified != looked_at


class Rescaled(Net):
    """Writes into a cast to one type, which in that type is the tensor itself."""

    def __init__(self, factor: float, *, noise: bool = False, copies: bool = False) -> None:
        super().__init__(torch.tanh)
        self.factor, self.noise, self.copies = factor, noise, copies

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        made = h.to(torch.float32, copy=self.copies)
        made.mul_(self.factor)
        drawn = torch.rand(1, dtype=h.dtype, generator=_rng()) if self.noise else 0
        return self.b(h) * (1 + drawn)


@pytest.mark.parametrize(("factor", "copies", "differs"), [(2.0, False, True), (1.0, False, False), (2.0, True, False)])
def test_outputs_in_the_own_type_are_those_in_float64(factor: float, copies: bool, differs: bool) -> None:
    module = seeded(lambda: Rescaled(factor, copies=copies))
    found = convert_module(module, _x().float(), generator=_rng())
    assert ("in the type that it came in its outputs differ by" in found.verdict) == differs
    assert found.verified != differs, found.verdict
    assert convert_module(module.double(), _x(), generator=_rng()).verified


def test_what_is_drawn_may_differ_between_types() -> None:
    found = convert_module(seeded(lambda: Rescaled(1.0, noise=True)), _x().float(), generator=_rng())
    assert found.verified, found.verdict


def test_numbers_that_stand_for_infinity_are_not_compared() -> None:
    own, other = torch.finfo(torch.float32).min, torch.finfo(torch.float64).min
    one, two = torch.tensor([1.0, own, torch.nan]), torch.tensor([1.0, other, 2.0]).double()
    assert _moved([one], [two]) == 0
    assert _moved([one + 0.1], [two]) == pytest.approx(0.1)
    assert _moved([one], [two[:2]]) == torch.inf
