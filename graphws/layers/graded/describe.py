"""What a model in which weights act is made of, on one graph, in words.

>>> from graphws.operations import mlp_graph
>>> for line in describe(mlp_graph([2, 4, 3, 1], activation="sine"), "rich"):
...     print(line)
features: hidden1, hidden1 (odd), hidden2, hidden2 (odd), network
starts: W1 -> hidden1 (odd)
starts: b1 -> hidden1 (odd)
starts: size of W2 -> hidden2
starts: size of W2 -> hidden1
starts: b2 -> hidden2 (odd)
starts: W3 -> hidden2 (odd)
starts: b3 -> network
carries: W2: hidden1 (odd) -> hidden2 (odd)
carries: W2 squared: hidden1 -> hidden2
carries: W2: hidden2 (odd) -> hidden1 (odd)
carries: W2 squared: hidden2 -> hidden1
"""

from __future__ import annotations

from collections.abc import Iterator

from graphws.graph import NetworkGraph
from graphws.layers.acting.grades import Symmetry
from graphws.layers.graded.inlets import inlets
from graphws.layers.graded.plan import make_plan


def describe(graph: NetworkGraph, symmetry: Symmetry, acts: bool = True) -> Iterator[str]:
    """Which features there are, what they start from and along which weights they travel; a line each."""
    plan = make_plan(graph, symmetry, "none", acts)
    grades = plan.grades
    words = []
    for space in plan.moving:
        words += [space] if space in plan.sites else []
        words += [grades.word(space, grade) for name, grade in plan.graded if name == space]
    yield f"features: {', '.join([*words, 'network'])}"
    for inlet in inlets(grades):
        yield f"starts: {inlet}"
    for route in plan.routes:
        yield f"carries: {route}"
