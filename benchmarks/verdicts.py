"""How often a verdict on latent actions is right: random networks, planted ones in noise, broken ones, students.

    python benchmarks/verdicts.py [--networks 200] [--only random,planted,broken,student]

Random networks, three times as many, have no symmetry, so every action that is claimed on one is false, and on every
layer of one.  Planted networks have one by construction; σ is noise relative to each tensor's root mean square; what is
recovered, all neurons where they were put, should be claimed.  Broken ones are planted, but for one layer that is
drawn at random: layers before it should be claimed, that one and (as outputs stay) those behind it should not.
Students are fitted to the outputs of a symmetric teacher and told nothing of the symmetry.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import TypeVar

import torch

from graphws.actions import find_actions, named_symmetry
from graphws.actions.analysis.result import Actions
from graphws.actions.decoys.relabelled import RELABELLINGS
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry, close
from graphws.actions.planted.networks import Planted, plant, recovery
from graphws.actions.planted.students import fit_student
from graphws.actions.reduction import reduce
from graphws.actions.verdict.verdict import LEVEL
from graphws.graph import Monomial, Weights
from graphws.operations import forward, mlp_graph

T = TypeVar("T")


class Draw:
    """Random choices from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.rng))

    def one(self, *options: T) -> T:
        """One of some options."""
        return options[self.number(0, len(options) - 1)]

    def normal(self, *shape: int) -> torch.Tensor:
        """Normal numbers in float64."""
        return torch.randn(*shape, generator=self.rng, dtype=torch.float64)


def table_random(networks: int) -> None:
    """Networks without a symmetry: small, since small ones are fooled most easily."""
    outcomes: Counter[str] = Counter()
    layers, claimed, first = 0, 0, []
    for seed in range(3 * networks):
        draw = Draw(seed)
        side, same = draw.number(2, 4), draw.one(True, False)
        group = draw.one("mirror", "flip", "rotations:2", "transpose", "rotations:4", "dihedral")
        hidden = [draw.number(2, 23) for _ in range(draw.number(1, 3))]
        widths = [side * side, *hidden, side * side if same else draw.number(1, 5)]
        graph = mlp_graph(widths, draw.one("tanh", "relu", "gelu", "sine"))
        weights = Weights.unflatten(graph, draw.normal(1, graph.numel) * (0.3 + draw.number(0, 2)))
        probes, decoys = draw.one(0, 8, 30, 100), draw.one(0, 1, 3)
        data = draw.normal(probes, 1, side, side) if probes else None
        output = "same" if same else "invariant"
        found = find_actions(weights, group, (1, side, side), output, data=data, decoys=decoys)
        outcomes[found.verdict.outcome] += 1
        layers += len(found.layers)
        claimed += sum(o in ("exact", "found") for o in {**found.verdict.layers, **found.verdict.ends}.values())
        evidence = found.layers[0].relabelled
        if evidence is not None and len(evidence.decoys) == RELABELLINGS:
            first.append(evidence.p_value <= LEVEL)
        if found.verdict.outcome != "no action found":
            print(f"  false: network {seed}, {group} on {widths}: {found.verdict.text}", flush=True)
    count = 3 * networks
    print(f"{count} random networks of 1-3 layers, 0-100 probes, 0-3 decoys (any claim is false): {dict(outcomes)}")
    by_chance = f"p ≤ {LEVEL} on {sum(first)} of {len(first)} first layers (by chance at most {LEVEL:.0%})"
    print(f"  {claimed} of {layers} layers claimed; {by_chance}", flush=True)


def planted(draw: Draw) -> tuple[Planted, DataSymmetry, tuple[int, ...], torch.Tensor | None]:
    """A planted network, its group, the shape of its inputs, and probes for half of them."""
    side, same = draw.number(4, 6), draw.one(True, False)
    group = draw.one("mirror", "rotations:4", "dihedral")
    hidden = [draw.number(12, 31) for _ in range(draw.number(1, 3))]
    widths, shape = [side * side, *hidden, side * side if same else 10], (1, side, side)
    graph = mlp_graph(widths, draw.one("tanh", "relu", "gelu"))
    symmetry = named_symmetry(group, shape, "same" if same else "invariant", outputs=widths[-1])
    case = plant(graph, place(graph, symmetry, shape), draw.rng)
    return case, symmetry, shape, draw.normal(60, *shape) if draw.one(True, False) else None


def table_planted(networks: int) -> None:
    """Networks with a symmetry."""
    print(f"{networks} planted networks, pictures of 4-6 pixels a side, 1-3 layers of 12-31 neurons, 2 decoys:")
    outcomes: dict[tuple[float, bool], Counter[str]] = {}
    right: dict[tuple[float, bool], Counter[bool]] = {}
    for seed in range(networks):
        draw = Draw(seed)
        case, symmetry, shape, data = planted(draw)
        level = (0.0, 0.03, 0.1)[seed % 3]
        weights = case.noisy(level, draw.rng) if level else case.weights
        found = find_actions(weights, symmetry, shape, data=data, decoys=2)
        key = (level, data is not None)
        outcomes.setdefault(key, Counter())[found.verdict.outcome] += 1
        elements = found.elements if found.reduction is None else [found.reduction.lift(e) for e in found.elements]
        if min(recovery([e.maps for e in elements], case.actions).values()) == 1:
            claimed = found.verdict.outcome in ("exact action", "action found")
            right.setdefault(key, Counter())[claimed] += 1
            if not claimed:
                print(f"  recovered, not claimed: network {seed}: {found.verdict.text}", flush=True)
    for key, counts in sorted(outcomes.items()):
        known = right.get(key, Counter())
        print(
            f"  σ={key[0]:<4} {'60 probes' if key[1] else 'weights alone'}: {dict(counts)}; all neurons right in "
            f"{known.total()}, of which claimed {known[True]}",
            flush=True,
        )


def table_broken(networks: int) -> None:
    """Networks whose symmetry one layer breaks; outputs stay, so that nothing is linked to them."""
    before, behind, count = Counter[str](), Counter[str](), networks // 4
    for seed in range(count):
        draw = Draw(seed)
        graph = mlp_graph([36, *(draw.number(16, 31) for _ in range(3)), 10], draw.one("tanh", "relu", "gelu"))
        symmetry = named_symmetry(draw.one("mirror", "rotations:4"), (1, 6, 6), "invariant", outputs=10)
        case, at = plant(graph, place(graph, symmetry, (1, 6, 6)), draw.rng), draw.number(1, 4)
        weights = case.noisy(level, draw.rng) if (level := draw.one(0.0, 0.03)) else case.weights
        drawn = draw.normal(*weights[f"W{at}"].shape) * weights[f"W{at}"].square().mean().sqrt()
        network = Weights(graph, {**weights.tensors, f"W{at}": drawn})
        data = draw.normal(60, 1, 6, 6) if draw.one(True, False) else None
        found = find_actions(network, symmetry, (1, 6, 6), data=data, decoys=2).verdict
        every = list({**found.layers, **found.ends}.values())
        before.update(every[: at - 1])
        behind.update(every[at - 1 :])
    print(f"{count} planted networks of 3 layers with one layer drawn at random, σ = 0 or .03: layers before it")
    print(f"  {dict(before)}, that one and those behind it {dict(behind)}", flush=True)


def table_student(networks: int) -> None:
    """Students of symmetric teachers."""
    print("one hidden layer, tanh students of a symmetric teacher of their width: K-error (bar 1e-5)")
    symmetry = close(
        "swap",
        {"m": Monomial(torch.tensor([1, 0, 3, 2, 5, 4]))},
        {"m": Monomial(torch.tensor([1, 0, 3, 2]))},
    )
    for width in (6, 10):
        graph, student_graph = mlp_graph([6, 6, 4], "tanh"), mlp_graph([6, width, 4], "tanh")
        for seed in range(5, 9):
            tensors = plant(graph, place(graph, symmetry, (6,)), generator(seed)).weights.tensors
            teacher = Weights(graph, {**tensors, "W1": 2 * tensors["W1"], "b1": 3 * tensors["b1"]})
            x = torch.randn(2048, 6, generator=generator(100 + seed), dtype=torch.float64)
            began = time.perf_counter()
            student, error = fit_student(student_graph, x, forward(graph, teacher, x)[0], generator(seed))
            spent = time.perf_counter() - began
            raw = find_actions(student, symmetry, (6,), data=x[:500], decoys=0)
            small = reduce(student, x[:500], tolerance="gap").weights
            found = find_actions(small, symmetry, (6,), data=x[:500], decoys=0)
            print(f"  width {width}, teacher {seed}: fit error {error:.0e} ({spent:.0f} s), end to end "
                  f"{raw.end_to_end:.1e}, K-error {worst(raw):.1e}; reduced to "
                  f"{small.graph.space('hidden1').size}: {found.end_to_end:.1e}, {worst(found):.1e}")  # fmt: skip


def worst(found: Actions) -> float:
    """The largest K-error of all layers."""
    return max(layer.k_error for layer in found.layers)


def generator(seed: int) -> torch.Generator:
    """A generator of one seed."""
    return torch.Generator().manual_seed(seed)


TABLES = {"random": table_random, "planted": table_planted, "broken": table_broken, "student": table_student}


def main() -> None:
    """Runs the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=int, default=200, help="how many planted ones; three times as many random ones"
    )
    parser.add_argument("--only", default=",".join(TABLES), help="tables, separated by commas")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, table in TABLES.items():
        if name in arguments.only.split(","):
            table(arguments.networks)


if __name__ == "__main__":
    main()
