"""The gate's second figure: a file that does not compute what its source computes never says yes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Conversion
from graphws.graph import Weights
from graphws.kinds import Kind, table
from graphws.operations import forward
from graphws_converters.gate import self_run as measured
from graphws_converters.gate.self_run import SourceFailure, difference, source_outputs, tolerance_of, with_batch
from graphws_converters.modules.conversion import convert_module


class Net(nn.Module):
    """Two layers with something in between."""

    def __init__(self, between: Callable[[Tensor], Tensor], *, norm: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)
            self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.norm(self.first(x))))


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _x(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, generator=_rng())


def _converted(between: Callable[[Tensor], Tensor], *, batch: int = 4, norm: bool = False) -> Conversion:
    return convert_module(Net(between, norm=norm), _x(batch), generator=_rng())


@pytest.fixture
def wrong_row(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts another function into a row of the table."""

    def put(name: str, function: Callable[..., Any]) -> None:
        made = table._made
        row = replace(table.kind(name), function=function)
        monkeypatch.setattr(table, "_made", lambda asked: row if asked == name else made(asked))

    return put


def test_what_runs_says_so_and_computes_the_source() -> None:
    found = _converted(lambda x: torch.tanh(x) * x.softmax(-1))
    assert re.match(r"^runs: yes \(error \S+, any batch\)$", str(found.runs))
    assert found.weights is not None
    x = torch.randn(9, 3, dtype=torch.float64)
    net = Net(lambda x: torch.tanh(x) * x.softmax(-1)).double()
    assert torch.allclose(forward(found.graph, found.weights.to(dtype=torch.float64), x)[0], net(x), atol=1e-14)


def test_a_wrong_row_is_found_and_its_operation_named(wrong_row: Callable[..., None]) -> None:
    wrong_row("sigmoid", lambda x: torch.sigmoid(1.01 * x))
    found = _converted(lambda x: torch.sigmoid(x) + x.cos())
    assert found.verified, "a wrong pointwise function commutes with permutations all the same"
    assert re.match(
        r"^runs: no \(its outputs differ by \S+ from the source's: operation x2 = sigmoid\(x1\) differs by \S+ from "
        r"sigmoid\)$",
        str(found.runs),
    )


def test_a_mistake_that_fresh_weights_hide_is_found(wrong_row: Callable[..., None]) -> None:
    def without_statistics(x: Tensor, weight: Tensor, bias: Tensor, *_: Tensor, eps: float = 1e-5) -> Tensor:
        return x / (1 + eps) ** 0.5 * weight + bias

    wrong_row("batch_norm", without_statistics)
    found = _converted(torch.relu, norm=True)
    assert re.match(
        r"^runs: no \(at other weights its outputs differ by \S+ from the source's: operation x2 = batch_norm\(.*\) "
        r"differs by \S+ from \S*batch_norm\S*\)$",
        str(found.runs),
    )


def test_large_networks_are_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "MOST_DISTURBED", 10)
    monkeypatch.setattr(measured, "_disturbed", lambda *_: pytest.fail("a copy was made"))
    assert str(_converted(torch.sigmoid, norm=True).runs).startswith("runs: yes")


def test_a_row_that_fails_is_named(wrong_row: Callable[..., None]) -> None:
    def fails(x: Tensor) -> Tensor:
        raise ValueError("no such thing")

    wrong_row("erf", fails)
    found = _converted(lambda x: torch.erf(x) + x.sin())
    assert str(found.runs) == "runs: no (operation x2 = erf(x1) on shapes (4, 6): no such thing)"


def test_another_path_on_other_inputs_is_found() -> None:
    class Branch(Net):
        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.last(x.sum(-1, keepdim=True) + (torch.relu(y) if bool(x[0, 0] > 4) else torch.tanh(y)))

    x = _x()
    x[0, 0] = 5
    found = convert_module(Branch(torch.relu), x, generator=_rng())
    assert re.match(
        r"^runs: no \(on other inputs its outputs differ by \S+ from the source's, and no operation "
        r"does: the trace is one path of several\)$",
        str(found.runs),
    )


def test_what_the_table_lacks_is_named() -> None:
    found = _converted(torch.special.bessel_j0)
    assert str(found.runs) == (
        "runs: no (special_bessel_j0 cannot be run from the graph: the table of kinds has no such call)"
    )
    assert [o.kind for o in found.graph.operations] == ["linear", "opaque", "linear"]


def test_a_trace_that_fixed_the_batch_says_so() -> None:
    found = _converted(lambda x: x + torch.relu(x).view(2, 2, 6).flatten(0, 1))
    assert re.match(r"^runs: yes \(error \S+, batches of 4 only\)$", str(found.runs))


def test_a_size_that_no_multiple_of_the_batch_explains_fixes_it() -> None:
    found = _converted(lambda x: torch.relu(x) + torch.full((1,), len(x) ** 2))
    assert re.match(r"^runs: yes \(error \S+, batches of 4 only\)$", str(found.runs))


def test_sizes_that_follow_the_batch_are_told_apart_from_others_of_the_same_length() -> None:
    found = _converted(lambda x: torch.relu(x).view(1, len(x), 6).expand(2, -1, -1).sum(0), batch=6)
    assert str(found.runs).endswith("any batch)")


def test_a_batch_of_one_is_no_special_case() -> None:
    """At a batch of one an axis of length one is read as one that does not follow the batch."""
    found = _converted(lambda x: x.squeeze().reshape(len(x), 6) if len(x) == 1 else x.reshape(len(x), 6), batch=1)
    assert str(found.runs).endswith("any batch)")


def test_a_source_that_refuses_long_batches_is_no_difference() -> None:
    def bounded(x: Tensor) -> Tensor:
        assert len(x) < 7
        return torch.relu(x)

    assert str(_converted(bounded).runs).startswith("runs: yes")


def test_the_source_runs_with_other_weights_and_says_when_it_cannot() -> None:
    net, x = Net(torch.relu).double(), _x().double()
    found = convert_module(net, x, generator=_rng())
    assert found.weights is not None
    doubled = Weights(found.graph, {name: 2 * tensor for name, tensor in found.weights.items()})
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert not torch.equal(source_outputs(net, ((x,), {}), doubled)[0], source_outputs(net, ((x,), {}))[0])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    with pytest.raises(SourceFailure, match="shapes cannot be multiplied"):
        source_outputs(net, ((x.T,), {}))


def test_differences() -> None:
    one, inf, nan = torch.ones(2), torch.tensor([1.0, torch.inf]), torch.tensor([1.0, torch.nan])
    assert difference(one, one) == difference(inf, inf) == difference(nan, nan) == difference(one[:0], one[:0]) == 0
    assert difference(one, 2 * one) == 1
    assert difference(one, one[:1]) == difference(one, inf) == difference(nan, one) == torch.inf
    assert difference(one + 0j, one + 1j) > 0.5
    assert tolerance_of({torch.float64}) == 1e-12
    assert tolerance_of({torch.float64, torch.float32, torch.int64}) == 1e-6
    assert tolerance_of({torch.float32, torch.bfloat16}) == 1e-2


def test_other_batches_are_made_of_the_rows_given() -> None:
    x, mask = torch.arange(8.0).reshape(4, 2), torch.ones(3, 3)
    (y, same), named = with_batch(((x, mask), {"x": x}), 7, _rng())
    assert (y.shape, named["x"].shape) == ((7, 2), (7, 2))
    assert same is mask
    assert {tuple(row) for row in y.tolist()} <= {tuple(row) for row in x.tolist()}


def test_rows_of_the_table_are_put_back() -> None:
    assert isinstance(table.kind("sigmoid"), Kind)
    assert torch.equal(table.kind("sigmoid")(torch.ones(1)), torch.ones(1).sigmoid())
