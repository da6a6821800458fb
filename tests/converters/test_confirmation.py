"""Actions beyond permutations, tried by gradients: confirmed, refuted, or unconfirmed with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import ActionCheck
from graphws.errors import VerificationError
from graphws.graph import Action, NetworkGraph, Parameter, Space, Weights
from graphws.operations import mlp_graph
from graphws_converters.gate import confirmation
from graphws_converters.gate.batch_norm import DifferentiableBatchNorm
from graphws_converters.gate.confirmation import confirm
from graphws_converters.modules.conversion import convert_module
from tests.converters.architectures import build


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _mlp() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=_rng(parameter.numel())))
    return module


def test_what_is_claimed_is_confirmed_and_said() -> None:
    result = convert_module(_mlp(), torch.randn(20, 3, generator=_rng()), generator=_rng())
    assert [(c.space, c.action, c.verdict) for c in result.actions] == [
        ("hidden1", Action.SCALING, "confirmed"),
        ("hidden2", Action.SIGNED, "confirmed"),
    ]
    assert all(check.error < 1e-12 for check in result.actions)
    assert result.story == "actions beyond permutations, tried by gradients: 2 confirmed"
    assert str(result).splitlines()[:3] == [result.verdict, str(result.runs), result.story]


def test_neurons_that_are_never_on_confirm_nothing() -> None:
    module = _mlp()
    with torch.no_grad():
        module[0].bias[:6] = -1e4
    result = convert_module(module, torch.randn(20, 3, generator=_rng()), generator=_rng())
    assert result.verified, "permutations of dead neurons are symmetries, too"
    assert str(result.actions[0]) == "hidden1: scaling unconfirmed (2 of 8 elements have gradients)"
    assert result.story == (
        "actions beyond permutations, tried by gradients: 1 unconfirmed, 1 confirmed, "
        "first hidden1: scaling unconfirmed (2 of 8 elements have gradients)"
    )


def _planted() -> tuple[NetworkGraph, Weights]:
    """A sigmoid network whose graph claims positive scales."""
    graph = mlp_graph([3, 6, 2], "sigmoid")
    spaces = tuple(replace(s, action=Action.SCALING) if s.name == "hidden1" else s for s in graph.spaces)
    graph = replace(graph, spaces=spaces)
    return graph, Weights.unflatten(graph, torch.randn(1, graph.numel, generator=_rng(), dtype=torch.float64))


def _sigmoid(weights: Weights, x: Tensor) -> Tensor:
    first, last = ((weights[f"W{k}"][0], weights[f"b{k}"][0]) for k in (1, 2))
    return functional.linear(torch.sigmoid(functional.linear(x, *first)), *last)


def test_a_claim_that_gradients_refute_is_an_error() -> None:
    graph, weights = _planted()
    points = torch.randn(20, 3, generator=_rng(1), dtype=torch.float64)
    message = (
        r"^the gradients refute 'hidden1' \(hidden1: set, 6, scaling\): a residual of \S+ \(allowed 1e-07\), "
        r"though a random element passed; rules and network disagree$"
    )
    with pytest.raises(VerificationError, match=message):
        confirm(graph, weights, lambda w: _sigmoid(w, points), [torch.float64], _rng())


def test_what_cannot_be_measured_is_unconfirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, weights = _planted()

    def reasons(dtype: torch.dtype) -> list[str]:
        found = confirm(graph, weights, lambda w: _sigmoid(w, torch.full((1, 3), torch.nan).double()), [dtype], _rng())
        assert [check.verdict for check in found] == ["unconfirmed"]
        return [check.reason for check in found]

    assert reasons(torch.float64) == ["the outputs hold NaN or infinity: nothing can be measured there"]
    assert reasons(torch.bfloat16) == ["gradients need a network that runs in float32 at least"]
    monkeypatch.setattr(confirmation, "MOST_NUMBERS", 30)
    assert reasons(torch.float64) == ["38 numbers, and gradients are taken up to 30"]
    monkeypatch.undo()
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
        result = convert_module(module, torch.zeros(4, 3), generator=_rng())
    assert result.actions == (ActionCheck("0", Action.SCALING, "unconfirmed", reason="there are no numbers"),)


def test_nothing_is_measured_where_only_permutations_are_claimed() -> None:
    module, inputs = build("language model, tied")
    result = convert_module(module, inputs, generator=_rng())
    assert (result.actions, result.story) == ((), "")


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norms_can_be_differentiated_in_their_statistics(affine: bool) -> None:
    norm = nn.BatchNorm2d(4, affine=affine).double().eval()
    x = torch.randn(3, 4, 5, 5, generator=_rng(), dtype=torch.float64)
    state = {name: torch.rand(t.shape, generator=_rng(), dtype=torch.float64) + 0.5 for name, t in norm.named_buffers()
             if t.is_floating_point()} | {name: p.detach() + 0.3 for name, p in norm.named_parameters()}  # fmt: skip
    names = list(state)

    def run(*tensors: Tensor) -> Tensor:
        with DifferentiableBatchNorm():
            return torch.func.functional_call(norm, dict(zip(names, tensors, strict=True)), x)

    torch.testing.assert_close(run(*state.values()), torch.func.functional_call(norm, state, x))
    assert torch.autograd.gradcheck(run, [tensor.requires_grad_() for tensor in state.values()])


def test_batch_norms_in_training_stay_as_they_are() -> None:
    x = torch.randn(6, 4, generator=_rng())
    one, other = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    with DifferentiableBatchNorm():
        ours = one(x)
    assert torch.equal(ours, other(x))
    assert torch.equal(one.running_mean, other.running_mean)  # type: ignore[arg-type]


def _scores(weights: Weights, x: Tensor) -> Tensor:
    """One head of attention: what comes behind the softmax stands in the inputs."""
    q, k = x @ weights["q"][0].T, x @ weights["k"][0].T
    return torch.softmax(q @ k.mT / 2, -1) @ x


def _head(scale: float, seed: int) -> tuple[NetworkGraph, Weights]:
    """Queries and keys of 3 inputs in 4 dimensions, on which every matrix acts; their scores are as small as wanted."""
    spaces = (Space("d", 4, action=Action.LINEAR), Space("input", 3, "free"))
    graph = NetworkGraph(spaces, (Parameter("q", "d input*"), Parameter("k", "d* input*")))
    return graph, Weights.unflatten(graph, scale * torch.randn(1, 24, generator=_rng(seed), dtype=torch.float64))


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4, 1e-5, 1e-6, 1e-7, 1e-9])
def test_a_right_claim_is_never_refuted_however_small_its_gradients(scale: float) -> None:
    verdicts = []
    for seed in range(12):
        graph, weights = _head(scale, seed)
        points = torch.rand(6, 3, generator=_rng(seed), dtype=torch.float64)
        (check,) = confirm(graph, weights, lambda w, x=points: _scores(w, x), [torch.float64], _rng(seed))  # type: ignore[misc]
        verdicts.append(check.verdict)
    assert scale < 1e-2 or set(verdicts) == {"confirmed"}


def test_rounding_of_a_part_in_float32_is_not_taken_for_a_refutation() -> None:
    for seed in range(12):
        graph, weights = _head(1e-3, seed)
        points = torch.rand(6, 3, generator=_rng(seed), dtype=torch.float64)
        types = [torch.float64, torch.float32]
        confirm(
            graph,
            weights,
            lambda w, x=points: _scores(w.to(dtype=torch.float32), x.float()).double(),
            types,
            _rng(seed),
        )  # type: ignore[misc]


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4])
def test_a_wrong_claim_is_refuted_at_every_draw(scale: float) -> None:
    for seed in range(12):
        graph, weights = _planted()
        weights = Weights.unflatten(
            graph, scale * torch.randn(1, graph.numel, generator=_rng(seed), dtype=torch.float64)
        )
        points = torch.randn(20, 3, generator=_rng(1), dtype=torch.float64)
        with pytest.raises(VerificationError, match=r"^the gradients refute 'hidden1'"):
            confirm(graph, weights, lambda w, x=points: _sigmoid(w, x), [torch.float64], _rng(seed))  # type: ignore[misc]


def test_a_test_that_fails_refutes_nothing() -> None:
    graph, weights = _planted()

    def run(_: Weights) -> Tensor:
        raise ValueError("donated buffers\nand more")

    (check,) = confirm(graph, weights, run, [torch.float64], _rng())
    assert str(check) == "hidden1: scaling unconfirmed (gradients cannot be taken: donated buffers)"
