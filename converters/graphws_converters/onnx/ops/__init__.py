"""The operators of ONNX, one file a family; `RULES` is all of them."""

from __future__ import annotations

from graphws_converters.onnx.ops.arithmetic import rules as arithmetic
from graphws_converters.onnx.ops.control import rules as control
from graphws_converters.onnx.ops.index import rules as index
from graphws_converters.onnx.ops.layout import rules as layout
from graphws_converters.onnx.ops.linear import rules as linear
from graphws_converters.onnx.ops.norm import rules as norm
from graphws_converters.onnx.ops.pointwise import rules as pointwise
from graphws_converters.onnx.ops.pool import rules as pool
from graphws_converters.onnx.ops.quantise import rules as quantise
from graphws_converters.onnx.ops.recurrent import rules as recurrent
from graphws_converters.onnx.ops.reduce import rules as reduce
from graphws_converters.onnx.ops.resize import rules as resize
from graphws_converters.onnx.ops.shapes import rules as shapes
from graphws_converters.onnx.rules import Rule

FAMILIES = (
    arithmetic, control, index, layout, linear, norm, pointwise, pool, quantise, recurrent, reduce, resize, shapes,
)  # fmt: skip

RULES: dict[str, Rule] = {name: rule for family in FAMILIES for name, rule in family.items()}
