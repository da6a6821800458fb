"""Writes docs/architectures.md: what the converters make of every architecture that they are tested on.

    python scripts/architectures.py [OUT]

Networks are small and have random weights; each goes through `graphws.convert` as it is, with the outputs that count
by default.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import nn  # noqa: E402

from graphws import convert  # noqa: E402
from graphws.checkpoints.conversion import Conversion  # noqa: E402
from graphws.checkpoints.coverage import share_of_group  # noqa: E402
from tests.converters import architectures, hugging_face, known_groups  # noqa: E402

HEAD = """# Architectures

What the converters make of each architecture that they are tested on. Written by `scripts/architectures.py`; the
networks are small, with random weights, so sizes and groups are those of the test, not of a trained model.

- **error**: largest relative change of the outputs under random elements of the rich group (permutations with the
  signs, scales and matrices that each space allows), in float64; models whose norms compute in float32 whatever they
  are given reach 1e-7.
- **control**: the change when one weight is left behind. The gate wants at least 1e-6.
- **spaces**: those that the group moves, and what acts on them beyond permutations: `±` signs, `+` positive scales,
  `*` non-zero scales, `GL` invertible matrices.
- **runs**: whether the network runs from its file alone, on example inputs, on fresh ones and at disturbed weights,
  with the largest relative difference of its outputs from the source's, and the lengths of the batch that it takes.
- **confirmed**: how many of the actions beyond permutations a second test, by gradients, confirms on these inputs.
- **log10|G|**: digits of the number of permutations.
- **known**: digits of the largest group that the architecture is known to have, by a formula from its heads, neurons
  and experts (`tests/converters/known_groups.py`), and the share of them that was found; empty where no formula is
  known.
- **coverage**: of the numbers that outputs depend on, the share that follows the group, as
  `graphws.checkpoints.coverage` counts it.
- **seconds**: CPU time of tracing, analysis, the gate, the gradients and the runs from the file, on one thread.
"""
MARKS = {"signed": "±", "scaling": "+", "monomial": "*", "linear": "GL"}


def row(
    name: str,
    module: nn.Module,
    inputs: tuple[Any, ...] | Mapping[str, Any],
    known: float | None = None,
) -> str:
    """One line of the table."""
    start = time.process_time()
    result = convert(module, inputs, generator=torch.Generator().manual_seed(0))
    seconds = time.process_time() - start
    return line(name, result, seconds, known)


def line(name: str, result: Conversion, seconds: float, known: float | None = None) -> str:
    """The figures of a conversion."""
    found = result.verification
    figures = f"VERIFIED | {found.error:.0e} | {found.control:.0e}" if found else f"{result.verdict} | | "
    moving = [space for space in result.graph.spaces if space.moves]
    counts = {mark: sum(str(space.action) == action for space in moving) for action, mark in MARKS.items()}
    rich = ", ".join(f"{count} {mark}" for mark, count in counts.items() if count)
    spaces = f"{len(moving)}" + (f" ({rich})" if rich else "")
    runs = str(result.runs).removeprefix("runs: ")
    tried = f"{sum(c.verdict == 'confirmed' for c in result.actions)}/{len(result.actions)}" if result.actions else ""
    order, coverage = result.graph.log10_order(), f"{result.coverage:.1%}"
    share = "" if known is None else f"{known:.1f} ({share_of_group(order, known):.0%})"
    return (
        "| "
        + " | ".join([name, figures, runs, spaces, tried, f"{order:.1f}", share, coverage, f"{seconds:.1f}"])
        + " |"
    )


def table() -> list[str]:
    """Every architecture."""
    columns = "architecture, gate, error, control, runs, spaces, confirmed, log10\\|G\\|, known, coverage, seconds"
    head = "| " + columns.replace(", ", " | ") + " |"
    rule = "|---|---|---|---|---|---|---|---|---|---|---|"
    lines = ["", "## Modules of PyTorch", "", head, rule]
    for name in architectures.ARCHITECTURES:
        lines.append(row(name, *architectures.build(name), known_groups.MODULES.get(name)))
        print(lines[-1], flush=True)
    lines += ["", "## Models of Hugging Face", "", head, rule]
    for name in hugging_face.MODELS:
        model, inputs = hugging_face.build(name)[:2]
        formula = known_groups.MODELS.get(name)
        lines.append(row(name, model, inputs, formula and formula(model.config)))
        print(lines[-1], flush=True)
    return lines


def main(out: Path) -> None:
    """Writes the page."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    module, inputs = architectures.build("CNN + flatten")
    convert(module, inputs, generator=torch.Generator().manual_seed(0))  # what is loaded once is not timed
    out.write_text(HEAD + "\n".join(table()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "architectures.md")
