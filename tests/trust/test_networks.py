"""The counting of claims: a planted network is claimed, a forged claim is false, a network comes back by its number."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.verdicts import Draw
from graphws.actions import named_symmetry
from graphws.actions.measures.probes import shares_of_reach
from scripts.trust import networks
from scripts.trust.networks import COLUMNS, Trial, attempt, column, counted, own_images, run, told, true_error
from scripts.trust.networks_tried import ARCHITECTURES, GROUPS, PICTURE, Architecture
from scripts.trust.probes_tried import KINDS


def trial(outcome: str, truth: float, architecture: str = "CNN") -> Trial:
    return Trial(7, architecture, outcome, truth, "mirror: said")


@pytest.mark.parametrize(
    ("outcome", "truth", "architecture", "where"),
    [
        ("exact action", 0.9, "CNN", "false claims"),
        ("exact action", 1e-12, "DeepSets", "right claims"),
        ("action found", 0.02, "CNN", "false claims"),  # random weights: by chance
        ("action found", 0.3, "MLP, partly invariant", "right claims"),
        ("exact action", 0.3, "MLP, partly invariant", "false claims"),
        ("action found", 0.9, "MLP, partly invariant", "false claims"),
        ("exact action", 0.01, "symmetric; stride 2", "false claims"),
        ("action in part", 0.9, "symmetric; stride 2", "in part"),
        ("action in part", 0.9, "CNN", "false in part"),
        ("no action found", 0.9, "CNN", "no action"),
        ("refused", float("nan"), "CNN", "refused"),
        ("crash", float("nan"), "CNN", "crashes"),
    ],
)
def test_where_a_trial_counts(outcome: str, truth: float, architecture: str, where: str) -> None:
    found = trial(outcome, truth, architecture)
    assert column(found, ARCHITECTURES[architecture]) == where
    row, total = counted([found])
    assert row[0] == architecture
    assert row[1:] == [int(name in ("networks", where)) for name in COLUMNS[1:]]
    assert total == ["all", *row[1:]]
    assert bool(told(found)) == (where in ("false claims", "false in part", "crashes"))
    assert not told(found) or f"{where}: network 7 ({architecture};" in told(found)


def test_a_planted_network_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code, on a symmetric network without a step that breaks it; a forged truth makes the claim false."""
    whole = Architecture(ARCHITECTURES["CNN"].build, PICTURE, symmetric=True)
    monkeypatch.setattr(networks, "ARCHITECTURES", {"whole": whole})
    found = [attempt(number) for number in range(2)]
    assert [column(each, whole) for each in found] == ["right claims"] * 2
    assert {each.outcome for each in found} == {"exact action"}
    assert max(each.truth for each in found) < 1e-10
    monkeypatch.setattr(networks, "true_error", lambda *_: 1.0)
    forged = attempt(0)
    assert column(forged, whole) == "false claims"
    assert told(forged).startswith("false claims: network 0 (whole; true error 1; ")


@pytest.mark.slow
def test_a_network_comes_back_by_its_number() -> None:
    columns, rows = run(2, 1)
    assert columns == COLUMNS
    assert [row[:2] for row in rows] == [[name, 1] for name in list(ARCHITECTURES)[:2]] + [["all", 2]]
    assert rows == run(2, 2)[1]
    assert attempt(1) == attempt(1)


def test_a_crash_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(networks, "find_actions", broken)
    found = attempt(0)
    assert column(found, ARCHITECTURES[found.architecture]) == "crashes"
    assert "ValueError: no" in told(found)


def test_the_true_error() -> None:
    mirror = named_symmetry("mirror", (1, 4, 4), "same")
    assert true_error(nn.Tanh(), mirror, (1, 4, 4), 0) == 0
    assert true_error(nn.Linear(4, 4).double(), mirror, (1, 4, 4), 0) > 0.3
    sums = named_symmetry("mirror", (1, 4, 4), "invariant", outputs=1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).double()
    assert true_error(net, sums, (1, 4, 4), 0) > 0.3
    nn.init.constant_(net[1].weight, 1.0)
    assert true_error(net, sums, (1, 4, 4), 0) < 1e-12


@pytest.mark.parametrize("name", [n for n, each in ARCHITECTURES.items() if each.symmetric])
def test_deceptive_networks_are_deceptive(name: str) -> None:
    """Their weights are symmetric, and their function is not."""
    architecture = ARCHITECTURES[name]
    worst = 0.0
    for number in range(3):
        draw = Draw(number)
        module = networks.drawn(architecture, draw)
        own_images(module, "mirror")
        for layer in module.modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
                torch.testing.assert_close(layer.weight, layer.weight.flip(-1))
        outputs = module(draw.normal(1, *architecture.inputs))[0].numel()
        mirror = named_symmetry("mirror", architecture.inputs, "invariant", outputs=outputs)
        worst = max(worst, true_error(module, mirror, architecture.inputs, number))
    assert worst > 0.01


@pytest.mark.parametrize("inputs", GROUPS)
def test_every_kind_of_probes(inputs: tuple[int, ...]) -> None:
    for group, shape in GROUPS[inputs]:
        symmetry = named_symmetry(group, shape, "invariant", outputs=2)
        for kind, make in KINDS.items():
            if make is not None:
                probes = make(Draw(0), inputs, symmetry)
                assert probes.shape[1:] == inputs
                assert bool(probes.isfinite().all())
                if (kind, group) == ("nearly symmetric", "mirror"):
                    assert shares_of_reach(symmetry, probes)[1] < 0.5
