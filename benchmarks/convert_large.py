"""What it costs to convert networks that are large or deep: CPU seconds and peak memory.

Each case runs in a process of its own with one thread, so that the peak memory is its own and CPU seconds do not depend
on idle threads: GPT-2 small and ResNet-50 with random weights, traced, analysed and put to the test in float64; a
narrow GPT-2 of several depths, whose cost should grow as its depth does; a Llama of 8 billion parameters on the meta
device, traced and analysed.

    python benchmarks/convert_large.py [gpt2] [resnet50] [deep6] [deep12] [deep24] [deep48] [llama]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

TARGETS = {"gpt2": (15.0, 2000), "resnet50": (5.0, 1000), "llama": (60.0, 2000)}
"""CPU seconds and MB that a case may take."""
DEPTHS = (6, 12, 24, 48)
RATIO = 2.2
"""How many times the CPU seconds of half its depth a network may take."""
CASES = ("gpt2", "resnet50", *(f"deep{depth}" for depth in DEPTHS), "llama")


def gpt2() -> tuple[Any, Any]:
    """GPT-2 small, 124M parameters."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(use_cache=False)).eval()
    return model, {"input_ids": torch.randint(0, 50257, (1, 8))}


def deep(layers: int) -> tuple[Any, Any]:
    """A GPT-2 of width 16."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=16, n_head=2, vocab_size=31, n_positions=16)).eval()
    return model, {"input_ids": torch.randint(0, 31, (2, 8))}


def resnet50() -> tuple[Any, Any]:
    """A residual network of bottlenecks in four stages of 3, 4, 6 and 3, 25.6M parameters."""
    import torch
    from torch import Tensor, nn

    def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            self.reduce, self.mix = convolution(inputs, width, 1), convolution(width, width, 3, stride)
            self.expand = convolution(width, 4 * width, 1)
            same = stride == 1 and inputs == 4 * width
            self.shortcut = nn.Identity() if same else convolution(inputs, 4 * width, 1, stride)

        def forward(self, x: Tensor) -> Tensor:
            h = self.mix(self.reduce(x).relu()).relu()
            y: Tensor = (self.expand(h) + self.shortcut(x)).relu()
            return y

    torch.manual_seed(0)
    blocks, inputs = [], 64
    for stage, count in enumerate((3, 4, 6, 3)):
        for k in range(count):
            blocks.append(Bottleneck(inputs, 64 << stage, 2 if stage and not k else 1))
            inputs = 256 << stage
    stem = (convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)).eval()
    return model, torch.randn(1, 3, 64, 64)


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


def _build(name: str) -> tuple[Any, Any]:
    if name.startswith("deep"):
        return deep(int(name.removeprefix("deep")))
    return {"gpt2": gpt2, "resnet50": resnet50, "llama": llama}[name]()


def _peak() -> float:
    """MB of memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(name: str) -> dict[str, Any]:
    """Converts one model in this process."""
    import torch

    from graphws import convert
    from graphws.graph import to_networkx

    model, inputs = _build(name)
    built = _peak()
    start, cpu = time.perf_counter(), time.process_time()
    result = convert(model, inputs, generator=torch.Generator().manual_seed(0))
    seconds, cpu_seconds, peak = time.perf_counter() - start, time.process_time() - cpu, _peak()
    cpu = time.process_time()
    view = to_networkx(result.graph)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "typed_seconds": time.process_time() - cpu,
        "typed": view.number_of_nodes(),
        "peak": peak,
        "built": built,
        "verdict": result.verdict,
        "numbers": result.graph.numel,
        "spaces": sum(space.moves for space in result.graph.spaces),
        "log10": result.graph.log10_order(),
        "coverage": result.coverage,
    }


def main(names: list[str]) -> None:
    """Prints a line for each case, with ratios to the targets or to half the depth."""
    seconds: dict[str, float] = {}
    for name in names:
        command = [sys.executable, "-W", "ignore", __file__, "--one", name]
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if run.returncode:
            raise SystemExit(run.stderr)
        found = json.loads(run.stdout.splitlines()[-1])
        seconds[name] = found["cpu_seconds"]
        cost = f"{found['cpu_seconds']:6.1f} CPU s{_against(name, found, seconds)}, peak {found['peak']:.0f} MB"
        print(
            f"{name:>8}: {cost} ({found['built']:.0f} before), {found['seconds']:.1f} s, "
            f"{found['numbers'] / 1e6:.1f}M numbers, "
            f"{found['spaces']} spaces, log10|G| = {found['log10']:.0f}, coverage {found['coverage']:.3f}, a typed "
            f"networkx graph of {found['typed']} nodes in {found['typed_seconds']:.2f} s, {found['verdict']}",
            flush=True,
        )


def _against(name: str, found: dict[str, Any], seconds: dict[str, float]) -> str:
    """The cost as ratios."""
    if name in TARGETS:
        most, memory = TARGETS[name]
        return f" ({found['cpu_seconds'] / most:.2f} of {most:.0f} s, {found['peak'] / memory:.2f} of {memory} MB)"
    half = f"deep{int(name.removeprefix('deep')) // 2}"
    return f" ({found['cpu_seconds'] / seconds[half]:.2f} times {half}, {RATIO} wanted)" if half in seconds else ""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(sys.argv[1:] or list(CASES))
