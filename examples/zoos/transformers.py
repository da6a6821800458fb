"""A zoo of small transformers that sort six digits, trained well and badly.

    python examples/zoos/transformers.py OUT [--number 240] [--seed 0]

OUT gets a checkpoint a network (``transformer-0000.safetensors``, …), ``labels.csv`` with each network's accuracy on
digits that none of them saw, and ``like/`` with one converted network an architecture, which says what the checkpoints
are.  Layers (1 to 3), width and heads (16 and 2, or 24 and 4) differ by architecture; learning rate, weight decay,
steps and the share of the training examples differ by network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))

from ensembles import Recipe, accuracy, bar, log_uniform, spread, train, write_labels
from toy_transformer import ToyTransformer, digits

from graphws import convert
from graphws.checkpoints.network_file import save_network

ARCHITECTURES = tuple((layers, *shape) for layers in (1, 2, 3) for shape in ((16, 2), (24, 4)))
"""Layers, width and heads of each; the width tells the heads, which show in no shape of a checkpoint."""
TASK, TRAINING, TEST, BATCH = "sort", 4096, 512, 32


def recipe(generator: torch.Generator) -> Recipe:
    """A random one, from hopeless to good."""
    return Recipe(
        lr=log_uniform(3e-4, 2e-2, generator),
        weight_decay=log_uniform(1e-4, 1.0, generator),
        steps=round(log_uniform(8, 1500, generator)),
        share=log_uniform(0.01, 1.0, generator),
    )


def main(out: Path, number: int = 240, seed: int = 0) -> None:
    """Trains and writes the zoo."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    training, test = digits(TASK, TRAINING, generator), digits(TASK, TEST, generator)
    (out / "like").mkdir(parents=True, exist_ok=True)
    rows = []
    with bar("small transformers", number) as advance:
        for place, (layers, width, heads) in enumerate(ARCHITECTURES):
            count = len(range(place, number, len(ARCHITECTURES)))
            if not count:
                continue
            modules = [ToyTransformer(layers, width, heads) for _ in range(count)]
            recipes = [recipe(generator) for _ in modules]
            states = train(modules, recipes, training, generator, BATCH, advance=advance)
            name = f"transformer-{layers}x{width}-{heads}"
            modules[0].load_state_dict(states[0])
            save_network(convert(modules[0].eval(), training.inputs[:8]), out / "like" / f"{name}.safetensors")
            for how, state in zip(recipes, states, strict=True):
                file = f"transformer-{len(rows):04d}.safetensors"
                save_file(state, out / file)
                rows.append(
                    {
                        "file": file,
                        "test_accuracy": round(accuracy(modules[0], state, test), 6),
                        "layers": layers,
                        "width": width,
                        "heads": heads,
                        "lr": f"{how.lr:.4g}",
                        "weight_decay": f"{how.weight_decay:.4g}",
                        "steps": how.steps,
                        "share": f"{how.share:.4g}",
                    }
                )
    write_labels(out, rows, generator)
    print(f"{len(rows)} transformers in {out}; test accuracy {spread([row['test_accuracy'] for row in rows])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.out, given.number, given.seed)
