"""How long it takes, and how much memory, to convert large language models.

Each case runs in a process of its own, so that the peak memory is its own: GPT-2 small with random weights, traced,
analysed and put to the test in float64; a Llama of 8 billion parameters on the meta device, traced and analysed.

    python benchmarks/convert_large.py [gpt2] [llama]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

TARGETS = {"gpt2": (60.0, 4.0), "llama": (60.0, 2.0)}
"""Seconds and GB that each case may take on two cores."""


def gpt2() -> tuple[Any, Any]:
    """GPT-2 small, 124M parameters."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(use_cache=False)).eval()
    return model, {"input_ids": torch.randint(0, 50257, (1, 8))}


def llama() -> tuple[Any, Any]:
    """Llama 3 of 8B parameters, without numbers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
        vocab_size=128256, use_cache=False,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config).eval()
        return model, {"input_ids": torch.zeros(1, 8, dtype=torch.long)}


def measure(name: str) -> dict[str, Any]:
    """Converts one model in this process."""
    import torch

    from graphws import convert
    from graphws.graph import to_networkx

    model, inputs = {"gpt2": gpt2, "llama": llama}[name]()
    built = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start, cpu = time.perf_counter(), time.process_time()
    result = convert(model, inputs, generator=torch.Generator().manual_seed(0))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    cpu = time.process_time()
    view = to_networkx(result.graph)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "typed_seconds": time.process_time() - cpu,
        "typed": view.number_of_nodes(),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "built_gb": built,
        "verdict": result.verdict,
        "numbers": result.graph.numel,
        "spaces": sum(space.moves for space in result.graph.spaces),
        "log10": result.graph.log10_order(),
        "coverage": result.coverage,
    }


def main(names: list[str]) -> None:
    """Prints a line for each case."""
    for name in names:
        run = subprocess.run([sys.executable, "-W", "ignore", __file__, "--one", name], capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(run.stderr)
        found = json.loads(run.stdout.splitlines()[-1])
        seconds, memory = TARGETS[name]
        print(
            f"{name}: {found['numbers'] / 1e6:.0f}M numbers in {found['seconds']:.1f} s (target {seconds:.0f} s; "
            f"{found['cpu_seconds']:.1f} s of CPU), peak {found['peak_gb']:.2f} GB (target {memory:.0f} GB; "
            f"{found['built_gb']:.2f} GB before), {found['spaces']} spaces, log10|G| = {found['log10']:.0f}, "
            f"coverage {found['coverage']:.3f}, a typed networkx graph of {found['typed']} nodes in "
            f"{found['typed_seconds']:.2f} s, {found['verdict']}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(sys.argv[1:] or list(TARGETS))
