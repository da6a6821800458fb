"""How much faster, and in how much less memory, DWSNets run than layers that are not fused.

The networks are those of paper D's experiments: five layers (four hidden ones and the last) with max pooling, batch
norm and an invariant head.  Each case is run by

* ours: `graphws.models.DWSNet`;
* plain: the same without the kernels of `graphws.layers.fused`;
* blocks: the same with every block on its own (`graphws.testing.reference`), the slow reference;
* DS and SAB, with ``--peer FOLDER``: the authors' public code (a checkout of github.com/AvivNavon/DWSNets), with
  DeepSets and with set attention;
* HNP, with ``--peer-nfn FOLDER``: a checkout of github.com/AllanYangZhou/nfn (it needs einops), beside ours with mean
  pooling and no norm.

All are timed in one process, interleaved, in processor time where one thread runs and wall time otherwise; printed are
medians and ratios to ours.  Peak memory is that of a forward and backward pass above what the process held before it,
each in a process of its own.  At the end the depth of the input network grows from 3 to 16 layers.

    python benchmarks/dws_layer.py [--peer FOLDER] [--peer-nfn FOLDER] [--cases i,ii,iii,iv,depth] [--threads 1]
                                   [--repeat 5] [--device cpu] [--compile MODE] [--quick]
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphws.graph import Weights
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.testing.reference import ReferenceLinear

CLASSES = 10


@dataclass(frozen=True)
class Case:
    """A zoo and a model.

    Args:
        name: What it is called.
        widths: Of the input networks.
        batch: Networks at once.
        channels: Hidden channels.
        reduce: Width that d_0 is mapped to, or None.
        wanted: For each peer the ratios to reach, forward and forward with backward.
        memory: The ratio of peak memory to reach against DS, or None.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    channels: int
    reduce: int | None
    wanted: dict[str, tuple[float, float]]
    memory: float | None = None


CASES = {
    "i": Case("MNIST-INR", (2, 32, 32, 1), 512, 32, None, {"DS": (6, 4.5), "SAB": (8, 7), "HNP": (2.2, 2.2)}, 2.5),
    "ii": Case("sine", (1, 32, 32, 1), 32, 8, None, {"DS": (3.5, 2.7), "SAB": (7, 6)}),
    "iii": Case("classifiers of CIFAR", (3072, 64, 64, 64, 64, 10), 8, 16, 16, {"DS": (50, 40)}, 15),
    "iv": Case("deep", (1, *[64] * 7, 1), 32, 16, None, {"DS": (6.5, 4.5), "HNP": (1.4, 1.3)}, 10),
}
LAYERS = 5

Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Setting:
    """What holds for a whole run."""

    peer: Path | None
    peer_nfn: Path | None
    device: str
    compile: str | None


def ours(case: Case, weights: Weights, setting: Setting, **options: Any) -> nn.Module:
    """Our model of a case."""
    reduce = {"input": case.reduce} if case.reduce else None
    model = DWSNet(weights.graph, CLASSES, LAYERS, case.channels, reduce=reduce, **options)
    return model.to(setting.device)


def plain(model: nn.Module) -> nn.Module:
    """The model without kernels."""
    for module in model.modules():
        if hasattr(module, "fused"):
            module.fused = False
    return model


def block_by_block(model: nn.Module) -> nn.Module:
    """The model with every block on its own."""
    model = plain(model)
    assert isinstance(model, DWSNet)
    model.layers = nn.ModuleList(ReferenceLinear(layer) for layer in model.layers)  # type: ignore[arg-type]
    return model


def authors(case: Case, setting: Setting, set_layer: str) -> nn.Module:
    """The authors' model of a case; their weights are stored (in, out)."""
    sys.path.insert(0, str(setting.peer))
    models = importlib.import_module("nn.models")
    pairs = tuple(pairwise(case.widths))
    model: nn.Module = models.DWSModelForClassification(
        pairs,
        tuple((width,) for width in case.widths[1:]),
        input_features=1,
        hidden_dim=case.channels,
        n_hidden=LAYERS - 1,
        n_classes=CLASSES,
        reduction="max",
        set_layer=set_layer,
        bn=True,
        input_dim_downsample=case.reduce,
    )
    return model.to(setting.device)


def hnp(case: Case, features: Any, setting: Setting) -> nn.Module:
    """NFN's layers with hidden neurons permuted, ReLU between them and a linear readout of their invariants."""
    layers, common = importlib.import_module("nfn.layers"), importlib.import_module("nfn.common")
    spec = common.network_spec_from_wsfeat(features)
    widths = [1, *[case.channels] * LAYERS]
    steps: list[nn.Module] = []
    for a, b in pairwise(widths):
        steps += [layers.HNPLinear(spec, a, b), layers.TupleOp(nn.ReLU())]
    size = case.channels * layers.HNPPool.get_num_outs(spec)
    return nn.Sequential(*steps, layers.HNPPool(spec), nn.Flatten(), nn.Linear(size, CLASSES)).to(setting.device)


def runners(case: Case, setting: Setting, quick: bool) -> dict[str, Run]:
    """Every way to run a case, by name."""
    graph = mlp_graph(case.widths, "sine")
    flat = torch.randn(case.batch, graph.numel, generator=torch.Generator().manual_seed(0))
    weights = Weights.unflatten(graph, flat).to(setting.device)
    depth = len(case.widths) - 1
    model = ours(case, weights, setting)
    models: dict[str, tuple[nn.Module, Any]] = {"ours": (model, weights)}
    if setting.compile:
        models["ours"] = (torch.compile(model, mode=setting.compile), weights)  # type: ignore[assignment]
    if setting.device == "cpu":
        models["plain"] = (plain(copy.deepcopy(model)), weights)
    if not quick:
        models["blocks"] = (block_by_block(copy.deepcopy(model)), weights)
    if setting.peer is not None:
        theirs = (
            tuple(weights[f"W{m + 1}"].mT.unsqueeze(-1).contiguous() for m in range(depth)),
            tuple(weights[f"b{m + 1}"].unsqueeze(-1) for m in range(depth)),
        )
        for name in ("DS",) if quick else ("DS", "SAB"):
            models[name] = (authors(case, setting, name.lower()), theirs)
    if setting.peer_nfn is not None and case.reduce is None:
        sys.path.insert(0, str(setting.peer_nfn))
        common = importlib.import_module("nfn.common")
        features = common.WeightSpaceFeatures(
            [weights[f"W{m + 1}"].unsqueeze(1) for m in range(depth)],
            [weights[f"b{m + 1}"].unsqueeze(1) for m in range(depth)],
        )
        models["ours, mean, no norm"] = (ours(case, weights, setting, pooling="mean", norm="none"), weights)
        models["HNP"] = (hnp(case, features, setting), features)
    return {name: lambda model=model, x=x: model(x) for name, (model, x) in models.items()}  # type: ignore[misc]


def forward(run: Run) -> None:
    """A forward pass alone."""
    with torch.no_grad():
        run()


def both_passes(run: Run) -> None:
    """A forward and a backward pass."""
    run().square().mean().backward()


def timed(step: Callable[[], None], setting: Setting) -> float:
    """Seconds that a step takes."""
    clock = time.process_time if setting.device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    step()
    if setting.device != "cpu":
        torch.cuda.synchronize()
    return clock() - begin


def measure(runs: dict[str, Run], repeat: int, setting: Setting) -> dict[str, tuple[float, float]]:
    """Median seconds of a forward pass, and of both passes, interleaved."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runs}
    for turn in range(repeat + 1):
        for name, run in runs.items():
            seconds = timed(lambda run=run: forward(run), setting), timed(lambda run=run: both_passes(run), setting)  # type: ignore[misc]
            if turn:  # the first warms up
                for times, value in zip(found[name], seconds, strict=True):
                    times.append(value)
    return {name: (statistics.median(a), statistics.median(b)) for name, (a, b) in found.items()}


def peak_memory(run: Run, setting: Setting) -> float:
    """Megabytes that both passes need above what is held before them."""
    if setting.device != "cpu":
        both_passes(run)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        both_passes(run)
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        both_passes(run)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 2**10
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    held = _kilobytes(status.read_text(), "VmRSS")
    both_passes(run)
    return (_kilobytes(status.read_text(), "VmHWM") - held) / 2**10


def _kilobytes(status: str, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def memory_in_own_process(case: str, way: str, arguments: list[str]) -> float:
    """`peak_memory` of one way, in a new process."""
    command = [sys.executable, __file__, *arguments, "--memory-of", json.dumps([case, way])]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout)


def report(name: str, case: Case, setting: Setting, options: argparse.Namespace, arguments: list[str]) -> None:
    """Measures a case and prints its table."""
    runs = runners(case, setting, options.quick)
    memory = {way: memory_in_own_process(name, way, arguments) for way in runs}  # first: this process is small still
    times = measure(runs, options.repeat, setting)
    widths = "-".join(map(str, case.widths))
    print(f"\n({name}) {case.name} {widths}, batch {case.batch}, C={case.channels}")
    print(f"{'':22}{'fwd ms':>10}{'fwd+bwd ms':>12}{'peak MB':>9}   ratio to ours: fwd, fwd+bwd, MB (wanted)")
    for way, (a, b) in times.items():
        base = "ours, mean, no norm" if way == "HNP" else "ours"
        ratios = f"{a / times[base][0]:8.2f}{b / times[base][1]:8.2f}{memory[way] / memory[base]:8.1f}"
        wanted = "".join(f" {x:g}" for x in case.wanted.get(way, ()))
        if wanted and way == "DS" and case.memory is not None:
            wanted += f" {case.memory:g}"
        print(f"{way:22}{a * 1e3:10.1f}{b * 1e3:12.1f}{memory[way]:9.0f}{ratios}" + (wanted and f"  ({wanted[1:]})"))


def depth_growth(setting: Setting, options: argparse.Namespace) -> None:
    """How time grows with the depth of the input networks."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for depth in (3, 16):
        case = Case("depth", (2, *[32] * (depth - 1), 1), 32, 16, None, {})
        runs = runners(case, setting, quick=True)
        found[depth] = measure({way: runs[way] for way in runs if way in ("ours", "DS")}, options.repeat, setting)
    print("\ndepth M=3 to 16, 2-32-…-32-1, batch 32, C=16 (an input network of 16 layers has 14 times the edges of 3)")
    print(f"{'':22}{'fwd ms':>16}{'fwd+bwd ms':>20}   growth of fwd, fwd+bwd (wanted: ours at most 8)")
    for way in found[3]:
        pairs = list(zip(found[3][way], found[16][way], strict=True))
        (a, b), (c, d) = pairs
        times = f"{f'{a * 1e3:.1f} to {b * 1e3:.1f}':>16}{f'{c * 1e3:.1f} to {d * 1e3:.1f}':>20}"
        print(f"{way:22}{times}{b / a:8.1f}{d / c:8.1f}")


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--peer", type=Path, help="a checkout of github.com/AvivNavon/DWSNets")
    parser.add_argument("--peer-nfn", type=Path, help="a checkout of github.com/AllanYangZhou/nfn")
    parser.add_argument("--cases", default="i,ii,iii,iv,depth")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", metavar="MODE", help="torch.compile ours; 'reduce-overhead' for CUDA graphs")
    parser.add_argument("--quick", action="store_true", help="batches an eighth the size, without the slowest ways")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = Setting(options.peer, options.peer_nfn, options.device, options.compile)
    cases = CASES
    if options.quick:
        cases = {k: Case(c.name, c.widths, max(c.batch // 8, 2), c.channels, c.reduce, {}) for k, c in CASES.items()}
    if options.memory_of:
        name, way = json.loads(options.memory_of)
        print(peak_memory(runners(cases[name], setting, options.quick)[way], setting))
        return
    unknown = set(options.cases.split(",")) - {*CASES, "depth"}
    if unknown:
        parser.error(f"unknown case {sorted(unknown)[0]!r}; cases are {', '.join(CASES)} and depth")
    print(f"torch {torch.__version__}, {options.device}, {options.threads} thread(s), medians of {options.repeat}")
    for name in options.cases.split(","):
        if name == "depth":
            depth_growth(setting, options)
        else:
            report(name, cases[name], setting, options, sys.argv[1:])


if __name__ == "__main__":
    main()
