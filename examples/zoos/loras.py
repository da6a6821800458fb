"""A zoo of LoRA adapters: one small transformer, taught five tasks by adapters of rank 4.

    python examples/zoos/loras.py OUT [--number 200] [--seed 0]

OUT gets the base (``base/model.safetensors``), an adapter a folder as PEFT writes it (``adapter_config.json`` and
``adapter_model.safetensors`` in ``lora-0000`` and so on), and ``labels.csv`` with each adapter's task and its accuracy
on digits that it never saw.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from ensembles import Recipe, accuracy, bar, log_uniform, spread, train, write_labels
from toy_transformer import TASKS, ToyTransformer, digits

LAYERS, WIDTH, HEADS = 2, 24, 4
RANK, ALPHA, TARGETS = 4, 8, ("q", "v")
BASE_TASK, BASE_STEPS = "shuffle", 400
TRAINING, TEST, BATCH = 4096, 512, 32


class Lora(nn.Module):
    """A linear map and, added to it, one of low rank: W x + b + (alpha / r) B A x."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, RANK, bias=False)
        self.lora_B = nn.Linear(RANK, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        return self.base(x) + (ALPHA / RANK) * self.lora_B(self.lora_A(x))


def adapted(base: dict[str, Tensor]) -> ToyTransformer:
    """The base with a fresh adapter at each of the targets."""
    module = ToyTransformer(LAYERS, WIDTH, HEADS)
    module.load_state_dict(base)
    for block in module.blocks:
        for name in TARGETS:
            setattr(block.attention, name, Lora(getattr(block.attention, name)))
    return module


def write_adapter(folder: Path, state: dict[str, Tensor]) -> None:
    """A PEFT folder of an adapter; `state` has the keys of the adapted module."""
    folder.mkdir(exist_ok=True)
    config = {
        "base_model_name_or_path": "toy-transformer",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": list(TARGETS),
        "task_type": None,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(
        {f"base_model.model.{key}": tensor for key, tensor in state.items()}, folder / "adapter_model.safetensors"
    )


def main(out: Path, number: int = 200, seed: int = 0) -> None:
    """Trains the base and its adapters and writes the zoo."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    tasks = [name for name in TASKS if name != BASE_TASK]
    training = {name: digits(name, TRAINING, generator) for name in TASKS}
    test = {name: digits(name, TEST, generator) for name in TASKS}
    module = ToyTransformer(LAYERS, WIDTH, HEADS)
    recipe = Recipe(5e-3, 1e-2, BASE_STEPS, 1.0)
    [base] = train([module], [recipe], training[BASE_TASK], generator, 2 * BATCH)
    (out / "base").mkdir(exist_ok=True)
    save_file(base, out / "base" / "model.safetensors")
    module.load_state_dict(base)
    of = [tasks[k % len(tasks)] for k in range(number)]
    modules = [adapted(base) for _ in of]
    frozen = {name: value.detach() for name, value in modules[0].state_dict().items() if "lora_" not in name}
    recipes = [
        Recipe(log_uniform(3e-3, 2e-2, generator), 1e-2, round(log_uniform(50, 400, generator)), 1.0) for _ in of
    ]
    with bar("LoRA adapters", number) as advance:
        states = train(modules, recipes, [training[name] for name in of], generator, BATCH, frozen, advance)
    rows = []
    for k, (task, how, state) in enumerate(zip(of, recipes, states, strict=True)):
        write_adapter(out / f"lora-{k:04d}", state)
        rows.append(
            {
                "file": f"lora-{k:04d}",
                "task": tasks.index(task),
                "task_name": task,
                "accuracy": round(accuracy(modules[0], {**frozen, **state}, test[task]), 6),
                "lr": f"{how.lr:.4g}",
                "steps": how.steps,
            }
        )
    write_labels(out, rows, generator)
    print(f"{number} adapters in {out}; accuracy on their tasks {spread([row['accuracy'] for row in rows])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.out, given.number, given.seed)
