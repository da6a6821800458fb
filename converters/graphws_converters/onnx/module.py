"""A torch module that runs an ONNX graph.

Its parameters are the floating arrays of the file under their own names, its positional inputs those of the graph.
Cast to float64 it computes in float64 throughout, whatever types the file asks for, so that a numeric check is sharp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn

from graphws.errors import DataError, GraphwsError, UsageError, nearest
from graphws_converters.onnx.ops import RULES
from graphws_converters.onnx.parse import Graph, Node, parse
from graphws_converters.onnx.rules import Call, Value, is_known

MOST_STEPS = 20_000
"""Most operations and turns of loops in one run, besides one for each node of the file."""
MOST_MADE = 1 << 29
"""Most numbers that all operations of one run may make: all are kept until it ends."""
MOST_WORK = 1 << 40
"""Most numbers that one run may read, and products that it may sum: about a minute."""
_CONTRIBUTED = "MatMulNBits QLinearAdd QLinearMul QGemm QAttention DynamicQuantizeMatMul MatMulIntegerToFloat"
_WHOLE = {"QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear"} | {
    f"com.microsoft.{name}" for name in _CONTRIBUTED.split()
}
"""Operators of quantised models that are not read."""
_PRODUCTS = frozenset(("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "MatMulInteger", "ConvInteger"))
"""Operators that take more products than they read or make numbers."""


class OnnxModule(nn.Module):
    """An ONNX model as a module: tensors in, a tensor or a tuple of tensors out.

    Law: its outputs are those of the reference implementation up to rounding.

    Args:
        model: A model, its external data loaded; see `graphws_converters.onnx.read_model`.

    Raises:
        DataError: Where the model has operators without a rule, all of them named, or constants that cannot be read.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        self.graph = parse(model)
        missing = {node.kind for inner in self.graph.subgraphs() for node in inner.nodes} - set(RULES)
        if missing:
            whole = sorted(missing & _WHOLE)
            if whole:
                raise DataError(
                    f"ONNX model: it computes in whole numbers ({', '.join(whole)}), which has no rule: give the model "
                    "before it was quantised, or one quantised by QuantizeLinear and DequantizeLinear (QDQ)"
                )
            name = sorted(missing)[0]
            raise DataError(
                f"ONNX model: no rule for {'operator' if len(missing) == 1 else 'operators'} "
                f"{', '.join(map(_printable, sorted(missing)))[:300]}" + nearest(name, RULES)
            )
        self.inputs = self.graph.inputs
        taken: set[str] = set()
        for inner in self.graph.subgraphs():
            for name, tensor in inner.parameters.items():
                inner.keys[name] = key = _free_key(self, name, taken)
                taken.add(key)
                _register(self, key, tensor)
            inner.parameters = {}
        floating = [p.dtype for p in self.parameters()]
        self.native = floating[0] if floating else torch.float32

    @property
    def working(self) -> torch.dtype:
        """The floating type that it computes in."""
        return next((p.dtype for p in self.parameters()), self.native)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs of the graph.

        Raises:
            UsageError: On the wrong number of inputs.
            DataError: Where the graph cannot be run on them.
        """
        if len(inputs) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise UsageError(f"the ONNX model takes {len(self.inputs)} inputs ({names}), got {len(inputs)}")
        outputs = _Run(self).graph(self.graph, dict(zip(self.inputs, inputs, strict=True)))
        tensors = tuple(torch.as_tensor(np.array(value)) if is_known(value) else value for value in outputs)
        return tensors[0] if len(tensors) == 1 else tensors  # type: ignore[return-value]


class _Run:
    """One run of a module: its parameters now, how many operations it took, and how many numbers they made."""

    def __init__(self, module: OnnxModule) -> None:
        self.module, self.steps, self.made, self.work = module, 0, 0, 0
        self.most_steps = MOST_STEPS + sum(len(inner.nodes) + 1 for inner in module.graph.subgraphs())
        self.dtypes = (module.native, module.working)

    def graph(self, graph: Graph, values: dict[str, Value]) -> list[Value]:
        """The outputs of a graph; `values` holds its inputs and, for an inner graph, what is around it."""
        values.update(graph.known)
        for name, key in graph.keys.items():
            path, _, last = key.rpartition(".")
            values[name] = getattr(
                self.module.get_submodule(path), last
            )  # also where a caller put a plain tensor there
        self._step()
        for node in graph.nodes:
            self._step()
            outputs = self.node(node, values)
            self._count(node, [values.get(name) for name in node.inputs], outputs)
            values.update({name: value for name, value in zip(node.outputs, outputs, strict=False) if name})
        return [_lookup(values, name, "the outputs") for name in graph.outputs]

    def _step(self) -> None:
        self.steps += 1
        if self.steps > self.most_steps:
            raise DataError(f"ONNX model: a run takes more than {self.most_steps} operations and turns of loops")

    def _count(self, node: Node, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        """Adds up numbers read and made; of a product of a (m, k) and a (k, n) matrix mkn, of convolutions less."""
        read = [math.prod(value.shape) for value in inputs if value is not None]
        made = sum(math.prod(value.shape) for value in outputs if value is not None)
        self.made += made
        self.work += sum(read) + (math.isqrt(math.prod(read[:2]) * made) if node.kind in _PRODUCTS else made)
        if self.made > MOST_MADE:
            raise DataError("ONNX model: a run makes more than 2^29 numbers; try smaller example inputs")
        if self.work > MOST_WORK:
            raise DataError("ONNX model: a run reads and multiplies more than 2^40 numbers; try smaller example inputs")

    def node(self, node: Node, values: Mapping[str, Value]) -> list[Value]:
        """The outputs of one operation."""
        inputs = [_lookup(values, name, str(node)) if name else None for name in node.inputs]
        call = Call(node, self.module.opset, self.dtypes, lambda inner, given: self.graph(inner, {**values, **given}))
        rule = RULES[node.kind]
        try:
            if rule.known is not None and all(map(is_known, inputs)):
                found = rule.known(call, *inputs)
                return [np.asarray(value) for value in (found if isinstance(found, list) else [found])]
            found = rule.function(call, *inputs)
        except GraphwsError:
            raise
        except Exception as error:  # torch and numpy raise anything where a file's shapes do not fit
            text = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
            raise DataError(f"ONNX node {node} cannot be run: {text}") from error
        return list(found) if isinstance(found, list | tuple) else [found]  # type: ignore[list-item]


def _lookup(values: Mapping[str, Value], name: str, where: str) -> Value:
    if name not in values:
        raise DataError(f"ONNX model: {where} of it reads {name[:80]!r}, which nothing writes")
    return values[name]


def _free_key(module: nn.Module, name: str, taken: set[str]) -> str:
    """A key for `state_dict`: the name itself, where torch can hold it."""
    printable = _printable(name)
    fits = all(part and not hasattr(nn.Module, part) for part in printable.split("."))
    key = stem = printable if fits else "w_" + printable.replace(".", "_")
    number = 1
    while key in taken or not _is_free(module, key):
        number += 1
        key = f"{stem.replace('.', '_')}_{number}"
    return key


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "_" for c in name)


def _is_free(module: nn.Module, key: str) -> bool:
    """Whether a parameter can be registered there: no other is at the place, or on the way to it."""
    *path, last = key.split(".")
    place: nn.Module = module
    for part in path:
        if part in place._parameters or (part not in place._modules and hasattr(place, part)):
            return False
        if part not in place._modules:
            return True
        place = place._modules[part]  # type: ignore[assignment]
    return not hasattr(place, last)


def _register(module: nn.Module, key: str, tensor: Tensor) -> None:
    *path, last = key.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module._modules[part]  # type: ignore[assignment]
    module.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
