"""The adjunction properties (5) and (6), measured; and measured wrong where the group is put in the wrong places."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from graphws import convert
from graphws.actions import find_actions, named_symmetry
from graphws.actions.groups.placing import Placed, place
from graphws.actions.identifiability.adjunction import adjunction
from graphws.actions.pictures.joined_axes import picture_view
from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph

SHIFT = {"kind": "tokens", "generators": {"shift": [1, 2, 3, 4, 5, 0]}}


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def placed(weights: Weights, group, shape, output="same") -> tuple[Weights, Placed]:
    view = picture_view(weights)
    outputs = None if output == "same" else 4
    return view, place(view.graph, named_symmetry(group, shape, output, outputs=outputs), shape)


def perceptron() -> Weights:
    graph = mlp_graph([48, 6, 5, 48], "tanh")
    return Weights.unflatten(graph, normal(1, graph.numel))


def pictures(stride: int = 1) -> Weights:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, stride, padding=stride % 2), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip
    return convert(net.double(), normal(2, 3, 8, 8)).weights


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.last = nn.Linear(3, 8), nn.Linear(8, 4)
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True)
        self.pos = nn.Parameter(torch.randn(6, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.mix(self.read(x) + self.pos).mean(1))


def test_an_mlp_has_property_5() -> None:
    for group in ("mirror", "dihedral"):
        found = adjunction(*placed(perceptron(), group, (3, 4, 4)))
        assert (found.equation, found.holds, len(found.errors)) == (5, True, 3)
        assert max(found.errors.values()) < 1e-12


def test_property_5_by_hand() -> None:
    """The two sides of equation 5, written out for W₁ A⁻¹ and A W_L, A b_L, as section 5.1 says."""
    weights, at = placed(perceptron(), "mirror", (3, 4, 4))
    a = at.maps[1]["input"].matrix()
    x, h = normal(7, 48), normal(7, 5)
    ours = x @ a.T @ weights["W1"][0].T + weights["b1"][0]
    torch.testing.assert_close(ours, x @ (weights["W1"][0] @ a).T + weights["b1"][0])
    b = at.maps[1]["output"].matrix()
    last = (h @ weights["W3"][0].T + weights["b3"][0]) @ b.T
    torch.testing.assert_close(last, h @ (b @ weights["W3"][0]).T + b @ weights["b3"][0])


def test_a_convolution_has_property_6() -> None:
    found = adjunction(*placed(pictures(), "dihedral", (3, 8, 8), "invariant"))
    assert (found.equation, found.holds, len(found.errors)) == (6, True, 3)
    assert str(found).startswith("Generalised adjunction (6) holds, errors by layer: ")


def test_tokens_have_property_6_with_their_positions_moved() -> None:
    torch.manual_seed(0)
    weights = convert(Tokens().double().eval(), normal(2, 6, 3)).weights
    view, at = placed(weights, SHIFT, (6, 3), "invariant")
    found = adjunction(view, at)
    assert (found.equation, found.holds) == (6, True)
    space = view.graph.parameter("pos").axes[0].space
    still = replace(at, maps=tuple({k: v for k, v in maps.items() if k != space} for maps in at.maps))
    assert adjunction(view, still).holds is False  # a positional encoding that stays breaks it
    graph = attention_graph(4, [AttentionLayer(2, 3)], output=4)
    bare = adjunction(*placed(Weights.unflatten(graph, normal(1, graph.numel)), SHIFT, (6, 4), "invariant"))
    assert (bare.equation, bare.holds) == (6, True)


@pytest.mark.parametrize(
    ("build", "shape", "output"), [(perceptron, (3, 4, 4), "same"), (pictures, (3, 8, 8), "invariant")]
)
def test_a_group_in_the_wrong_place_is_noticed(build, shape, output) -> None:
    """Without the action on what reads inputs, or on taps, the two sides differ."""
    view, at = placed(build(), "mirror", shape, output)
    moved = [name for name in at.maps[1] if name not in ("output", "input" if build is pictures else "output")]
    bare = replace(at, maps=tuple({k: v for k, v in maps.items() if k not in moved} for maps in at.maps))
    found = adjunction(view, bare)
    assert found.holds is False
    assert max(found.errors.values()) > 0.1
    assert " fails, errors by layer: " in str(found)


def test_what_a_stride_hides_is_not_measured() -> None:
    found = adjunction(*placed(pictures(stride=2), "mirror", (3, 8, 8), "invariant"))
    assert found.holds is None
    assert len(found.errors) == 1
    assert "holds where it was measured" in str(found)
    assert "not measured at" in found.reason
    assert "stride=2,2" in found.reason


def test_where_nothing_is_measured_the_reason_is_said() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    weights = convert(net.double(), normal(2, 3, 8, 8)).weights
    found = adjunction(*placed(weights, "mirror", (3, 8, 8), "invariant"))
    assert (found.holds, found.errors) == (None, {})
    assert str(found).startswith("Adjunction not measured: at x4, x5, behind x1 = conv2d(")


def test_it_is_printed_with_an_analysis() -> None:
    found = find_actions(perceptron(), "mirror", (3, 4, 4), decoys=0)
    assert found.adjunction.holds
    assert found.to_dict()["adjunction"]["equation"] == 5
    assert str(found.adjunction).startswith("Adjunction (5) holds, errors by layer: x1 ")
