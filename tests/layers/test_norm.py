"""Normalisation: statistics per folded channel, over the batch or one network, never per entry."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.layers import ACTIVATIONS, Features, OrbitNorm
from graphws.operations import mlp_graph
from graphws.testing import LayerTests, check_equivariance, random_features
from tests.layers.cases import GRAPHS

NETWORK = mlp_graph([2, 4, 3, 2])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class OneGraph(nn.Module):
    """A norm that has seen batches, on features of one graph."""

    def __init__(self, norm: OrbitNorm, graph: NetworkGraph) -> None:
        super().__init__()
        self.norm = norm
        for seed in range(3):
            norm([random_features(graph, 3, 8, rng(seed), torch.float32)])

    def forward(self, features: Features) -> Features:
        return self.norm([features])[0]


KINDS = [
    (kind, share, training) for kind in ("batch", "layer") for share in ("none", "role") for training in (True, False)
]
CASES = [
    *[("mlp 2-3-2-3", *each) for each in KINDS],
    *[
        (n, k, "none", True)
        for n in ("residual 3", "heads 3x2", "head pairs", "convolution")
        for k in ("batch", "layer")
    ],
]


class TestOrbitNorm(LayerTests):
    channels = 3

    @pytest.fixture(autouse=True, params=CASES, ids=str)
    def case(self, request: pytest.FixtureRequest) -> None:
        name, self.kind, self.share, self.training = request.param
        self.graph = GRAPHS[name]

    def make_layer(self) -> nn.Module:
        norm = OrbitNorm([self.graph], 3, self.kind, self.share)
        return OneGraph(norm, self.graph).train(self.training)


def test_batch_statistics_are_those_of_torch_over_all_entries() -> None:
    features = random_features(NETWORK, 3, 8, rng())
    norm = OrbitNorm([NETWORK], 3).double()
    found = norm([features])[0]
    for name, x in features.tensors.items():
        reference = nn.BatchNorm1d(x.shape[-1]).double()
        torch.testing.assert_close(found[name].flatten(0, -2), reference(x.flatten(0, -2)))
        torch.testing.assert_close(norm.get_buffer(f"mean_{name}"), reference.running_mean)
        torch.testing.assert_close(norm.get_buffer(f"variance_{name}"), reference.running_var)
    evaluated = norm.eval()([features])[0]
    for name, x in features.tensors.items():
        reference = nn.BatchNorm1d(x.shape[-1]).double()
        reference(x.flatten(0, -2))
        torch.testing.assert_close(evaluated[name].flatten(0, -2), reference.eval()(x.flatten(0, -2)))


def test_layer_statistics_are_of_one_network_alone() -> None:
    features = random_features(NETWORK, 3, 8, rng())
    norm = OrbitNorm([NETWORK], 3, "layer").double()
    whole = norm([features])[0]
    for k in range(8):
        alone = norm([features.replace({n: x[k : k + 1] for n, x in features.tensors.items()})])[0]
        for name in features.tensors:
            torch.testing.assert_close(alone[name][0], whole[name][k])
    w2 = whole["W2"]
    torch.testing.assert_close(w2.mean((1, 2)), torch.zeros(8, 3, dtype=torch.float64), atol=1e-7, rtol=0)
    torch.testing.assert_close(w2.var((1, 2), correction=0), torch.ones(8, 3, dtype=torch.float64), atol=1e-3, rtol=0)


def test_a_mixed_batch_shares_statistics_by_role() -> None:
    graphs = [NETWORK, mlp_graph([2, 5, 6, 4, 2])]
    states = [random_features(graph, 1, 8, rng(k)) for k, graph in enumerate(graphs)]
    norm = OrbitNorm(graphs, 1, share="role").double()
    found = norm(states)
    hidden = [x for state in found for n, x in state.tensors.items() if norm.name(state.graph, n) == "weight%2Ehidden"]
    assert len(hidden) == 3
    pooled = torch.cat([x.detach().flatten() for x in hidden])
    assert abs(float(pooled.mean())) < 1e-12
    assert abs(float(pooled.var(correction=0)) - 1) < 1e-3


def test_there_is_one_scale_a_folded_channel_and_never_one_an_entry() -> None:
    norm = OrbitNorm([NETWORK], 3)
    sizes = {name: scale.numel() for name, scale in norm.scale.items()}
    assert sizes == {"W1": 6, "b1": 3, "W2": 3, "b2": 3, "W3": 6, "b3": 6}


def test_free_entries_together_have_one_statistic_a_channel() -> None:
    features = random_features(NETWORK, 3, 8, rng())
    norm = OrbitNorm([NETWORK], 3, together=True).double()
    assert {name: scale.numel() for name, scale in norm.scale.items()} == dict.fromkeys(features.tensors, 3)
    for _ in range(2):  # training, then evaluation
        found = norm([features])[0]
        for name in features.tensors:
            reference = nn.BatchNorm1d(3).double()
            wanted = reference(features.unfolded(name).flatten(0, -2))
            if not norm.training:
                wanted = reference.eval()(features.unfolded(name).flatten(0, -2))
            torch.testing.assert_close(found.unfolded(name).flatten(0, -2), wanted)
        norm.eval()
    with pytest.raises(UsageError) as caught:
        OrbitNorm([NETWORK], 3, "layer", together=True)
    assert str(caught.value) == "free entries are normalised together by norm 'batch' only; got 'layer'"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        OrbitNorm([NETWORK], 3, "instance")
    assert str(caught.value) == "norm must be one of batch, layer, none; got 'instance'"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_commute(name: str) -> None:
    def apply(features: object) -> object:
        return features.replace({n: ACTIVATIONS[name](x) for n, x in features.tensors.items()})  # type: ignore[attr-defined]

    check_equivariance(apply, NETWORK, rng(), channels=2)


def test_several_processes_do_not_wait_for_roles_that_one_of_them_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = [NETWORK, mlp_graph([2, 5, 6, 4, 2])]
    states = [random_features(graph, 1, 8, rng(k)) for k, graph in enumerate(graphs)]
    monkeypatch.setattr("graphws.layers.norm.several", lambda: True)
    norm = OrbitNorm(graphs, 1, share="role").double()
    with pytest.raises(UsageError, match="batch norm over several processes needs networks of one architecture"):
        norm(states)
    assert len(norm.eval()(states)) == 2
    assert len(OrbitNorm(graphs, 1, "layer", share="role").double()(states)) == 2
