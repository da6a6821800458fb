"""Small experiments that tests share."""

from __future__ import annotations

from typing import Any

import torch

from graphws.spec import AttentionSection, PictureNetwork, PictureSection, SymmetryExperiment, SymmetryTraining
from graphws.trainings import Pictures


def experiment(**options: Any) -> SymmetryExperiment:
    """An experiment on pictures of 6×6 pixels seen as 4×4; `options` replace keys of any of its sections."""
    parts = {
        "pictures": (PictureSection, {"size": 4, "crop": 0.667}),
        "network": (PictureNetwork, {"hidden": (6, 8), "activation": ("tanh", "gelu")}),
        "train": (SymmetryTraining, {"steps": 40, "batch_size": 32, "lr": 1e-2, "check_every": 10, "threads": 1}),
    }
    rest = {"kind": "symmetry", "probes": 30, "decoys": 1}
    for key, value in options.items():
        home = next((given for model, given in parts.values() if key in model.model_fields), rest)
        home[key] = value
    return SymmetryExperiment(**{key: model(**given) for key, (model, given) in parts.items()}, **rest)


def attending(**options: Any) -> SymmetryExperiment:
    """The same with attention first: 2 heads of 3 over 4 patches."""
    return experiment(attention=AttentionSection(heads=2, patch=2), **options)


def pictures(channels: int = 1, count: int = 120, side: int = 6, seed: int = 0) -> Pictures:
    """Blobs of random places and colours in three classes by height."""
    rng = torch.Generator().manual_seed(seed)
    y, x = (torch.rand(count, 1, 1, 1, generator=rng) * side for _ in range(2))
    grid = torch.arange(side) + 0.5
    blob = torch.exp(-((grid[:, None] - y) ** 2 + (grid - x) ** 2) / 3)
    pixels = blob * torch.rand(count, channels, 1, 1, generator=rng)
    labels = (3 * y.flatten() / side).long().clamp_max(2)
    return Pictures((255 * pixels).to(torch.uint8), labels, torch.arange(count) % 4 == 0, 3, "blobs")
