"""Random views of networks, and how what is learned from them is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graphws.errors import DataError
from graphws.graph import Mixed, NetworkGraph, Parameter, Space, Weights
from graphws.models import Represented
from graphws.operations import mlp_graph
from graphws.runtime.scaling import Scale
from graphws.spec import InvariantHead, MlpModel, Preprocess, parse_spec
from graphws.tasks import Answers, Representation, probed_targets
from graphws.tasks.contrastive import nt_xent
from graphws.tasks.embedding_plane import plane
from graphws.tasks.representation import Positives
from graphws.zoo import orbit_statistics
from tests.runtime import mixed

GRAPH = mlp_graph([2, 30, 3])
NAMES = ("frequency", "amplitude")


def _networks(count: int = 400, graph: NetworkGraph = GRAPH, seed: int = 0) -> Weights:
    draw = torch.Generator().manual_seed(seed)
    return Weights.unflatten(graph, 3 * torch.randn(count, graph.numel, generator=draw, dtype=torch.float64) + 1)


def _scale(weights: Weights, normalize: bool = True) -> Scale:
    statistics = orbit_statistics(weights.graph, [weights])
    return Scale.of(MlpModel(kind="mlp"), Preprocess(normalize=normalize), statistics)


def _task(scale: Scale, noise: float = 0.2, masking: float = 0.5, positives: Positives = "views") -> Representation:
    return Representation(6, 4, NAMES, scale, noise, masking, 0.1, positives)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Reader(nn.Module):
    """A linear map of the flat weights, of one graph or of each of several."""

    def __init__(self, graphs: tuple[NetworkGraph, ...] = (GRAPH,)) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(graph.numel, 6, dtype=torch.float64) for graph in graphs)

    def forward(self, weights: Mixed) -> Tensor:
        """Six numbers a network."""
        parts = weights if isinstance(weights, list) else [weights]
        return torch.cat([one(part.flatten()) for one, part in zip(self.maps, parts, strict=True)])


@pytest.mark.parametrize("normalize", [True, False])
def test_views_have_noise_in_units_of_the_orbit_and_then_a_mask(normalize: bool) -> None:
    raw = _networks()
    scale = _scale(raw, normalize)
    seen, task = scale.apply(raw), _task(scale)
    drawn = task.pairs(seen, _rng())
    assert drawn.batch == 800
    for name, tensor in drawn.items():
        spread = scale.spread(GRAPH, name, tensor)[1]
        kept = tensor != 0
        share = kept.double().mean()
        assert float(share) == pytest.approx(0.5, abs=4 * 0.5 / tensor.numel() ** 0.5)
        noise = ((tensor - seen[name].repeat_interleave(2, 0)) / spread)[kept]
        assert float(noise.std()) == pytest.approx(0.2, rel=5 / float(kept.sum()) ** 0.5)
        assert abs(float(noise.mean())) < 5 * 0.2 / float(kept.sum()) ** 0.5
    two = drawn["W1"].unflatten(0, (-1, 2))
    assert not torch.equal(two[:, 0], two[:, 1])
    both = ((two[:, 0] != 0) & (two[:, 1] != 0)).double().mean()
    assert float(both) == pytest.approx(0.25, abs=0.02), "masks of two views are independent"


def test_the_generator_alone_fixes_the_views() -> None:
    seen = _networks(5)
    task = _task(_scale(seen))
    one, again, other = (task.pairs(seen, _rng(seed)).flatten() for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_noise_and_mask_both_rows_are_the_network() -> None:
    seen = _networks(5)
    drawn = _task(_scale(seen), 0.0, 0.0).pairs(seen, _rng()).flatten()
    assert torch.equal(drawn, seen.flatten().repeat_interleave(2, 0))


def test_the_original_may_stand_in_for_a_view() -> None:
    seen = _networks(5)
    drawn = _task(_scale(seen), positives="original").pairs(seen, _rng()).flatten()
    assert torch.equal(drawn[::2], seen.flatten())
    assert float((drawn[1::2] == 0).double().mean()) == pytest.approx(0.5, abs=0.1)


def test_buffers_stay() -> None:
    parameters = (Parameter("weight", "n"), Parameter("var", "n", kind="buffer"))  # type: ignore[arg-type]
    graph = NetworkGraph((Space("n", 4),), parameters)
    weights = Weights(graph, {"weight": torch.randn(6, 4), "var": torch.rand(6, 4) + 1})
    drawn = _task(_scale(weights, False)).pairs(weights, _rng())
    assert torch.equal(drawn["var"], weights["var"].repeat_interleave(2, 0))
    assert not torch.equal(drawn["weight"], weights["weight"].repeat_interleave(2, 0))


def test_outputs_hold_views_representation_and_probe() -> None:
    raw = _networks(30)
    scale = _scale(raw)
    seen, task, targets = scale.apply(raw), _task(scale), torch.rand(30, 2)
    model = Represented(Reader(), 6, 2, (8, 4)).double().eval()
    task.settle(model, iter([(seen, targets)]))
    found, wanted = task.ask(model, seen, targets, _rng(), training=False)
    assert found.shape == (30, 2 * 4 + 6 + 2)
    assert wanted is targets
    torch.testing.assert_close(task.predictions(found), model(seen).float())
    torch.testing.assert_close(task.told(found), model.probe(model(seen)))
    torch.testing.assert_close(task.answer(task.apply(model, seen)), model(seen).float())
    views = model.projection(model(task.pairs(seen, _rng()))).unflatten(0, (-1, 2))
    torch.testing.assert_close(task.losses(found, targets), nt_xent(views, 0.1))
    torch.testing.assert_close(task.joint_losses(found, targets), nt_xent(views, 0.1))
    learned, _ = task.ask(model, seen, targets, _rng(), training=True)
    torch.testing.assert_close(learned, found[:, :8])
    columns = task.columns(task.apply(model, seen), None, False)
    assert list(columns) == [f"embedding_{k}" for k in range(6)] + list(NAMES)
    assert columns["amplitude"] == pytest.approx(task.told(found)[:, 1].tolist())


def test_views_of_networks_of_several_graphs_keep_their_order() -> None:
    graphs = (GRAPH, mlp_graph([2, 5, 3]))
    weights: Mixed = [_networks(4, graphs[0]), _networks(3, graphs[1], seed=1)]
    scale = Scale(orbit_statistics(graphs, weights), "normalised")
    task, model = Representation(6, 6, NAMES, scale, 1e-6, 0.0), Represented(Reader(graphs), 6, 2).eval()
    outputs, _ = task.ask(model, weights, torch.zeros(7, 2), _rng(), training=False)
    views, embeddings = outputs[:, :12].unflatten(1, (2, 6)), outputs[:, 12:18]
    for place in (0, 1):
        torch.testing.assert_close(views[:, place], embeddings, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(views[:, 0].roll(1, 0), embeddings, atol=1e-3)


def test_the_probe_is_scored_in_the_units_of_each_target() -> None:
    task, metrics = _task(_scale(_networks(4))), _task(_scale(_networks(4))).metrics()
    told, targets = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), torch.tensor([[1.0, 12.0], [2, 20], [5, 30]])
    outputs = torch.cat([torch.rand(3, 6), told], dim=1)
    for part in (slice(0, 2), slice(2, 3)):
        task.update(metrics, outputs[part], targets[part])
    found = {name: float(value) for name, value in metrics.compute().items()}
    each = (told - targets).square().mean(0)
    r2 = 1 - (told - targets).square().sum(0) / (targets - targets.mean(0)).square().sum(0)
    wanted = {"probe_mse": each.mean(), "probe_r2": r2.mean()}
    wanted |= {"probe_mse_frequency": each[0], "probe_mse_amplitude": each[1]}
    assert found == pytest.approx({name: float(value) for name, value in wanted.items()})
    dotted = Representation(6, 6, ("fit.psnr", "a"), None, 0.1, 0.0).metrics()
    assert set(dotted) == {"probe_mse", "probe_r2", "probe_mse_fit_psnr", "probe_mse_a"}
    alone = Representation(6, 6, ("frequency",), None, 0.1, 0.0).metrics()
    assert set(alone) == {"probe_mse", "probe_r2"}


def test_a_target_that_never_varies_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        probed_targets(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), NAMES)
    assert str(caught.value) == (
        "the target 'amplitude' is the same for every training network: a probe has nothing to tell"
    )


def test_points_of_the_plane_keep_neighbours_and_are_the_same_again() -> None:
    draw = np.random.default_rng(0)
    embeddings = draw.normal(size=(60, 8)) + 40 * np.repeat(np.eye(8)[:2], 30, axis=0)
    embeddings[7, 3] = np.nan
    points, which = plane(embeddings)
    assert which.tolist() == [k for k in range(60) if k != 7]
    assert np.array_equal(points, plane(embeddings)[0])
    nearest = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(59)
    assert np.array_equal(which[nearest.argmin(1)] < 30, which < 30)
    assert plane(np.ones((9, 5)))[0].tolist() == [[0.0, 0.0]] * 9
    assert plane(np.ones((3, 5)))[0].shape == (0, 2)


def test_the_report_shows_every_model_in_the_colours_of_every_target(tmp_path: Path) -> None:
    task = _task(_scale(_networks(4)))
    targets = torch.rand(20, 2)
    answers = {name: Answers({}, torch.randn(20, 6), targets, torch.arange(20)) for name in ("dwsnet", "mlp")}
    caption, figure = task.figures(answers, mixed.make(tmp_path / "zoo"))["embeddings"]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["dwsnet", "mlp", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes[4:]] == list(NAMES)
    drawn = figure.axes[3].collections[0].get_array()
    assert drawn is not None
    np.testing.assert_allclose(np.asarray(drawn), targets[:, 1].numpy())
    assert "t-SNE" in caption


def test_a_spec_completes_its_model_with_projection_and_probe() -> None:
    spec = parse_spec(
        "graphws: 1\ntask: {kind: representation, target: [a, b], projection: [5, 3]}\naugment: {noise: 1}"
    )
    assert spec.task is not None
    head = InvariantHead(kind="invariant", outputs=6)
    model = spec.task.completed(Reader(), head)
    assert isinstance(model, Represented)
    assert model.double().eval().project(_networks(2)).shape == (2, 3)
    assert set(dict(model.named_buffers())) >= {"probe.weight", "probe.bias"}
    assert not [name for name, _ in model.named_parameters() if name.startswith("probe")]
