"""Sums of products: where a weight's columns meet what flows through the network."""

from __future__ import annotations

from graphws_converters.algebra.tensors import Abstract
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, NotCovered, Result, rule


@rule("mm", "bmm", "matmul", "mv", "dot", "vdot", powers=True)
def matmul(e: Engine, call: Call) -> Result:
    """Matrix products."""
    return e.matmul(call["self"], call.get("mat2", call.get("other", call.get("vec", call.get("tensor")))))


@rule("addmm", "addmv", "baddbmm", powers=True)
def addmm(e: Engine, call: Call) -> Result:
    """A product plus something."""
    left = call.get("mat1", call.get("mat", call.get("batch1")))
    y = e.matmul(left, call.get("mat2", call.get("vec", call.get("batch2"))))
    bias = e.plain(call["self"])
    if bias.zero or call.get("beta", 1) == 0:
        return y
    e.written += [leg for leg in bias.legs if bias.weight]
    return e.pointwise([y, bias], "add", "addmm")


@rule("linear", powers=True)
def linear(e: Engine, call: Call) -> Result:
    """x Wᵀ + b."""
    bias = call.get("bias")
    return e.linear(call["input"], e.plain(call["weight"]), None if bias is None else e.plain(bias))


@rule("bilinear", powers=True)
def bilinear(e: Engine, call: Call) -> Result:
    """x W y + b, W of three axes."""
    x = e.plain(call["input1"])
    batch = "ABCDEFGH"[: len(x.legs) - 1]
    y = e.contract(f"{batch}i,oij,{batch}j->{batch}o", [x, call["weight"], call["input2"]])
    bias = call.get("bias")
    return y if bias is None else e.shifted(y, e.plain(bias), -1)


@rule("einsum", powers=True)
def einsum(e: Engine, call: Call) -> Result:
    """Products in Einstein's notation."""
    xs: list[Abstract] = [e.plain(x) for x in call["tensors"]]
    equation = explicit(call["equation"], [len(x.legs) for x in xs])
    inputs, output = equation.split("->")
    if any(len(set(term)) != len(term) for term in [*inputs.split(","), output]):
        raise NotCovered("a letter twice in one operand")
    return e.contract(equation, xs)


def explicit(equation: str, ranks: list[int]) -> str:
    """An equation without blanks and ellipses, with its output written out.

    >>> explicit("...ij, jk -> ...ik", [3, 2])
    'Aij,jk->Aik'
    >>> explicit("ij,jk", [2, 2])
    'ij,jk->ik'
    """
    equation = equation.replace(" ", "")
    if "->" not in equation:
        single = sorted(c for c in set(equation) - set(",.") if equation.count(c) == 1)
        equation += "->" + ("..." if "..." in equation else "") + "".join(single)
    left, right = equation.split("->")
    letters = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for rank, term in zip(ranks, left.split(","), strict=True)
    ]
    longest = max(hidden)
    spelled = [
        term.replace("...", "".join(letters[longest - n : longest]))
        for n, term in zip(hidden, left.split(","), strict=True)
    ]
    return ",".join(spelled) + "->" + right.replace("...", "".join(letters[:longest]))


@rule("outer", "ger", powers=True)
def outer(e: Engine, call: Call) -> Result:
    """x yᵀ."""
    return e.contract("i,j->ij", [call["self"], call["vec2"]])


@rule("cdist", "_cdist_forward", "_euclidean_dist")
def cdist(e: Engine, call: Call) -> Result:
    """Distances between the rows of two matrices."""
    x, y = e.plain(call["x1"]), e.plain(call["x2"])
    return e.matmul(x, e.permute(y, [*range(len(y.legs) - 2), len(y.legs) - 1, len(y.legs) - 2]))


@rule("cosine_similarity", "pairwise_distance")
def cosine_similarity(e: Engine, call: Call) -> Result:
    """Nearness along one axis."""
    return e.reduce(e.pointwise([call["x1"], call["x2"]]), [call.get("dim", -1)], keep=call.get("keepdim", False))


@rule("_grouped_mm")
def grouped_mm(e: Engine, call: Call) -> Result:
    """Rows times the matrix of their group; where groups end is data, so their order matters."""
    x, weight = e.plain(call["self"]), e.plain(call["mat2"])
    y = e.contract("ni,gij->ngj", [x, weight])
    e.release(weight.legs[:1], "groups of rows, told apart by offsets")
    return e.tensor([y.legs[0], y.legs[2]], told=e.agreed([(y, [0, 2])]))
