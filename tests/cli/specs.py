"""Specs that run in seconds, for tests of the command line."""

from __future__ import annotations

from pathlib import Path

QUICK = """\
graphws: 1
name: quick
zoo:
  source: {kind: digits, limit: 120}
  network: {hidden: [6, 6], activation: sine, omega: 5.0}
  fit: {steps: 20, lr: 2e-2, views: 1, psnr: null}
  split: {validation: 0.2, test: 0.2}
input: {kind: zoo}
preprocess: {gauge: canonical}
augment: {noise: 0.05}
model: {kind: dwsnet, layers: 2, channels: 4}
head: {kind: invariant, outputs: 10}
task: {kind: classification, target: label}
train: {optimizer: {kind: adamw, lr: 1e-2}, epochs: 3, batch_size: 32, seeds: [0]}
"""
BASELINE = """\
compare:
  - {name: mlp, model: {kind: mlp, layers: 1, norm: layer}, match_parameters: true}
"""
QUICK += BASELINE
EXPERIMENT = """\
graphws: 1
name: tiny
experiment:
  kind: symmetry
  source: {kind: digits, limit: 300}
  pictures: {size: 8, crop: 1.0}
  network: {hidden: [4, 6], activation: tanh}
  train: {steps: 60, batch_size: 16, lr: 1e-2, weight_decay: 0.1, check_every: 20, threads: 1}
  probes: 40
  decoys: 1
"""


def quick(folder: Path, **replacements: str) -> Path:
    """The spec in a file of `folder`; each ``old=new`` replaces a text in it."""
    return edited(QUICK, folder / "quick.yaml", **replacements)


def edited(text: str, path: Path, **replacements: str) -> Path:
    """A text with replacements, each ``old=new``, in a file."""
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return path
