"""The linear probe, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from torch import Tensor

from graphws.models.linear_probe import LinearProbe


def _data(networks: int = 60, size: int = 5, targets: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(networks, size, generator=draw) * torch.tensor([1.0, 10.0, 0.1, 1.0, 3.0])[:size] + 2
    mixed = embeddings @ torch.randn(size, targets, generator=draw)
    return embeddings, mixed.square() / 10 + torch.randn(networks, targets, generator=draw)


@pytest.mark.parametrize("seed", range(3))
def test_it_tells_what_scikit_learn_does(seed: int) -> None:
    embeddings, targets = _data(seed=seed)
    probe = LinearProbe(5, 2)
    probe.fit(zip(embeddings.split(17), targets.split(17), strict=True))
    reference = LinearRegression().fit(embeddings.double().numpy(), targets.double().numpy())
    np.testing.assert_allclose(probe.weight.numpy(), reference.coef_, rtol=1e-9)
    np.testing.assert_allclose(probe.bias.numpy(), reference.intercept_, rtol=1e-9)
    unseen, _ = _data(seed=seed + 9)
    np.testing.assert_allclose(probe(unseen).numpy(), reference.predict(unseen.double().numpy()), rtol=1e-4, atol=1e-4)


def test_what_a_representation_says_twice_counts_once() -> None:
    embeddings, targets = _data()
    once, twice = LinearProbe(5, 2), LinearProbe(11, 2)
    once.fit([(embeddings, targets)])
    doubled = torch.cat([embeddings, 3 * embeddings - 1, torch.full((len(embeddings), 1), 0.3)], dim=1)
    twice.fit([(doubled, targets)])
    torch.testing.assert_close(twice(doubled), once(embeddings), rtol=1e-3, atol=1e-3)
    assert float(twice.weight.abs().max()) < 1e3


def test_a_constant_representation_tells_the_mean() -> None:
    _, targets = _data()
    probe = LinearProbe(5, 2)
    noisy = torch.full((60, 5), 1.7) + 1e-7 * torch.randn(60, 5)
    probe.fit([(noisy, targets)])
    torch.testing.assert_close(probe(noisy), targets.mean(0).expand(60, 2), rtol=1e-4, atol=1e-4)


def test_nan_is_told_where_the_representation_is_none() -> None:
    embeddings, targets = _data()
    embeddings[3, 2] = torch.nan
    probe = LinearProbe(5, 2)
    probe.fit([(embeddings, targets)])
    assert bool(probe(embeddings).isnan().all())


def test_targets_that_are_shuffled_cannot_be_told() -> None:
    draw = torch.Generator().manual_seed(3)
    embeddings = torch.randn(400, 5, generator=draw)
    targets = embeddings @ torch.randn(5, 2, generator=draw)
    shuffled = targets[torch.randperm(400, generator=draw)]
    for wanted, low, high in ((targets, 0.999, 1.01), (shuffled, -0.2, 0.05)):
        probe = LinearProbe(5, 2)
        probe.fit([(embeddings[:200], wanted[:200])])
        assert low < r2_score(wanted[200:].numpy(), probe(embeddings[200:]).numpy()) < high
