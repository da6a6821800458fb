"""Augmenting the weights of a network turns, moves and scales the picture that it draws.

    python examples/03_augmented_weights.py [FOLDER]

Fits small sine networks to a few of scikit-learn's digits, changes their weights as training does, and draws both
(augmented.png, after figure 6 of paper D).  The zoo itself is never changed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from graphws.report import changed_pictures, png
from graphws.zoo import Architecture, FitOptions, augmentation, fit_zoo, load_digits
from graphws.zoo.reconstruction import reconstruct


def main(folder: Path, count: int = 9) -> None:
    """Fits, augments and draws."""
    folder.mkdir(parents=True, exist_ok=True)
    architecture = Architecture((2, 32, 32, 1), omega=5.0)
    options = FitOptions(steps=100, lr=2e-2, schedule="cosine")
    zoo = fit_zoo(folder / "zoo", load_digits(limit=60), architecture, options)
    assert zoo is not None
    networks = zoo.weights(slice(0, count))
    change = augmentation(rotation=30, translation=0.1, scaling=0.2, noise=0.02, statistics=zoo.statistics)
    changed = change(networks, torch.Generator().manual_seed(0))
    pictures = [reconstruct(each, (32, 32)).numpy() for each in (networks, changed)]
    (folder / "augmented.png").write_bytes(png(changed_pictures(*pictures)))
    print(f"drawn: {folder / 'augmented.png'}")
    print(f"{len(zoo)} networks, median PSNR {sorted(zoo.table['psnr'])[len(zoo) // 2]:.1f} dB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="graphws-")))
