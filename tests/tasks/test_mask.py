"""Learning to prune: masks, their gradients, and layers that are neither emptied nor left whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from graphws.graph import Weights
from graphws.models import DWSNet, FlatMLP, Unchanged
from graphws.operations import forward, mlp_graph
from graphws.operations.query_points import regular_grid
from graphws.operations.sampling import random_weights
from graphws.tasks import Masking
from graphws.tasks.mask import largest, normal_scores
from graphws.tasks.mask_gradients import EqualGradients, StraightThrough

GRAPH = mlp_graph([2, 12, 10, 1], activation="tanh")
SCALE, SHIFT = 2.0, 0.3


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def restore(weights: Weights) -> Weights:
    return weights.map(lambda x: x * SCALE + SHIFT)


def task(**options: Any) -> Masking:
    return Masking(GRAPH, restore, **{"sparsity": 0.1, "points": 25, **options})


def weights(count: int = 4) -> Weights:
    return random_weights(GRAPH, count, rng(), torch.float64)


def logits(scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(4, GRAPH.numel, generator=rng(3), dtype=torch.float64)


def test_the_loss_is_the_error_of_the_masked_network_and_what_it_keeps() -> None:
    """Against networks of torch, one by one; pruned in the units in which they run, not in those the model sees."""
    found, own, outputs = task(), weights(), logits()
    _, targets = found.prepare(own, torch.zeros(4, 0), rng())
    losses = found.losses(outputs, targets)
    points = regular_grid(25).double()
    for k in range(4):
        whole = restore(own.select([k]))
        pruned = Weights.unflatten(GRAPH, whole.flatten() * (outputs[k : k + 1] > 0))
        values = [forward(GRAPH, each, points) for each in (whole, pruned)]
        assert all(isinstance(x, torch.Tensor) for x in values)
        error = (values[0] - values[1]).square().mean()  # type: ignore[operator]
        torch.testing.assert_close(losses[k], error + 0.1 * (outputs[k] > 0).double().mean())


def test_the_gradient_passes_straight_through() -> None:
    soft = torch.rand(3, 5, generator=rng(), dtype=torch.float64).requires_grad_()
    hard = (soft > 0.5).double()
    found = StraightThrough.apply(soft, hard)
    assert torch.equal(found, hard)
    slope = torch.randn(3, 5, generator=rng(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((found * slope).sum(), soft)
    assert torch.equal(gradient, slope)
    (plain,) = torch.autograd.grad((soft * slope).sum(), soft)
    assert torch.equal(plain, gradient)


def test_hard_and_soft_masks_have_the_gradient_of_the_sigmoid() -> None:
    """The hard loss is linear in the mask where only the kept share counts, so both gradients are one."""
    _, targets = task().prepare(weights(), torch.zeros(4, 0), rng())
    targets = torch.zeros_like(targets) + torch.tensor([0.0, 0.5], dtype=torch.float64)[:, None]
    found = {}
    for method in ("hard", "soft"):
        outputs = logits().requires_grad_()
        shift = Masking(GRAPH, lambda w: w, sparsity=1.0, method=method, points=25)  # all weights 0: no error
        (found[method],) = torch.autograd.grad(shift.losses(outputs, targets).sum(), outputs)
    wanted = logits().sigmoid() * (1 - logits().sigmoid()) / GRAPH.numel
    torch.testing.assert_close(found["hard"], wanted)
    torch.testing.assert_close(found["soft"], wanted)


def test_equal_gradients_have_one_size_in_every_part_and_their_directions() -> None:
    rows = torch.randn(3, 9, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(3, 9, generator=rng(), dtype=torch.float64) * torch.tensor([1e-3] * 4 + [1.0] * 3 + [0.0] * 2)
    found = EqualGradients.apply(rows, [4, 3, 2])
    assert torch.equal(found, rows)
    (gradient,) = torch.autograd.grad((found * slope).sum(), rows)
    sizes = [part.square().mean(1).sqrt() for part in gradient.split([4, 3, 2], dim=1)]
    torch.testing.assert_close(sizes[0], sizes[1])
    torch.testing.assert_close(sizes[0], slope.square().mean(1).sqrt())
    assert not sizes[2].any()
    assert (gradient * slope >= 0).all()


@pytest.mark.parametrize("prior", ["none", "magnitude"])
@pytest.mark.parametrize("standard", [True, False])
def test_masks_relabel_with_the_network(prior: str, standard: bool) -> None:
    """For any element of the group; a perceptron on the flat weights does not follow."""
    found, own = task(prior=prior, standard=standard, start=0.6), weights()
    torch.manual_seed(0)
    follows, does_not = DWSNet(GRAPH, None, 2, 4).double().eval(), FlatMLP(GRAPH, None, 2, 8).double().eval()
    for seed in range(3):
        element = GRAPH.group().random(rng(seed), batch=4, dtype=torch.float64)
        moved = element.act(own)
        for model, follow in ((follows, True), (does_not, False)):
            wanted = element.act(Weights.unflatten(GRAPH, found.apply(model, own))).flatten()
            error = float((found.apply(model, moved) - wanted).detach().abs().max())
            assert error < 1e-9 if follow else error > 1e-3


def test_an_untrained_head_keeps_the_share_of_the_start_in_every_parameter() -> None:
    """With standard logits.  Raw ones of a head that starts small go together: all stay, or all go."""
    graph = mlp_graph([2, 64, 64, 1], activation="tanh")
    own = random_weights(graph, 6, rng(), torch.float64)
    torch.manual_seed(0)
    model = DWSNet(graph, None, 2, 8, init_scale=1e-3).double().eval()
    for prior in ("none", "magnitude"):
        for start in (0.5, 0.9):
            found = Masking(graph, restore, 0.1, start=start, prior=prior)
            shares = found.shares(found.predictions(found.apply(model, own)))
            large = shares[:, [k for k, size in enumerate(found.sizes) if size >= 64]]
            assert large.shape[1] >= 4
            assert float((large - start).abs().max()) < 0.16
            assert float((large.mean(0) - start).abs().max()) < 0.1
    raw = Masking(graph, restore, 0.1, start=0.9, standard=False)
    assert raw.predictions(raw.apply(model, own)).all()


def test_the_square_of_shares_pushes_whole_parameters_harder_than_empty_ones() -> None:
    sizes, rates = task().sizes, {}
    for balance in ("none", "shares"):
        found = Masking(GRAPH, lambda w: w, 1.0, balance=balance, points=25)
        outputs = torch.cat([torch.full((1, size), -1.0 if k == 0 else 1.0) for k, size in enumerate(sizes)], 1)
        outputs = outputs.double().requires_grad_()
        targets = torch.stack([torch.zeros_like(outputs), torch.full_like(outputs, 0.5)], 1)
        (gradient,) = torch.autograd.grad(found.losses(outputs, targets.detach()).sum(), outputs)
        rates[balance] = [float(part.mean()) for part in gradient.split(sizes, dim=1)]
    assert rates["none"][0] == pytest.approx(rates["none"][2])  # the slope of the sigmoid is even
    assert rates["shares"][0] == 0
    assert rates["shares"][2] == pytest.approx(2 * rates["none"][2])


def test_sampled_masks_keep_with_the_probability_of_the_sigmoid() -> None:
    found, own = task(method="sampled", sparsity=1.0), weights(1)
    outputs = torch.full((1, GRAPH.numel), 0.5, dtype=torch.float64)
    kept = []
    for seed in range(200):
        _, targets = found.prepare_training(own, torch.zeros(1, 0), rng(seed))
        mask = (outputs.sigmoid() > targets[:, 1]).double()
        kept.append(float(mask.mean()))
        error = found.errors(mask, targets[:, 0])
        torch.testing.assert_close(found.losses(outputs, targets), error + mask.mean())
    assert sum(kept) / 200 == pytest.approx(float(torch.tensor(0.5).sigmoid()), abs=0.01)
    _, again = found.prepare_training(own, torch.zeros(1, 0), rng(7))
    assert torch.equal(again, found.prepare_training(own, torch.zeros(1, 0), rng(7))[1])
    assert (found.prepare(own, torch.zeros(1, 0), rng())[1][:, 1] == 0.5).all()
    assert (task().prepare_training(own, torch.zeros(1, 0), rng())[1][:, 1] == 0.5).all()


def test_metrics_are_of_hard_masks_and_show_layers_that_are_emptied() -> None:
    found, own = task(balance="shares"), weights()
    _, targets = found.prepare(own, torch.zeros(4, 0), rng())
    outputs = torch.ones(4, GRAPH.numel, dtype=torch.float64)
    metrics = found.metrics()
    found.update(metrics, outputs, targets)
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert values["kept"] == values["kept_min"] == values["kept_max"] == 1
    assert values["mse"] == values["magnitude_mse"] == 0
    assert values["cost"] == pytest.approx(0.1)
    emptied = dict(Weights.unflatten(GRAPH, outputs).items())
    name = next(name for name, x in emptied.items() if tuple(x.shape[1:]) == (10, 12))
    emptied[name] = -emptied[name]
    metrics.reset()
    found.update(metrics, Weights(GRAPH, emptied).flatten(), targets)
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert (values["kept_min"], values["kept_max"]) == (0, 1)
    assert values["kept"] == pytest.approx(1 - 120 / GRAPH.numel)
    assert values["cost"] == pytest.approx(values["mse"] + 0.1 * values["kept"], rel=1e-5)


def test_magnitude_keeps_the_same_number_of_weights_the_largest() -> None:
    magnitudes = torch.tensor([[3.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 5.0]])
    masks = largest(magnitudes, torch.tensor([2.0, 3.0]))
    assert masks.tolist() == [[1, 0, 1, 0], [1, 1, 0, 1]]
    assert normal_scores(magnitudes)[0].argsort().tolist() == magnitudes[0].argsort().tolist()


def test_returned_networks_are_exactly_zero_where_the_mask_drops() -> None:
    found, own = task(), weights()
    outputs = logits()
    pruned = found.returned(outputs, own, restore).flatten()
    assert torch.equal(pruned != 0, outputs > 0)
    assert torch.equal(pruned[outputs > 0], restore(own).flatten()[outputs > 0])


def test_a_model_that_changes_nothing_keeps_everything() -> None:
    found, own = task(), weights()
    assert found.predictions(found.apply(Unchanged(), own)).all()
    assert torch.equal(found.returned(found.apply(Unchanged(), own), own, restore).flatten(), restore(own).flatten())


def test_with_the_prior_it_keeps_the_largest_weights_of_each_parameter() -> None:
    """A baseline: pruning by magnitude, to the share of the start."""
    found, own = task(prior="magnitude", start=0.7), weights()
    masks = found.predictions(found.apply(Unchanged(), own))
    magnitudes = restore(own).flatten().abs()
    for size, mask, magnitude in zip(
        found.sizes, masks.split(found.sizes, 1), magnitudes.split(found.sizes, 1), strict=True
    ):
        assert torch.equal(mask.double(), largest(magnitude, mask.sum(1)))
        assert size < 10 or float((mask.mean(1) - 0.7).abs().max()) < 0.1
