"""DWSNets as published: the paper's numbers of parameters, what they answer, and that it follows the group."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.messages import FAMILIES
from graphws.models import PublishedDWSNet
from graphws.operations import mlp_graph
from graphws.testing import LayerTests, check_equivariance, random_weights
from tests.layers.dense import perturb

NETWORK = mlp_graph([3, 4, 3, 2])
OPTIONS: dict[str, dict[str, object]] = {
    "as it comes": {},
    "one layer": {"layers": 1},
    "deepsets": {"set_layer": "deepsets"},
    "mean": {"pooling": "mean"},
    "neighbours": {"blocks": dict.fromkeys(FAMILIES, "diagonal")},
    "weights to weights": {"blocks": {**dict.fromkeys(FAMILIES, "none"), "weight_to_weight": "full"}},
    "no norm": {"norm": "none"},
    "reduce": {"reduce": {"input": 2}},
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(graph: NetworkGraph, outputs: int | None, **options: object) -> int:
    with torch.device("meta"):
        model = PublishedDWSNet(graph, outputs, **options)  # type: ignore[arg-type]
    return sum(p.numel() for p in model.parameters())


def blocks(*on: str) -> dict[str, str]:
    return {family: "full" if family in on else "none" for family in FAMILIES}


class TestPublishedDWSNet(LayerTests):
    batch = 4

    @pytest.fixture(
        autouse=True,
        params=[
            pytest.param((name, outputs, train), marks=() if train and name == "as it comes" else pytest.mark.slow)
            for name in OPTIONS
            for outputs in (3, None)
            for train in (True, False)
        ],
        ids=str,
    )  # fmt: skip
    def case(self, request: pytest.FixtureRequest) -> None:
        self.graph = NETWORK
        name, self.outputs, self.training = request.param
        self.options = OPTIONS[name]

    def make_layer(self) -> PublishedDWSNet:
        settings: dict[str, object] = {"layers": 3, "channels": 4, "heads": 2, **self.options}
        model = PublishedDWSNet(NETWORK, self.outputs, **settings)  # type: ignore[arg-type]
        for seed in range(2):
            model(random_weights(NETWORK, 8, rng(seed), torch.float32))
        return model.train(self.training)


def test_the_papers_numbers_of_parameters() -> None:
    """MNIST INRs, sine waves, and the dense representation with its embedding of 16 (its projection is the loss's)."""
    assert count(mlp_graph([2, 32, 32, 1]), 10) == 552_650
    assert count(mlp_graph([1, 32, 32, 1]), 1, layers=3, channels=8) == 15_057
    assert count(mlp_graph([1, 32, 32, 1]), 16, channels=16) == 103_600


def test_the_ablation_of_blocks() -> None:
    """Table 10 of paper D: 65K, 235K, 300K, 460K."""
    mnist = mlp_graph([2, 32, 32, 1])
    ends = 1_536 + 2_250  # norms and head
    assert count(mnist, 10, blocks=blocks("bias_to_bias")) == 66_304 + ends
    assert count(mnist, 10, blocks=blocks("weight_to_weight")) == 236_928 + ends
    assert count(mnist, 10, blocks=blocks("weight_to_weight", "bias_to_bias")) == 303_232 + ends
    assert count(mnist, 10, blocks=dict.fromkeys(FAMILIES, "diagonal")) == 458_794
    assert count(mnist, 10, set_layer="deepsets") == 320_586


def test_networks_for_networks_of_cifar() -> None:
    """4.29 million in paper D, whose code ties the ten outputs of some maps to the last weight; none are tied here.

    With one output nothing can be tied, and the number is that of paper D's code.
    """
    cifar = mlp_graph([3072, 64, 64, 64, 64, 10])
    assert count(cifar, None, channels=16, reduce={"input": 16}) == 4_438_190
    alone = mlp_graph([3072, 64, 64, 64, 64, 1])
    assert count(alone, None, channels=16, reduce={"input": 16}) == 2_921_600


def test_several_networks_are_the_answer_of_as_many_channels() -> None:
    torch.manual_seed(0)
    model = PublishedDWSNet(NETWORK, None, layers=2, channels=4, heads=2, networks=3).double()
    perturb(model, rng())
    weights = random_weights(NETWORK, 5, rng(1))
    answer = model(weights)
    assert isinstance(answer, Weights)
    assert (answer.batch, answer.graph) == (15, NETWORK)


def test_what_no_pair_reaches_is_zero() -> None:
    model = PublishedDWSNet(NETWORK, None, layers=2, channels=4, heads=2, blocks=blocks("weight_to_weight"))
    answer = model(random_weights(NETWORK, 5, rng(1), torch.float32))
    assert all(bool(x.eq(0).all()) == name.startswith("b") for name, x in answer.items())  # type: ignore[union-attr]


def test_dropout_is_active_in_training_and_off_in_evaluation() -> None:
    weights = random_weights(NETWORK, 4, rng())
    torch.manual_seed(0)
    model = PublishedDWSNet(NETWORK, 3, layers=2, channels=4, heads=2, dropout=0.5, norm="none").double()
    perturb(model, rng())
    assert not torch.equal(model(weights), model(weights))
    model.eval()
    assert torch.equal(model(weights), model(weights))
    check_equivariance(model, NETWORK, rng())


@torch.no_grad()
def test_initial_scale_is_of_every_layer() -> None:
    torch.manual_seed(0)
    model = PublishedDWSNet(NETWORK, None, layers=3, channels=8, init_scale=1e-3)
    maps = [p for name, p in model.layers.named_parameters() if not name.endswith("offset") and "offsets" not in name]
    assert all(float(p.abs().max()) < 2e-2 for p in maps)


def test_bfloat16_by_autocast() -> None:
    torch.manual_seed(0)
    model = PublishedDWSNet(NETWORK, 3, layers=3, channels=8, heads=4)
    weights = random_weights(NETWORK, 6, rng(), torch.float32)
    exact = model(weights)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(weights)
    rough.float().square().sum().backward()  # type: ignore[union-attr]
    error = (rough.detach().float() - exact.detach()).norm() / exact.detach().norm()  # type: ignore[union-attr]
    assert 0 < float(error) < 0.1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layers": 0}, "a DWSNet has at least one layer and one network, got 0 and 1"),
        ({"norm": "layer"}, "norm must be one of batch, none; got 'layer'"),
        ({"channels": 6}, "set attention: 8 heads do not divide 18 channels"),
        ({"reduce": {"hidden1": 2}}, "reduce: 'hidden1' is a set space; only free spaces can be reduced"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        PublishedDWSNet(NETWORK, 3, **options)  # type: ignore[arg-type]
    assert str(caught.value) == text
