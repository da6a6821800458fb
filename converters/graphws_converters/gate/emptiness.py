"""Does a network look which of its inputs are empty?

Models of pictures leave out those that are nothing but zeros.  They compare numbers of an input, as they came in, with
one number: almost no input has it, so almost all inputs answer alike, and Python may read the answer as it reads a
size.  A comparison with a weight, or of anything that was computed from an input, is no such question.
"""

from __future__ import annotations

from graphws_converters.analysis.ir import Program, Value
from graphws_converters.gate.words import MOVES

_EQUAL = ("eq", "ne")


def asked_of_inputs(program: Program) -> set[Value]:
    """The tensors that say where floating numbers of an input, moved about at most, equal one given number."""
    known = {value for value in program.inputs if value.dtype.is_floating_point}
    asked: set[Value] = set()
    for node in program.nodes:
        if not known.issuperset(node.values()):
            continue
        if node.op in MOVES:
            known.update(value for value in node.outputs if value is not None and value.dtype.is_floating_point)
        elif node.op in _EQUAL and len([*node.values()]) == 1:
            asked.update(value for value in node.outputs if value is not None)
    return asked
