"""Heads of several networks: the answer is the mean of their functions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.models import DWSNet, FlatMLP
from graphws.operations import forward, mlp_graph
from graphws.operations.query_points import regular_grid
from graphws.operations.sampling import random_weights
from graphws.runtime.scaling import Scale
from graphws.spec import Augment, DwsnetModel, EquivariantHead, MlpModel, WeightsTask
from graphws.tasks import Denoising, FunctionDenoising, TaskData
from graphws.zoo import orbit_statistics

GRAPH = mlp_graph([2, 4, 3, 1], activation="tanh")
LARGE = mlp_graph([7, 4, 6], activation="tanh")
HEAD = EquivariantHead(kind="equivariant", networks=3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("graph", [GRAPH, LARGE])
@pytest.mark.parametrize("reduce", ["auto", "none"])
def test_every_answer_of_a_dwsnet_follows_the_group(graph: object, reduce: str) -> None:
    used = GRAPH if graph is GRAPH else LARGE
    model = DWSNet(used, None, 2, 6, reduce=reduce, networks=3).double().eval()
    weights = random_weights(used, 4, rng())
    element = used.group().random(rng(1), batch=4, dtype=torch.float64)
    found = model(weights)
    assert isinstance(found, Weights)
    assert found.batch == 12
    moved = model(element.act(weights))
    for k in range(3):
        answer = found.select(torch.arange(4) * 3 + k)
        torch.testing.assert_close(moved.select(torch.arange(4) * 3 + k).flatten(), element.act(answer).flatten())
    assert (found.flatten()[0] - found.flatten()[1]).abs().max() > 1e-6  # they are not copies


def test_one_answer_is_as_before_and_several_have_so_many_channels() -> None:
    torch.manual_seed(0)
    one = DWSNet(GRAPH, None, 2, 6)
    torch.manual_seed(0)
    same = DWSNet(GRAPH, None, 2, 6, networks=1)
    weights = random_weights(GRAPH, 4, rng(), torch.float32)
    torch.testing.assert_close(one(weights).flatten(), same(weights).flatten())  # type: ignore[union-attr]
    assert DWSNet(GRAPH, None, 2, 6, networks=3).layers[-1].out_channels == 3 * one.layers[-1].out_channels
    assert FlatMLP(GRAPH, None, 2, 8, networks=3)(weights).batch == 12  # type: ignore[union-attr]


def test_sections_count_them() -> None:
    single = EquivariantHead(kind="equivariant")
    mlp = MlpModel(kind="mlp", layers=1, width=10)
    assert mlp.parameters(GRAPH, HEAD) == mlp.parameters(GRAPH, single) + 2 * GRAPH.numel * 11
    dwsnet = DwsnetModel(kind="dwsnet", layers=2, channels=4)
    assert dwsnet.build(GRAPH, HEAD)(random_weights(GRAPH, 2, rng(), torch.float32)).batch == 6
    [*_, last] = dwsnet.explanations([GRAPH], HEAD)
    total = sum(one.parameters for one in dwsnet.explanations([GRAPH], HEAD))
    assert total == sum(p.numel() for p in dwsnet.build(GRAPH, HEAD).layers.parameters())  # type: ignore[union-attr]
    assert last.parameters > dwsnet.explanations([GRAPH], single)[-1].parameters


@pytest.mark.parametrize("how", ["normalised", "unit", "raw"])
def test_functions_are_compared_by_the_mean_of_the_outputs(how: str) -> None:
    weights = random_weights(GRAPH, 5, rng())
    scale = Scale(orbit_statistics(GRAPH, [weights]), how)  # type: ignore[arg-type]
    data = TaskData(torch.zeros(5, 0), torch.arange(5), scale.deviation(GRAPH), GRAPH, scale.restore)
    task = WeightsTask(kind="weights", points=9).build(HEAD, Augment(noise=0.3), data)
    assert isinstance(task, FunctionDenoising)
    noisy, clean = task.prepare(scale.apply(weights), torch.zeros(5, 0), rng(2))
    corrections = torch.randn(15, GRAPH.numel, generator=rng(3), dtype=torch.float64)
    outputs = task.apply(lambda given: Weights.unflatten(GRAPH, corrections), noisy)
    assert outputs.shape == (5, 3 * GRAPH.numel)
    wanted = []
    assert isinstance(noisy, Weights)
    for k in range(5):  # one network at a time
        flat = noisy.flatten()[k] + scale.deviation(GRAPH).double() * corrections[3 * k : 3 * k + 3]
        answers = [scale.restore(Weights.unflatten(GRAPH, one[None])) for one in flat]
        points = regular_grid(9).double()
        mean = sum(forward(GRAPH, one, points) for one in answers) / 3  # type: ignore[arg-type]
        truth = forward(GRAPH, weights.select([k]), points)
        assert isinstance(mean, Tensor)
        wanted.append((mean - truth).square().mean())
    torch.testing.assert_close(task.losses(outputs, clean), torch.stack(wanted))
    metrics = task.metrics()
    task.update(metrics, outputs, clean)
    assert metrics.compute()["function_mse"] == pytest.approx(float(torch.stack(wanted).mean()), rel=1e-4)
    perfect = (clean - noisy.flatten()) / scale.deviation(GRAPH).double()
    done = task.apply(lambda given: Weights.unflatten(GRAPH, perfect.repeat_interleave(3, 0)), noisy)
    assert float(task.losses(done, clean).max()) < 1e-12
    assert float(task.losses(outputs, clean).min()) > 1e-6


def test_one_network_is_judged_by_its_weights() -> None:
    data = TaskData(torch.zeros(5, 0), torch.arange(5), torch.ones(GRAPH.numel))
    task = WeightsTask(kind="weights").build(EquivariantHead(kind="equivariant"), Augment(noise=0.3), data)
    assert type(task) is Denoising


def test_no_network_at_all_and_points_off_the_grid_are_refused() -> None:
    for build in (lambda: DWSNet(GRAPH, None, networks=0), lambda: FlatMLP(GRAPH, None, networks=0)):
        with pytest.raises(UsageError, match="returns at least one network, got 0"):
            build()
    with pytest.raises(UsageError, match="10 points are no square grid; take 9 or 16"):
        FunctionDenoising(torch.ones(GRAPH.numel), 0.1, 0.0, GRAPH, lambda x: x, 2, 10)
