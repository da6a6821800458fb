"""A zoo of small convolutional networks: scikit-learn's digits, trained well and badly.

    python examples/zoos/cnns.py OUT [--number 500] [--seed 0]

OUT gets a checkpoint a network (``cnn-0000.safetensors``, …), ``labels.csv`` with each network's accuracy on digits
that none of them saw, and ``like/`` with one converted network an architecture, which says what the checkpoints are.
Depth (1 to 3 convolutions) and widths differ by architecture; learning rate, weight decay, epochs and the share of the
training pictures differ by network.
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from ensembles import Examples, Recipe, accuracy, bar, log_uniform, spread, train, write_labels

from graphws import convert
from graphws.checkpoints.network_file import save_network

ARCHITECTURES = (
    (8,),
    (16,),
    (6, 8),
    (8, 8),
    (8, 16),
    (12, 12),
    (16, 8),
    (6, 8, 12),
    (8, 8, 8),
    (8, 12, 16),
    (12, 12, 12),
)
"""Channels of the convolutions of each."""
TRAINING, BATCH = 1200, 32


class SmallCNN(nn.Module):
    """Convolutions 3×3 with ReLU, the average over all pixels, a linear map to ten classes."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        ends = zip((1, *widths), widths, strict=False)
        self.features = nn.Sequential(*chain.from_iterable((nn.Conv2d(a, b, 3), nn.ReLU()) for a, b in ends))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (batch, 1, 8, 8) -> logits (batch, 10)."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


def recipe(generator: torch.Generator) -> Recipe:
    """A random one, from hopeless to good."""
    share = log_uniform(0.03, 1.0, generator)
    epochs = log_uniform(1.0, 32.0, generator)
    return Recipe(
        lr=log_uniform(1e-3, 3e-2, generator),
        weight_decay=log_uniform(1e-4, 1.0, generator),
        steps=round(epochs * TRAINING / BATCH),
        share=share,
    )


def digits(generator: torch.Generator) -> tuple[Examples, Examples]:
    """Pictures to train on, and those that test accuracies are of."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=generator)
    x = torch.tensor(data.images / 16, dtype=torch.float32)[order, None]
    y = torch.tensor(data.target)[order]
    return Examples(x[:TRAINING], y[:TRAINING]), Examples(x[TRAINING:], y[TRAINING:])


def main(out: Path, number: int = 500, seed: int = 0) -> None:
    """Trains and writes the zoo."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    training, test = digits(generator)
    (out / "like").mkdir(parents=True, exist_ok=True)
    rows = []
    with bar("small CNNs", number) as advance:
        for place, widths in enumerate(ARCHITECTURES):
            count = len(range(place, number, len(ARCHITECTURES)))
            if not count:
                continue
            modules = [SmallCNN(widths) for _ in range(count)]
            recipes = [recipe(generator) for _ in modules]
            states = train(modules, recipes, training, generator, BATCH, advance=advance)
            name = "cnn-" + "-".join(map(str, widths))
            modules[0].load_state_dict(states[0])
            save_network(convert(modules[0].eval(), training.inputs[:8]), out / "like" / f"{name}.safetensors")
            for how, state in zip(recipes, states, strict=True):
                file = f"cnn-{len(rows):04d}.safetensors"
                save_file(state, out / file)
                rows.append(
                    {
                        "file": file,
                        "test_accuracy": round(accuracy(modules[0], state, test), 6),
                        "layers": len(widths),
                        "neurons": sum(widths),
                        "lr": f"{how.lr:.4g}",
                        "weight_decay": f"{how.weight_decay:.4g}",
                        "steps": how.steps,
                        "share": f"{how.share:.4g}",
                    }
                )
    write_labels(out, rows, generator)
    print(f"{len(rows)} CNNs in {out}; test accuracy {spread([row['test_accuracy'] for row in rows])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.out, given.number, given.seed)
