"""How weights are scaled for a model: by what it asks for, with the statistics of the training networks."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.runtime.scaling import Scale
from graphws.spec import MlpModel, Preprocess, Scaling
from graphws.zoo import Statistics, orbit_statistics

GRAPH = mlp_graph([2, 4, 3, 1], activation="tanh")
OTHER = mlp_graph([2, 5, 3, 1], activation="tanh")


class RawMlp(MlpModel):
    """Wants weights as they are."""

    @property
    def scaling(self) -> Scaling:
        """None at all."""
        return "raw"


class UnitMlp(MlpModel):
    """Wants them divided and never shifted."""

    @property
    def scaling(self) -> Scaling:
        """A factor an orbit."""
        return "unit"


def _networks(graph: object = GRAPH, seed: int = 0) -> Weights:
    assert graph in (GRAPH, OTHER)
    used = GRAPH if graph is GRAPH else OTHER
    draw = torch.Generator().manual_seed(seed)
    return Weights.unflatten(used, 3 * torch.randn(50, used.numel, generator=draw, dtype=torch.float64) + 1)


def _statistics() -> Statistics:
    return orbit_statistics(GRAPH, [_networks()])


def test_unit_divides_by_the_root_mean_square_and_never_shifts() -> None:
    weights = _networks()
    seen = Scale(_statistics(), "unit").apply(weights)
    for name in ("W1", "W2", "b2"):
        found = orbit_statistics(GRAPH, [seen]).orbits[0][name]
        torch.testing.assert_close((found.mean**2 + found.std**2).sqrt(), torch.ones_like(found.mean))
        assert bool((seen[name].sign() == weights[name].sign()).all())
    rms = weights["W2"].square().mean().sqrt()  # one orbit
    torch.testing.assert_close(seen["W2"], weights["W2"] / rms)


def test_unit_commutes_with_signs_and_scales_and_normalisation_does_not() -> None:
    weights, statistics = _networks(), _statistics()
    turned = Weights(GRAPH, {name: -x for name, x in weights.items()})
    unit, normal = Scale(statistics, "unit"), Scale(statistics, "normalised")
    torch.testing.assert_close(unit.apply(turned).flatten(), -unit.apply(weights).flatten())
    assert (normal.apply(turned).flatten() + normal.apply(weights).flatten()).abs().max() > 0.1


@pytest.mark.parametrize("how", ["normalised", "unit", "raw"])
def test_restoring_undoes_it_and_deviations_are_what_the_model_sees(how: Scaling) -> None:
    weights, scale = _networks(), Scale(_statistics(), how)
    seen = scale.apply(weights)
    torch.testing.assert_close(scale.restore(seen).flatten(), weights.flatten())
    found = orbit_statistics(GRAPH, [seen])
    wanted = torch.cat([found.spread(GRAPH, p.name, torch.zeros(()))[1].flatten() for p in GRAPH.parameters])
    torch.testing.assert_close(scale.deviation(GRAPH), wanted)
    assert (scale.change is None) == (how == "raw") == (seen is weights)


def test_orbits_of_zeros_stay() -> None:
    weights = Weights(GRAPH, {name: x if name != "b1" else 0 * x for name, x in _networks().items()})
    seen = Scale(orbit_statistics(GRAPH, [weights]), "unit").apply(weights)
    assert bool((seen["b1"] == 0).all())
    assert bool(seen.flatten().isfinite().all())


def test_several_architectures_are_divided_by_role() -> None:
    parts = [_networks(GRAPH), _networks(OTHER, 1)]
    statistics = orbit_statistics([GRAPH, OTHER], parts)
    seen = [Scale(statistics, "unit").apply(part) for part in parts]
    rms = torch.cat([part["W2"].flatten() for part in parts]).square().mean().sqrt()
    for before, after in zip(parts, seen, strict=True):
        torch.testing.assert_close(after["W2"], before["W2"] / rms)


@pytest.mark.parametrize(
    ("section", "normalize", "how"),
    [
        (MlpModel(kind="mlp"), True, "normalised"),
        (UnitMlp(kind="mlp"), True, "unit"),
        (RawMlp(kind="mlp"), True, "raw"),
        (MlpModel(kind="mlp"), False, "raw"),
        (UnitMlp(kind="mlp"), False, "raw"),
    ],
)
def test_the_model_asks_and_the_spec_may_forbid(section: MlpModel, normalize: bool, how: Scaling) -> None:
    assert Scale.of(section, Preprocess(normalize=normalize), _statistics()).how == how
