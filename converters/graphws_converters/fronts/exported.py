"""The primary front end: ``torch.export`` without strict mode.

It is public, runs on the meta device too and knows parameters from constants.  What it gives is not functional: a write
into a slice would go unseen, and the group would be wrong.  So wherever an operation writes into its input, or a
``torch.func.vmap`` maps others, the program is run through ``run_decompositions`` with an empty table, which makes it
functional and leaves the rest alone.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from graphws.errors import GraphwsError
from graphws_converters.analysis.ir import (
    NUMBERS,
    Node,
    Program,
    Value,
    base_name,
    bind,
    layout_of,
    tags_of,
    values_in,
)
from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.fronts.quiet import quiet_export

_SILENT = {"_assert_tensor_metadata", "sym_size", "sym_constrain_range", "sym_constrain_range_for_size"} | {
    "_assert_async", "_assert_scalar", "sym_numel", "_set_grad_enabled", *NUMBERS
}  # fmt: skip


def export_program(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Program:
    """The program of a module in eval mode.

    Raises:
        TraceFailure: Where torch.export fails, or a shape depends on data.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad(), quiet_export():
            warnings.simplefilter("ignore")
            exported = torch.export.export(module, args, dict(kwargs), strict=False)
            if any(_mutates(graph) or _transforms(graph) for graph in _graphs(exported.graph_module)):
                exported = exported.run_decompositions({})
    except GraphwsError:
        raise
    except Exception as error:  # torch.export raises whatever the module and its own passes raise
        raise TraceFailure(f"torch.export: {_first_line(error)}") from error
    program = Program(front="export")
    values = _placeholders(module, exported, program)
    outputs = _Reader(program).run(exported.graph_module, values)
    specs = exported.graph_signature.output_specs
    wanted = [spec.kind.name == "USER_OUTPUT" for spec in specs]
    program.outputs = [v for v, user in zip(outputs, wanted, strict=True) if user and isinstance(v, Value)]
    return program


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _graphs(module: fx.GraphModule) -> Iterator[fx.Graph]:
    for child in module.modules():
        if isinstance(child, fx.GraphModule):
            yield child.graph


def _mutates(graph: fx.Graph) -> bool:
    return any(
        node.op == "call_function" and getattr(getattr(node.target, "_schema", None), "is_mutable", False)
        for node in graph.nodes
    )


def _transforms(graph: fx.Graph) -> bool:
    """Whether a graph has steps of torch.func, as a vmap's: they become operations where the program is decomposed."""
    return any(str(getattr(node.target, "__module__", "")).startswith("torch._functorch") for node in graph.nodes)


def _placeholders(module: nn.Module, exported: Any, program: Program) -> list[object]:
    """A value for each argument of the exported graph; tied tensors share one."""
    state = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    shared: dict[int, Value] = {}
    found: list[object] = []
    nodes = [node for node in exported.graph_module.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(nodes, exported.graph_signature.input_specs, strict=True):
        meta = node.meta.get("val")
        if not isinstance(meta, Tensor):
            found.append(meta)
            continue
        kind, tensor = spec.kind.name, state.get(spec.target, exported.constants.get(spec.target))
        if tensor is not None and id(tensor) in shared:
            found.append(shared[id(tensor)])
            continue
        value = Value(_shape(meta), meta.dtype, layout_of(meta))
        found.append(value)
        if tensor is not None:
            shared[id(tensor)] = value
        persistent = kind == "BUFFER" and spec.persistent
        if kind == "USER_INPUT":
            program.inputs.append(value)
        elif spec.target in parameters or (persistent and meta.dtype.is_floating_point):
            program.parameters[spec.target] = value
        elif tensor is not None:
            program.constants[value] = tensor.detach()
    return found


def _shape(tensor: Tensor) -> tuple[int, ...]:
    if any(not isinstance(size, int) for size in tensor.shape):
        raise TraceFailure("torch.export: a shape that depends on data")
    return tuple(tensor.shape)


class _Reader:
    """Turns an exported graph, and the graphs inside its higher-order operations, into nodes."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(self, module: fx.GraphModule, actuals: list[object]) -> list[object]:
        """Reads one graph; gives its flat outputs."""
        values: dict[fx.Node, object] = {}
        arguments = iter(actuals)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(arguments)
            elif node.op == "get_attr":
                values[node] = self._attribute(module, node)
            elif node.op == "output":
                return list(pytree.tree_leaves(_filled(node.args, values), is_leaf=_is_value))
            elif node.op == "call_function":
                values[node] = self._call(node, values)
        raise AssertionError("an exported graph ends with its output")

    def _attribute(self, module: fx.GraphModule, node: fx.Node) -> object:
        found: Any = module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        if isinstance(found, Tensor):
            value = Value(_shape(found), found.dtype, layout_of(found))
            self.program.constants[value] = found.detach()
            return value
        return found

    def _call(self, node: fx.Node, values: dict[fx.Node, object]) -> object:
        args, kwargs = _filled(node.args, values), _filled(node.kwargs, values)
        if node.target is operator.getitem:
            return args[0][args[1]]
        graphs = [k for k, argument in enumerate(args) if isinstance(argument, fx.GraphModule)]
        if len(graphs) == 1:  # a region without gradients, or under autocast
            return tuple(self.run(args[graphs[0]], list(args[graphs[0] + 1 :])))
        op: Any = node.target
        meta = node.meta.get("val")
        if hasattr(op, "_schema") and base_name(op) in NUMBERS:
            self.program.reads += values_in([*args, *kwargs.values()])
        if not hasattr(op, "_schema") or base_name(op) in _SILENT:
            if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(meta)):
                raise TraceFailure(f"torch.export: {op} cannot be read")
            return meta
        tensors = [meta] if isinstance(meta, Tensor) else list(meta) if isinstance(meta, tuple | list) else []
        outputs = tuple(Value(_shape(t), t.dtype, layout_of(t)) if isinstance(t, Tensor) else None for t in tensors)
        arguments = bind(op, args, kwargs)
        self.program.nodes.append(Node(base_name(op), arguments, outputs, tags_of(op), _place(node)))
        return outputs[0] if isinstance(meta, Tensor) else list(outputs)


def _place(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    path = str(next(reversed(list(stack.values())), ("",))[0])
    return path.removeprefix("L['self'].").removeprefix("L__self__.").removeprefix("L['self']")


def _filled(arguments: Any, values: Mapping[fx.Node, object]) -> Any:
    """Arguments with what each node stands for."""
    return fx.node.map_arg(arguments, lambda node: values[node])  # type: ignore[arg-type, return-value]


def _is_value(item: object) -> bool:
    return isinstance(item, Value)
