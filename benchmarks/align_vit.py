"""The barrier between two vision transformers trained apart on digits: as trained, and aligned in three ways.

Trains two ViTs with layer norms (scikit-learn's 8 x 8 digits, patches of 2 x 2) from different random starts, at the
scale stated in the first line, and prints the test loss on the line between them: as they came; by weight matching with
permutations of the stream, of heads and of neurons, written here anew and without graphws; by `graphws.align` from
weights alone; refined by gradient on noise, without data; and refined on the training pictures.

    python benchmarks/align_vit.py [--width 64] [--heads 4] [--hidden 128] [--blocks 2] [--epochs 40] [--steps 200]
                                   [--seeds 1 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from graphws.align import Barrier, barrier, classification_loss, noise_inputs
from graphws.align.orthogonal import match_streams, refine
from graphws.converting import convert
from graphws.graph import Weights
from graphws.operations import outputs_of

TRAINING = 1297
State = dict[str, Tensor]


class Block(nn.Module):
    """Attention and a perceptron behind layer norms."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(points, tokens, width) to the same."""
        y = self.n1(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = x + self.down(functional.gelu(self.up(self.n2(x))))
        return out


class ViT(nn.Module):
    """Patches of 2 x 2, learned positions, the mean of the tokens."""

    def __init__(self, width: int, heads: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.pos = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(points, 1, 8, 8) to logits (points, 10)."""
        x = self.embed(functional.unfold(x, 2, stride=2).transpose(1, 2)) + self.pos
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.norm(x).mean(1))
        return out


def train(net: ViT, x: Tensor, y: Tensor, epochs: int) -> None:
    """AdamW, one cycle of the rate, label smoothing .05."""
    batch = 64
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps * epochs, pct_start=0.1)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for k in range(steps):
            rows = order[k * batch : (k + 1) * batch]
            loss = functional.cross_entropy(net(x[rows]), y[rows], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    net.eval()


def permuted(first: State, second: State, blocks: int, heads: int, sweeps: int = 100) -> State:
    """Weight matching by permutations (Ainsworth et al. 2023, algorithm 1) of the stream, of heads and of neurons.

    Dimensions keep their places inside heads; coordinate descent on <A, P B>, from the identity, over state dicts.
    """
    rows: dict[str, list[tuple[str, int]]] = {"stream": [("embed.weight", 0), ("embed.bias", 0), ("pos", 2)]}
    rows["stream"] += [("norm.weight", 0), ("norm.bias", 0), ("head.weight", 1)]
    for b in range(blocks):
        p = f"blocks.{b}."
        rows["stream"] += [(p + f"{n}.{w}", 0) for n in ("n1", "n2", "o", "down") for w in ("weight", "bias")]
        rows["stream"] += [(p + f"{n}.weight", 1) for n in ("q", "k", "v", "up")]
        rows[f"heads{b}"] = [(p + f"{n}.{w}", 0) for n in "qkv" for w in ("weight", "bias")] + [(p + "o.weight", 1)]
        rows[f"up{b}"] = [(p + "up.weight", 0), (p + "up.bias", 0), (p + "down.weight", 1)]
    moved = {name: tensor.clone() for name, tensor in second.items()}
    for _ in range(sweeps):
        changed = False
        for name, places in rows.items():
            groups = heads if name.startswith("heads") else None
            score: Tensor | None = None
            for key, axis in places:
                ours, theirs = (side[key].movedim(axis, 0) for side in (first, moved))
                n = groups or len(ours)
                part = ours.reshape(n, -1) @ theirs.reshape(n, -1).T
                score = part if score is None else score + part
            assert score is not None
            best = torch.from_numpy(linear_sum_assignment(score.double().numpy(), maximize=True)[1])
            if torch.equal(best, torch.arange(len(best))):
                continue
            changed = True
            for key, axis in places:
                here = moved[key].movedim(axis, 0)
                parts = here.reshape(len(best), -1, *here.shape[1:])[best]
                moved[key] = parts.reshape(here.shape).movedim(0, axis)
        if not changed:
            break
    return moved


def main() -> None:
    """Trains, aligns and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    for name, value in (("width", 64), ("heads", 4), ("hidden", 128), ("blocks", 2), ("epochs", 40), ("steps", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seeds", type=int, nargs=2, default=[1, 2])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)[order] / 16
    y = torch.tensor(digits.target)[order]
    print(
        f"two ViTs, width {given.width}, {given.heads} heads, {given.hidden} neurons, {given.blocks} blocks; digits, "
        f"{TRAINING} to train on, {len(x) - TRAINING} to test; {given.epochs} epochs; seeds {given.seeds}"
    )
    states: list[State] = []
    for seed in given.seeds:
        torch.manual_seed(seed)
        net = ViT(given.width, given.heads, given.hidden, given.blocks)
        train(net, x[:TRAINING], y[:TRAINING], given.epochs)
        with torch.no_grad():
            right = (net(x[TRAINING:]).argmax(1) == y[TRAINING:]).double().mean()
        print(f"seed {seed}: {100 * right:.1f} % of the test pictures")
        states.append({name: tensor.detach().clone() for name, tensor in net.state_dict().items()})
    graph = convert(net, x[:4]).graph
    first, second = (Weights.from_state_dict(graph, state).to(dtype=torch.float64) for state in states)
    test, pictures = x[TRAINING:].double(), x[:TRAINING].double()
    loss = classification_loss(test, y[TRAINING:])
    results: dict[str, dict[str, float]] = {}

    def show(name: str, ours: Weights, theirs: Weights, spent: float) -> None:
        line: Barrier = barrier(ours, theirs, loss, 11)
        plain = results["as trained"]["barrier"] if results else line.height
        before, after = (outputs_of(w.graph, w, test) for w in (second, theirs))
        change = float((before - after).abs().max())
        results[name] = {"barrier": line.height, "ratio": line.height / plain, "halfway": line.middle, "change": change}
        print(f"{name:38s} {line.height:8.4f} {line.height / plain:8.3f} {line.middle:8.4f} {change:9.1e} {spent:7.1f}")

    print(f"\n{'aligned by':38s} {'barrier':>8s} {'share':>8s} {'halfway':>8s} {'change':>9s} {'CPU s':>7s}")
    show("as trained", first, second, 0.0)
    start = time.process_time()
    other = permuted(states[0], states[1], given.blocks, given.heads)
    moved = Weights.from_state_dict(graph, other).to(dtype=torch.float64)
    show("permutations, without graphws", first, moved, time.process_time() - start)
    start = time.process_time()
    found = match_streams(first, second, generator=torch.Generator().manual_seed(0))
    show("weights: streams, heads, neurons", found.met, found.aligned, time.process_time() - start)
    start = time.process_time()
    noise = noise_inputs((1, 8, 8), generator=torch.Generator().manual_seed(0))
    learned = refine(found, noise, generator=torch.Generator().manual_seed(0), steps=given.steps)
    show("refined on noise, without data", found.met, learned.match.aligned, time.process_time() - start)
    start = time.process_time()
    learned = refine(found, pictures, y[:TRAINING], generator=torch.Generator().manual_seed(0), steps=given.steps)
    show("refined on the training pictures", found.met, learned.match.aligned, time.process_time() - start)
    if given.json is not None:
        given.json.write_text(json.dumps({"seeds": given.seeds, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
