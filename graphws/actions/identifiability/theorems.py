"""Which theorem says that a network's parameters are determined by its function (paper I, sections 5.1 and 5.2).

The table repeats what paper I lists and claims no more, and in one place less: a linear network with biases in hidden
layers is not among the proven cases, because a bias may move on to the next layer, which no matrix does.  A theorem
needs one activation in all hidden layers and no skip connections; for everything else, weak identifiability is paper
I's conjecture 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphws.actions.identifiability.ends import last_step, steps_at_ends
from graphws.actions.pictures.joined_axes import convolves
from graphws.graph import Action, NetworkGraph, Operation
from graphws.operations import action_of
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Theorem(Shown):
    """What is known about an architecture and its activation.

    Args:
        name: How paper I calls the case.
        proven: Whether weak identifiability is proven there, rather than conjectured.
        symmetries: The group that remains, per layer.
        source: Who proved it, or where the conjecture stands.
        remark: What else to know.
        unchecked: A condition of the theorem that is not evaluated here; empty where all are.
    """

    name: str
    proven: bool
    symmetries: str
    source: str
    remark: str = ""
    unchecked: str = ""


TANH = Theorem(
    "hyperbolic tangent",
    True,
    "permutations and signs",
    "Sussmann 1992 (one hidden layer); Vlačić & Bölcskei 2021 (any depth)",
)
LINEAR = Theorem("linear, hidden layers of equal width", True, "every invertible matrix", "Trager, Kohn & Bruna 2020")
LINEAR_BIASED = Theorem(
    "linear, with biases in hidden layers",
    False,
    "every invertible matrix, and translations",
    "the theorem of Trager, Kohn & Bruna 2020 is about matrices",
    "a hidden bias can move on to the next layer: fold all of them into the last bias, and the theorem may apply",
)
POWERS = Theorem(
    "large powers",
    True,
    "permutations and non-zero scales",
    "Kileel, Trager & Bruna 2019; Finkel et al. 2025",
    "the power must be large with respect to the widths; how large is not evaluated here",
    "the power is large enough for these widths",
)
SIGMOID = Theorem(
    "logistic sigmoid",
    False,
    "permutations; and σ(-x) = 1 - σ(x), which flips a neuron's sign and moves its reader's biases",
    "paper I, conjecture 5.1; the proven sigmoidal family is dense, but need not hold this function",
    "σ(0) = 1/2, while paper I assumes σ(0) = 0; a latent action may be affine, not a permutation",
)
RECTIFIED = Theorem(
    "ReLU-style",
    False,
    "permutations (and positive scales for ReLU and leaky ReLU)",
    "paper I, conjecture 5.1; partial results by Grigsby et al. 2023, Petzka et al. 2020, Phuong & Lampert 2020",
    "σ(x) - σ(-x) is linear in x, so pairs of negated neurons can bypass the nonlinearity",
)
SHALLOW_RELU = Theorem(
    "ReLU, one hidden layer",
    False,
    "permutations and positive scales",
    "Agrawal & Ostrowski 2022, after a re-parametrisation and for invariant networks",
    "σ(x) - σ(-x) = x, so pairs of negated neurons can bypass the nonlinearity",
)
CONVOLUTIONAL = Theorem(
    "convolutional network",
    False,
    "for channels what the activation allows",
    "paper I, section 2: results for polynomial activations by Shahverdi, Marchetti & Kohn 2025",
    "rotations of pictures move the taps of kernels too, by the generalised adjunction of remark 4.3",
)
ODD = Theorem("odd activation", False, "permutations and signs", "paper I, conjecture 5.1")
OTHER = Theorem("pointwise activation", False, "permutations", "paper I, conjecture 5.1")
MIXED = Theorem(
    "different activations in one network",
    False,
    "what each layer's activation allows",
    "paper I, conjecture 5.1",
    "every theorem of paper I's list fixes one activation for all layers",
)
LINEAR_UNEQUAL = Theorem(
    "linear, hidden layers of unequal widths", False, "every invertible matrix", "paper I, conjecture 5.1"
)
SINGLE_HEAD = Theorem(
    "linear attention with a single head",
    True,
    "every invertible matrix on the values",
    "Henry, Marchetti & Kohn 2025",
    "without a softmax a factor may pass between scores and values, inside of a layer",
    unchecked="these weights are generic in the sense of that paper",
)
ATTENTION = Theorem(
    "multi-head attention",
    False,
    "permutations of heads, invertible matrices inside them",
    "paper I, section 5.2: expected, open for softmax attention and for several heads",
)
UNKNOWN = Theorem(
    "architecture outside of paper I",
    False,
    "the group of the graph",
    "none",
    "no chain of linear maps and activations could be read off the graph; skip connections reduce identifiability",
)


def theorem_for(
    graph: NetworkGraph, activations: Sequence[Operation], widths: Sequence[int], bypassing: bool
) -> Theorem:
    """The theorem, or conjecture, that an architecture falls under.

    Args:
        graph: The graph.
        activations: Of the layers that have one, in order.
        widths: Of the hidden layers; empty where the graph is no MLP.
        bypassing: Whether some activation has σ(x) - σ(-x) proportional to x, and is not odd.
    """
    found = _of_layers(graph, activations, widths, bypassing)
    if not found.proven:
        return found
    if widths:
        others = steps_at_ends(graph, activations)
    else:  # attention
        last = last_step(graph)
        others = [] if last is None or last.kind == "linear" else [last.kind]
    if not others:
        return found
    remark = f"the theorem is about networks that begin and end in a linear map, this one also has {', '.join(others)}"
    return replace(found, proven=False, remark=f"{found.remark}; {remark}" if found.remark else remark)


def _of_layers(
    graph: NetworkGraph, activations: Sequence[Operation], widths: Sequence[int], bypassing: bool
) -> Theorem:
    """What is known about the layers, whatever comes before and behind them."""
    kinds = {operation.kind for operation in activations}
    heads = [space.size for space in graph.spaces if space.role in ("head", "heads")]
    if heads and not widths:
        if _skips(graph):
            return UNKNOWN
        single = heads == [1] and not _normalises_scores(graph) and not kinds
        return SINGLE_HEAD if single else ATTENTION
    if not widths:
        return CONVOLUTIONAL if convolves(graph) else UNKNOWN
    if len(kinds) > 1:
        return MIXED
    kind = next(iter(kinds), "identity")
    if kind == "identity":
        moved = {space.name for space in graph.spaces if space.moves}
        if any(p.kind == "bias" and moved.intersection(p.spaces) for p in graph.parameters):
            return LINEAR_BIASED
        return LINEAR if len(set(widths)) == 1 else LINEAR_UNEQUAL
    if kind == "relu" and len(widths) == 1:
        return SHALLOW_RELU
    named = {"tanh": TANH, "power": POWERS, "sigmoid": SIGMOID}  # theorems about these very functions
    if kind in named:
        return named[kind]
    if all(action_of(operation) is Action.SIGNED for operation in activations):
        return ODD
    return RECTIFIED if bypassing else OTHER


def _skips(graph: NetworkGraph) -> bool:
    """Whether some step adds up two values that the inputs reach."""
    inputs = set(graph.inputs)
    return any(
        operation.kind == "add" and sum(bool(graph.sources(name) & inputs) for name in operation.reads) > 1
        for operation in graph.operations
    )


def _normalises_scores(graph: NetworkGraph) -> bool:
    """Whether attention is by a softmax."""
    return any(operation.kind in ("softmax", "scaled_dot_product_attention") for operation in graph.operations)
