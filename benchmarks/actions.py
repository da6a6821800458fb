"""Latent actions: what is recovered of hidden ones, on trained networks, in time and memory.

    python benchmarks/actions.py [--quick] [--only planted,attention,...] [--shared FOLDER] [--device cuda]

The named reference is joint weight matching from the identity (git-re-basin's default objective: coordinate descent on
Σ <W, k W kᵀ>, one assignment a layer, no gauge, no debiasing, no constraint that k is of the group), written out in
`reference`; times and recoveries are given beside its own.  Planted networks hide an action drawn at random; σ is noise
relative to each tensor's root mean square.  ``--shared`` names a folder with ``checkpoints/cifar-mirror`` and
``data/cifar10/cifar10-test.zip``.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from graphws.actions import find_actions, named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry, close
from graphws.actions.measures.equivariance import weight_errors
from graphws.actions.planted.networks import Planted, plant, recovery
from graphws.actions.problem import Problem, pose
from graphws.actions.reduction import reduce
from graphws.actions.search.search import search, start_forward
from graphws.converting import load_graph_file
from graphws.graph import LinearMap, Monomial, NetworkGraph, Weights
from graphws.operations import mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph

PICTURE = (3, 14, 14)
NUMBERS = 588


def rng(seed: int = 0) -> torch.Generator:
    """A generator of one seed."""
    return torch.Generator().manual_seed(seed)


def reference(weights: Weights, inside: Tensor, outside: Tensor, sweeps: int = 30) -> list[Tensor]:
    """Permutations of an MLP's hidden layers: joint weight matching of the network with its own image, identity start.

    inside and outside are the group's permutations of inputs and outputs.
    """
    names = [p.name for p in weights.graph.parameters if p.kind == "weight"]
    layers = [weights[name][0].double().cpu() for name in names]
    perms = [inside, *(torch.arange(len(layer)) for layer in layers[:-1]), outside]
    for _ in range(sweeps):
        changed = False
        for k in torch.randperm(len(layers) - 1, generator=rng()).tolist():
            into, out = layers[k], layers[k + 1]
            score = into @ into[:, perms[k]].mT + out.mT @ out[perms[k + 2]]
            found = torch.from_numpy(linear_sum_assignment(score.numpy(), maximize=True)[1])
            changed |= not torch.equal(found, perms[k + 1])
            perms[k + 1] = found
        if not changed:
            break
    return perms[1:-1]


def solve(problem: Problem) -> tuple[list[dict[str, object]], float]:
    """The maps found for the network as given, and the largest weight error."""
    best = search(problem, generator=rng())
    found = [dict(problem.original(maps).maps) for maps in best.maps]
    return found, max(weight_errors(problem, best.maps).values())  # type: ignore[return-value]


def hidden(graph: NetworkGraph, shares: dict[str, float]) -> float:
    """The mean share over spaces that move."""
    moving = [share for name, share in shares.items() if graph.space(name).moves]
    return sum(moving) / len(moving)


def planted(
    widths: Sequence[int], activation: str | Sequence[str], group: str, seed: int
) -> tuple[Planted, DataSymmetry, NetworkGraph]:
    """A network with a hidden action, the group, and the graph."""
    graph = mlp_graph(list(widths), activation if isinstance(activation, str) else list(activation))
    symmetry = named_symmetry(
        group, PICTURE, "same" if widths[-1] == NUMBERS else "invariant", outputs=widths[-1]
    )  # fmt: skip
    return plant(graph, place(graph, symmetry, PICTURE), rng(seed)), symmetry, graph


def table_planted(quick: bool, device: str) -> None:
    """MLPs, by noise."""
    print("planted MLPs: share of hidden neurons recovered, by σ (reference: joint weight matching from the identity)")
    levels = [0.0, 0.1, 0.5, 1.0]
    cases: list[tuple[str, list[int], str | list[str], str]] = [
        ("588-64-64-64-588, mirror", [588, 64, 64, 64, 588], "tanh", "mirror"),
        ("588-64-256-256-588, mirror", [588, 64, 256, 256, 588], ["tanh", "gelu", "gelu"], "mirror"),
        ("10 logits, mirror", [588, 64, 64, 64, 10], "tanh", "mirror"),
        ("7 hidden layers, 10 outputs", [588, *[64] * 7, 10], "tanh", "mirror"),
        ("ReLU, scales hidden", [588, 64, 64, 588], "relu", "mirror"),
        ("Z4, turns", [588, 64, 64, 588], "tanh", "rotations:4"),
        ("D4, turns and mirrors", [588, 64, 64, 588], "tanh", "dihedral"),
    ]
    print(
        f"  {'case':32}"
        + "".join(f"  σ={level:<4}" for level in levels)
        + "   error at 0   reference at 0 (mean of up to 3 draws)"
    )
    for name, widths, activation, group in cases[:3] if quick else cases:
        shares, exact = [0.0] * len(levels), 0.0
        seeds = 1 if quick or symmetric_order(group) > 4 else 3
        for seed in reversed(range(seeds)):
            case, symmetry, graph = planted(widths, activation, group, seed)
            for k, level in enumerate(levels):
                weights = case.noisy(level, rng(1)) if level else case.weights
                found, error = solve(pose(weights.to(device=device), symmetry, PICTURE))
                shares[k] += hidden(graph, recovery(_host(found), case.actions)) / seeds
                exact = max(exact, error if level == 0 else 0.0)
        other = "-"
        if symmetry.order == 2:
            perms = reference(case.weights, *(_perm(case, name) for name in ("input", "output")))
            truth = [_perm(case, f"hidden{k + 1}") for k in range(len(perms))]
            good = sum(float((a == b).double().mean()) for a, b in zip(perms, truth, strict=True)) / len(perms)
            other = f"{good:.1%} (signs not counted)"
        print(f"  {name:32}" + "".join(f"  {share:6.1%}" for share in shares) + f"   {exact:.1e}      {other}")


def symmetric_order(group: str) -> int:
    """Order of a group of pictures."""
    return named_symmetry(group, PICTURE).order


def _perm(case: Planted, space: str) -> Tensor:
    element = case.actions[1][space]
    assert isinstance(element, Monomial)
    return element.perm


def _host(found: list[dict[str, object]]) -> list[dict[str, object]]:
    return [
        {
            name: Monomial(m.perm.cpu(), None if m.scale is None else m.scale.cpu()) if isinstance(m, Monomial) else m
            for name, m in maps.items()
        }
        for maps in found
    ]


def table_redundant(quick: bool, device: str) -> None:
    """Redundant neurons, before and after reduction."""
    print(
        "64 neurons, 16 dead and 16 copied a layer, noise on all of them: share of the 64 recovered (a neuron sent to a"
    )
    print("  copy of its target counts), and largest weight error; raw, and after reduction with tolerance gap")
    for level in (0.0, 0.001, 0.01, 0.1):
        rows = [recovered_beside_redundant(seed, level, device) for seed in range(1 if quick else 3)]
        raw, raw_error, share, error = (sum(row[k] for row in rows) / len(rows) for k in range(4))
        widths = sorted({width for row in rows for width in row[4]})
        print(f"  σ={level:<5} raw {raw:6.1%}, {raw_error:.2e}; reduced to {widths}: {share:6.1%}, {error:.2e}")


def recovered_beside_redundant(
    seed: int, level: float, device: str = "cpu", widths: Sequence[int] = (NUMBERS, 64, 64, 64, NUMBERS)
) -> tuple[float, float, float, float, list[int]]:
    """Recovery and weight error of a hidden mirror beside redundant neurons, raw and reduced; the reduced widths."""
    case, symmetry, _ = planted(widths, "tanh", "mirror", seed)
    padded, origins = redundant(case.weights, 16, 16, rng(50 + seed))
    noisy = Planted(padded, ()).noisy(level, rng(1)).to(device=device)
    found, raw_error = solve(pose(noisy, symmetry, PICTURE))
    raw = real_share(_host(found)[1], case, origins, {})
    small = reduce(noisy, tolerance="gap")
    found, error = solve(pose(small.weights, symmetry, PICTURE))
    keep = {name: space.keep for name, space in small.maps.items() if space.keep is not None}
    share = real_share(_host(found)[1], case, origins, keep)
    return raw, raw_error, share, error, [space.reduced for space in small.maps.values()]


Origins = dict[str, tuple[Tensor, Tensor]]
"""For each padded space which real neuron each of its neurons is (-1: none), and the sign between their values."""


def redundant(weights: Weights, dead: int, copied: int, generator: torch.Generator) -> tuple[Weights, Origins]:
    """A tanh MLP of the same function, in every hidden layer with neurons that nothing alive reads, and copies up to a
    sign that share their original's column."""
    names = [p.name for p in weights.graph.parameters if p.kind == "weight"]
    matrices = [weights[name][0] for name in names]
    biases = [weights[p.name][0] for p in weights.graph.parameters if p.kind == "bias"]
    kind, origins = {"dtype": matrices[0].dtype}, {}
    for k in range(len(matrices) - 1):
        real = len(matrices[k])
        chosen = torch.randperm(real, generator=generator)[:copied]
        sign = torch.where(torch.rand(copied, generator=generator) < 0.5, -1.0, 1.0).to(**kind)
        part = (0.2 + 0.6 * torch.rand(copied, generator=generator)).to(**kind)
        rows = torch.randn(dead, matrices[k].shape[1], generator=generator, **kind) / matrices[k].shape[1] ** 0.5
        levels = 0.1 * torch.randn(dead, generator=generator, **kind)
        matrices[k] = torch.cat([matrices[k], sign.unsqueeze(1) * matrices[k][chosen], rows])
        biases[k] = torch.cat([biases[k], sign * biases[k][chosen], levels])
        after = matrices[k + 1].clone()
        after[:, chosen] *= 1 - part
        shared = matrices[k + 1][:, chosen] * part * sign
        matrices[k + 1] = torch.cat([after, shared, torch.zeros(len(after), dead, **kind)], 1)
        none = torch.full((dead,), -1)
        origins[f"hidden{k + 1}"] = (
            torch.cat([torch.arange(real), chosen, none]),
            torch.cat([torch.ones(real, **kind), sign, torch.ones(dead, **kind)]),
        )
    graph = mlp_graph([matrices[0].shape[1], *(len(m) for m in matrices)], "tanh")
    numbers = {f"W{k + 1}": m for k, m in enumerate(matrices)} | {f"b{k + 1}": b for k, b in enumerate(biases)}
    return Weights(graph, {p.name: numbers[p.name].unsqueeze(0) for p in graph.parameters}), origins


def real_share(found: dict[str, object], case: Planted, origins: Origins, keep: dict[str, Tensor]) -> float:
    """Share of the real neurons that go where the hidden mirror sends them, or to a copy of that one, signs included.

    keep: for each reduced space which of the padded neurons stayed; all of them where it is missing.
    """
    shares = []
    for name, (origin, sign) in origins.items():
        stayed = keep.get(name, torch.arange(len(origin)))
        here, signs = origin[stayed], sign[stayed]
        truth, element = case.actions[1][name], found[name]
        assert isinstance(truth, Monomial)
        assert isinstance(element, Monomial)
        wanted = truth.scale.sign() if truth.scale is not None else torch.ones(truth.size, dtype=sign.dtype)
        given = element.scale.sign() if element.scale is not None else torch.ones(element.size, dtype=sign.dtype)
        good = torch.zeros(truth.size, dtype=torch.bool)
        for r in range(len(stayed) - 1, -1, -1):  # the first neuron of an origin has the last word
            if here[r] >= 0:
                moved = int(element.perm[r])
                right = here[moved] == truth.perm[here[r]]
                good[here[r]] = right and signs[r] * given[r] * signs[moved] == wanted[here[r]]
        shares.append(float(good.double().mean()))
    return sum(shares) / len(shares)


def table_attention(quick: bool, device: str) -> None:
    """Attention networks, by noise; the bar is 6σ up to σ = .03."""
    print("planted attention, 3 layers: least share of heads recovered; relative error of the heads' matrices, the")
    print("  largest over layers and elements, median over draws (hidden bases of condition 4), and over σ in brackets")
    z2, z4, s3 = {"a": [1, 0]}, {"a": [1, 2, 3, 0]}, {"a": [1, 0, 2], "b": [1, 2, 0]}
    cases = [("Z2", z2, 8, 8, 16), ("Z2", z2, 32, 16, 32), ("Z4", z4, 8, 8, 16), ("S3", s3, 12, 12, 24)]
    for name, given, heads, dim, width in cases[: 1 if quick else None]:
        symmetry = on_features(name, given, width, tokens=6)
        layers = [AttentionLayer(heads, dim), *(AttentionLayer(heads, dim, width) for _ in range(2))]
        graph = attention_graph(width, layers, output=width)
        parts = []
        for level in (0.0, 0.01, 0.03, 0.1):
            shares, gaps = [], []
            for seed in range(1 if quick else 3):
                case = plant(graph, place(graph, symmetry, (6, width)), rng(seed), condition=4.0)
                weights = case.noisy(level, rng(10 + seed)) if level else case.weights
                found, _ = solve(pose(weights.to(device=device), symmetry, (6, width)))
                recovered = recovery(_host(found), case.actions)
                shares.append(min(share for space, share in recovered.items() if space.startswith("head")))
                gaps.append(max(matrix_gaps(found, case)))
            middle = float(np.median(gaps))
            parts.append(f"σ={level}: {min(shares):.1%}, {middle:.1e}" + (f" [{middle / level:.1f}σ]" if level else ""))
        print(f"  {name}, {heads} heads of {dim}: " + "; ".join(parts))


def on_features(name: str, given: dict[str, list[int]], width: int, tokens: int) -> DataSymmetry:
    """A group on the features of every token, by copies of its regular representation."""
    base = close(name, {key: Monomial(torch.tensor(value)) for key, value in given.items()})
    maps = {}
    for key, index in base.generators.items():
        perm = torch.empty(base.order, dtype=torch.long)
        perm[base.table[index]] = torch.arange(base.order)
        inner = torch.cat([perm + base.order * c for c in range(width // base.order)])
        maps[key] = Monomial(torch.cat([inner + width * t for t in range(tokens)]))
    return close(name, maps)


def matrix_gaps(found: list[dict[str, object]], case: Planted) -> list[float]:
    """Relative errors of the matrices on the heads' values."""
    gaps = []
    for ours, theirs in list(zip(found, case.actions, strict=True))[1:]:
        for name, element in theirs.items():
            if isinstance(element, LinearMap) and name.startswith("value"):
                wanted = element.matrix()
                gaps.append(float((ours[name].matrix().cpu() - wanted).norm() / wanted.norm()))  # type: ignore[attr-defined]
    return gaps


def table_untrained(quick: bool, device: str) -> None:
    """Where nothing must be found."""
    print("networks without the symmetry, and decoy groups (must be: no action found)")
    graph = mlp_graph([588, 64, 64, 588], "tanh")
    draw = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(), dtype=torch.float64))
    spread = draw.map(lambda x: x / x.shape[-1] ** 0.5)
    print(f"  random weights: {find_actions(spread, 'mirror', PICTURE).verdict.outcome}")
    case, _, _ = planted([588, 64, 64, 588], "tanh", "mirror", 0)
    for group in ("flip", "rotations:2", "transpose"):
        print(f"  {group} on a mirror network: {find_actions(case.weights, group, PICTURE).verdict.outcome}")


def table_width(quick: bool, device: str) -> None:
    """Time and memory."""
    print("time and memory against width, 588-n-n-588 with a mirror: forward start against the reference's descent;")
    print("  and the whole analysis, with reduction, one decoy and the verdict")
    for width in (256, 1024) if quick else (256, 1024, 2048, 4096):
        case, symmetry, graph = planted([588, width, width, 588], "gelu", "mirror", 0)
        weights = case.weights.to(device=device, dtype=torch.float32)
        began = time.perf_counter()
        problem = pose(weights, symmetry, PICTURE)
        found = start_forward(problem, "weights")
        ours = time.perf_counter() - began
        share = hidden(graph, recovery(_host([dict(problem.original(m).maps) for m in found.maps]), case.actions))
        del problem, found
        began = time.perf_counter()
        outcome = find_actions(weights, symmetry, PICTURE, decoys=1, dtype=None).verdict.outcome
        whole = time.perf_counter() - began
        began = time.perf_counter()
        perms = reference(case.weights, _perm(case, "input"), _perm(case, "output"), sweeps=30)
        theirs = time.perf_counter() - began
        good = sum(float((p == _perm(case, f"hidden{k + 1}")).double().mean()) for k, p in enumerate(perms)) / 2
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"  n={width}: {ours:.2f} s, {share:.1%}; reference {theirs:.2f} s, {good:.1%}; ratio {ours / theirs:.2f}; "
            f"whole {whole:.1f} s, {outcome}; peak {peak:.2f} GiB so far"
        )


def table_cifar(shared: Path, points: int) -> None:
    """Networks trained on CIFAR-10."""
    print("CIFAR-10 checkpoints trained with a mirror loss (layer 1 must match 5 times what any decoy does)")
    pictures = read_pictures(shared / "data" / "cifar10" / "cifar10-test.zip", points)
    for name, first, output in (
        ("ae_tanh", "tanh", "same"),
        ("cls_tanh", "tanh", "invariant"),
        ("ae_gelu", "gelu", "same"),
    ):
        path = shared / "checkpoints" / "cifar-mirror" / f"{name}.pt"
        network = load_graph_file(path, activation=[first, "gelu", "gelu"])
        began = time.perf_counter()
        found = find_actions(network, "mirror", PICTURE, output, data=pictures, decoys=4)
        layer = found.layers[0]
        rival = layer.best_rival.matched if layer.best_rival else 0.0
        ratio = layer.matched / rival if rival else float("inf")
        print(f"  {name}: layer 1 matched {layer.matched:.0%}, decoys {rival:.0%}, ratio {ratio:.1f}")
        print("    K-error " + " ".join(f"{x.k_error:.3f}" for x in found.layers)
              + "; GL-error " + " ".join(f"{x.gl_error or 0:.3f}" for x in found.layers)
              + f"; end to end {found.end_to_end:.3f}; {time.perf_counter() - began:.0f} s")  # fmt: skip
        print(f"    {found.verdict.text}")


def read_pictures(archive: Path, points: int) -> Tensor:
    """Test pictures as the checkpoints saw them: a 28 x 28 crop, averaged to 14 x 14, standardised."""
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".jpg"))
        order = torch.randperm(len(names), generator=rng())[:points].tolist()
        read = [np.asarray(Image.open(io.BytesIO(opened.read(names[k]))).convert("RGB")) for k in order]
    crops = torch.from_numpy(np.stack(read))[:, 2:30, 2:30].double().permute(0, 3, 1, 2)
    return (torch.nn.functional.avg_pool2d(crops, 2) / 255 - 0.47) / 0.25


TABLES: dict[str, Callable[[bool, str], None]] = {
    "planted": table_planted,
    "redundant": table_redundant,
    "attention": table_attention,
    "untrained": table_untrained,
    "width": table_width,
}


def main() -> None:
    """Runs the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer cases, smaller widths")
    parser.add_argument("--only", default=",".join([*TABLES, "cifar"]), help="tables, separated by commas")
    parser.add_argument("--shared", type=Path, help="folder with checkpoints and data for the CIFAR table")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}")
    for name, table in TABLES.items():
        if name in chosen:
            table(arguments.quick, arguments.device)
    if "cifar" in chosen and arguments.shared is not None:
        table_cifar(arguments.shared, 500 if arguments.quick else 2000)


if __name__ == "__main__":
    main()
