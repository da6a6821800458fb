"""DWSNets under every option: what they answer, and that it follows the group."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.layers import Message
from graphws.messages import FAMILIES
from graphws.models import DWSNet, perceptron
from graphws.models.readout import MakeReadout
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS, learned_pooling
from graphws.testing import LayerTests, check_equivariance, random_weights
from tests.layers.cases import GRAPHS
from tests.layers.dense import perturb

NETWORK = mlp_graph([5, 4, 3, 4])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(outputs: int | MakeReadout | None, **options: object) -> DWSNet:
    """A small model with noise on all its parameters, whose norms have seen a few batches."""
    torch.manual_seed(0)
    settings: dict[str, object] = {"layers": 3, "channels": 4, **options}
    model = DWSNet(NETWORK, outputs, **settings).double()  # type: ignore[arg-type]
    perturb(model, rng(7))
    for seed in range(2):
        model(random_weights(NETWORK, 8, rng(seed)))
    return model


OPTIONS: dict[str, dict[str, object]] = {
    "as it comes": {},
    "one layer": {"layers": 1},
    **{pool: {"pooling": pool, "heads": 2 if learned_pooling(pool) else 1} for pool in POOLINGS},
    "attention, one head": {"pooling": "attention", "heads": 1},
    "diagonal": {"blocks": dict.fromkeys(FAMILIES, "diagonal")},
    "no bias to bias": {"blocks": {"bias_to_bias": "none"}},
    "weights only": {"blocks": {"weight_to_bias": "none", "bias_to_weight": "none", "bias_to_bias": "diagonal"}},
    "messages": {"messages": [Message(("weight",), "edge", ("weight",)), Message(pool="max"), Message(via="network")]},
    "layer norm": {"norm": "layer"},
    "no norm": {"norm": "none"},
    "gelu": {"activation": "gelu"},
    "residual": {"residual": True, "layers": 4},
    "no bias": {"bias": False},
    "reduce": {"reduce": {"input": 2, "output": 2}},
    "share": {"share": "role"},
    "share and reduce": {"share": "role", "reduce": {"input": 2}},
    "init scale": {"init_scale": 1e-3},
}


PLAIN = ("as it comes", "layer norm", "no norm")
"""Options that are tried in evaluation mode, too, where only norms differ; the others when there is time."""


class TestDWSNet(LayerTests):
    batch = 4

    @pytest.fixture(
        autouse=True,
        params=[
            pytest.param((name, outputs, train), marks=() if train or name in PLAIN else pytest.mark.slow)
            for name in OPTIONS
            for outputs in (3, None)
            for train in (True, False)
        ],
        ids=str,
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.graph = NETWORK
        name, self.outputs, self.training = request.param
        self.options = OPTIONS[name]

    def make_layer(self) -> DWSNet:
        settings: dict[str, object] = {"layers": 3, "channels": 4, **self.options}
        model = DWSNet(NETWORK, self.outputs, **settings)  # type: ignore[arg-type]
        for seed in range(2):
            model(random_weights(NETWORK, 8, rng(seed), torch.float32))
        return model.train(self.training)


def test_hidden_layers_of_the_head() -> None:
    model = model_of(lambda width: perceptron(width, 3, (8, 6), 0.5)).eval()
    check_equivariance(model, NETWORK, rng())
    assert model(random_weights(NETWORK, 5, rng())).shape == (5, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name", ["mlp 2-3-3", "mlp 2-3", "convolution", "residual 3", "heads 3x2", "head pairs", "nest"]
)
def test_other_graphs(name: str) -> None:
    graph = GRAPHS[name]
    for outputs in (2, None):
        model = DWSNet(graph, outputs, layers=2, channels=4).double()
        perturb(model, rng())
        if graph.log10_order() > 0:
            check_equivariance(model, graph, rng(), draws=2)
        answer = model(random_weights(graph, 3, rng()))
        assert (answer.flatten().shape[1] if isinstance(answer, Weights) else answer.shape[1]) == (  # type: ignore[union-attr]
            graph.numel if outputs is None else 2
        )


def test_dropout_is_active_in_training_and_off_in_evaluation() -> None:
    weights = random_weights(NETWORK, 4, rng())
    model = model_of(3, dropout=0.5, norm="none")
    assert not torch.equal(model(weights), model(weights))  # type: ignore[arg-type]
    model.eval()
    assert torch.equal(model(weights), model(weights))  # type: ignore[arg-type]
    check_equivariance(model, NETWORK, rng())


def test_dropout_keeps_the_mean() -> None:
    model = model_of(3, dropout=0.25, layers=1, pooling="mean")
    one = random_weights(NETWORK, 1, rng())
    many = one.map(lambda x: x.expand(4000, *x.shape[1:]).contiguous())
    with torch.no_grad():
        dropped, whole = model(many), model.eval()(one)
    assert isinstance(dropped, torch.Tensor)
    assert float(((dropped.mean(0) - whole) / dropped.std(0)).abs().max()) < 4 / 4000**0.5


def test_networks_of_several_depths_in_one_batch() -> None:
    graphs = [mlp_graph([2, *hidden, 3]) for hidden in ([4], [3, 5], [4, 3, 4])]
    for outputs in (3, None):
        model = DWSNet(graphs, outputs, layers=3, channels=4, share="role").double()
        perturb(model, rng())
        for training in (True, False):
            check_equivariance(model.train(training), graphs, rng(), draws=2)
    answer = DWSNet(graphs, 3, layers=2, channels=4, share="role").double()(
        [random_weights(g, 2, rng()) for g in graphs]
    )
    assert answer.shape == (6, 3)  # type: ignore[union-attr]


def test_in_evaluation_a_mixed_batch_answers_like_single_ones() -> None:
    graphs = [mlp_graph([2, *hidden, 3]) for hidden in ([4], [3, 5])]
    model = DWSNet(graphs, 3, layers=2, channels=4, share="role").double()
    batches = [random_weights(g, 3, rng(k)) for k, g in enumerate(graphs)]
    model(batches)
    model.eval()
    together = model(batches)
    torch.testing.assert_close(together, torch.cat([model([batch]) for batch in batches]))  # type: ignore[arg-type]


def test_mixed_inputs_of_different_width_are_reduced_to_one() -> None:
    graphs = [mlp_graph([7, 4, 3]), mlp_graph([5, 3, 4, 3])]
    model = DWSNet(graphs, None, layers=2, channels=4, share="role", reduce={"input": 2}).double()
    check_equivariance(model, graphs, rng(), draws=2)


def test_init_scale_makes_the_answer_small_and_nothing_else() -> None:
    torch.manual_seed(1)
    plain = DWSNet(NETWORK, None, layers=2, channels=4)
    torch.manual_seed(1)
    small = DWSNet(NETWORK, None, layers=2, channels=4, init_scale=1e-3)
    weights = random_weights(NETWORK, 4, rng(), torch.float32)
    torch.testing.assert_close(small(weights).flatten(), 1e-3 * plain(weights).flatten())  # type: ignore[union-attr]
    for name, x in small.state_dict().items():
        factor = 1e-3 if name.startswith("layers.1.matrices") else 1
        torch.testing.assert_close(x, factor * plain.state_dict()[name])


def test_it_is_the_same_after_saving_and_loading() -> None:
    model = model_of(3).eval()
    other = DWSNet(NETWORK, 3, layers=3, channels=4).double()
    other.load_state_dict(model.state_dict())
    weights = random_weights(NETWORK, 4, rng())
    assert torch.equal(model(weights), other.eval()(weights))  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_gradients_reach_every_parameter(pooling: str) -> None:
    model = model_of(3, pooling=pooling)
    model(random_weights(NETWORK, 8, rng())).square().sum().backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_the_spread_of_features_survives_depth() -> None:
    graph = mlp_graph([2, 32, 32, 1])
    for pooling in ("mean", "max"):
        torch.manual_seed(0)
        model = DWSNet(graph, 4, layers=5, channels=16, pooling=pooling, norm="none").double()  # type: ignore[arg-type]
        out = model(random_weights(graph, 16, rng()))
        assert 0.02 < float(out.detach().std()) < 50, pooling  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layers": 0}, "a DWSNet needs at least one layer, got 0"),
        ({"activation": "rleu"}, "unknown activation 'rleu'; did you mean 'relu'?"),
        ({"norm": "instance"}, "norm must be one of batch, layer, none; got 'instance'"),
        ({"reduce": {"input": 9}}, "reduce: 'input' has 5 entries, a reduction to 9 is wider than its axis"),
        ({"pooling": "attention", "heads": 3}, "attention pooling: 3 heads do not divide 4 channels"),
        ({"share": "layer"}, "share must be 'none' (one graph) or 'role'; got 'layer' for 1 graphs"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        DWSNet(NETWORK, 3, **{"layers": 2, "channels": 4, **options})  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_a_sum_starts_as_large_as_a_mean() -> None:
    graph = mlp_graph([2, 32, 32, 1])
    weights = random_weights(graph, 16, torch.Generator().manual_seed(0), dtype=torch.float32)
    deviation = {}
    for pooling in ("mean", "sum"):
        torch.manual_seed(0)
        answers = DWSNet(graph, 5, 3, 8, pooling=pooling, norm="none")(weights).detach()
        deviation[pooling] = float(answers.std())
    assert deviation["sum"] == pytest.approx(deviation["mean"], rel=1e-3)
