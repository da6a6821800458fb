"""Small classifiers of digits, trained in a second, for tasks that run the networks that they read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from graphws.graph import NetworkGraph, Weights
from graphws.operations import forward, mlp_graph
from graphws.operations.sampling import random_weights
from graphws.zoo import Zoo, load_digits
from graphws.zoo.sources.labelled_pictures import Pictures, pictures_from, to_float
from graphws.zoo.writer import building, finish

GRAPH = mlp_graph([64, 16, 10])


def digits() -> Pictures:
    """scikit-learn's digits, a fifth of them for tests."""
    return pictures_from(load_digits(), 0.2)


def trained(count: int, steps: int, pairs: Sequence[tuple[int, int]] = (), graph: NetworkGraph = GRAPH) -> Weights:
    """Networks trained side by side with Adam on batches of their own, of all classes or of two each."""
    generator = torch.Generator().manual_seed(0)
    start = random_weights(graph, count, generator, torch.float32)
    tensors = {name: (0.5 * x).requires_grad_() for name, x in start.items()}
    optimizer = torch.optim.Adam(tensors.values(), lr=1e-2)
    pixels, labels = digits().part(test=False)
    x = to_float(pixels).flatten(1)
    allowed = torch.ones(count, len(labels))
    for k, pair in enumerate(pairs):
        allowed[k] = ((labels == pair[0]) | (labels == pair[1])).float()
    for _ in range(steps):
        index = torch.multinomial(allowed, 32, replacement=True, generator=generator)
        scores = forward(graph, Weights(graph, tensors), x[index])
        assert isinstance(scores, torch.Tensor)
        loss = functional.cross_entropy(scores.flatten(0, 1), labels[index].flatten(), reduction="sum") / 32
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Weights(graph, {name: x.detach() for name, x in tensors.items()})


def zoo_of(path: Path, weights: Weights, pairs: Sequence[tuple[int, int]] = ()) -> Zoo:
    """The networks as a zoo: 60 % to learn from, 20 % to choose by, 20 % to test."""
    splits = ("train", "train", "train", "validation", "test")
    names = [splits[k % 5] for k in range(weights.batch)]
    table: dict[str, np.ndarray] = {"split": np.array(names, dtype=object)}
    if pairs:
        table["class_a"], table["class_b"] = np.array(pairs).T
    with building(path):
        finish(path, {"mlp": weights.graph}, lambda name, a, b: weights.select(slice(a, b)), table, {})
    return Zoo.open(path)
