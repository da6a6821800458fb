"""The second front end: run the module on real tensors and write down every operation.

It follows whatever Python does (``.item()``, loops over data) but sees one path only, and needs real tensors; it writes
down which tensors' numbers Python got.  Two
modes work together: the outer one (functions) keeps a few composite operations whole, because their inner steps write
through views or hide structure; the inner one (dispatch) sees everything else.

A write through a view changes other tensors that share its memory.  The recorder cannot say which entries, so it writes
an operation ``alias_write`` that no rule knows: all of them become free.  That is sound.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from graphws.errors import GraphwsError
from graphws_converters.analysis.ir import NUMBERS, Node, Program, Value, base_name, bind, tags_of, values_in
from graphws_converters.fronts.errors import TraceFailure

_WHOLE = {
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "input"),
    **dict.fromkeys(("linear", "rms_norm", "layer_norm", "group_norm", "batch_norm", "einsum", "matmul"), "default"),
    **dict.fromkeys(("scaled_dot_product_attention", "lstm_cell", "gru_cell"), "default"),
    **dict.fromkeys(("rnn_tanh_cell", "rnn_relu_cell"), "default"),
}
"""Composite operations that are kept whole, and the overload to call."""
_LEAVING = {"numpy", "tolist", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage"}
"""Methods that hand a tensor's numbers to Python without an operation."""
_READING = {"item", "equal", "allclose", "is_nonzero", "nonzero", "argwhere", "unique", "masked_select"} | {
    "__bool__", "__float__", "__int__", "__complex__", "__index__", "__getitem__", "where", "_unique2", "unique_dim"
}  # fmt: skip
"""Functions that hand numbers, or a length that depends on them, to Python."""
_RECURRENT_ARGUMENTS = 9
"""How many arguments an unpacked recurrent call has; a call on packed sequences has another form."""


def record_program(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Program:
    """The program of one run of a module in eval mode.

    Raises:
        TraceFailure: Where the module cannot be run.
    """
    recorder = _Recorder()
    program = recorder.program
    parameters = dict(module.named_parameters())
    persistent = set(module.state_dict(keep_vars=True))
    for name, tensor in {**parameters, **dict(module.named_buffers())}.items():
        if tensor.is_meta:
            raise TraceFailure("recorder: the weights are on the meta device")
        if name in parameters or (name in persistent and tensor.is_floating_point()):
            program.parameters[name] = recorder.enter(tensor)
        else:
            program.constants[recorder.enter(tensor)] = tensor.detach()
    for leaf in pytree.tree_leaves((args, dict(kwargs))):
        if isinstance(leaf, Tensor):
            program.inputs.append(recorder.enter(leaf))
    try:
        with warnings.catch_warnings(), torch.no_grad(), recorder, _KeepWhole(recorder):
            warnings.simplefilter("ignore")
            result = module(*args, **kwargs)
    except GraphwsError:
        raise
    except Exception as error:  # the module is the user's: whatever it raises is a reason
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TraceFailure(f"recorder: {text}") from error
    program.outputs = [recorder.value(leaf) for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
    return program


class _Recorder(TorchDispatchMode):
    """Writes a node for every ATen call."""

    def __init__(self) -> None:
        super().__init__()
        self.program = Program(front="recorder")
        self.paused = False
        self.noting = False
        self.checking = False
        self._values: dict[int, Value] = {}
        self._kept: list[Tensor] = []  # an id means something only while its tensor lives
        self._aliases: dict[int, list[Tensor]] = {}

    def enter(self, tensor: Tensor) -> Value:
        """A new value for a tensor."""
        value = Value(tuple(tensor.shape), tensor.dtype)
        self._values[id(tensor)] = value
        self._kept.append(tensor)
        if not tensor.is_meta:
            self._aliases.setdefault(tensor.untyped_storage()._cdata, []).append(tensor)
        return value

    def value(self, tensor: Tensor) -> Value:
        """The value of a tensor; one that was never seen is a constant."""
        if id(tensor) not in self._values:
            self.program.constants[self.enter(tensor)] = tensor.detach()
        return self._values[id(tensor)]

    def shared(self, tensor: Tensor, other: Tensor) -> Tensor:
        """Another object for the same tensor, which is returned."""
        value = self.value(tensor)
        self.enter(other)
        self._values[id(other)] = value
        return other

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.paused:
            self.noting = True
            self.note(func, args, kwargs or {}, result)
            self.noting = False
        return result

    def note(self, op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Writes down one call."""
        values = pytree.tree_map_only(Tensor, self.value, (tuple(args), dict(kwargs)))
        outputs = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, tuple | list) else []
        if not self.checking and (base_name(op) in NUMBERS or _shaped_by_data(op, *values)):
            self.program.reads += [(base_name(op), value) for value in values_in(values)]
        named = tuple(self.enter(tensor) if isinstance(tensor, Tensor) else None for tensor in outputs)
        self.program.nodes.append(Node(base_name(op), bind(op, *values), named, tags_of(op)))
        if op._schema.is_mutable:
            for tensor in outputs:
                if isinstance(tensor, Tensor):
                    self._spread(tensor)

    def _spread(self, written: Tensor) -> None:
        """After a write in place: every other tensor in the same memory may have changed."""
        unique = {id(t): t for t in self._aliases.get(written.untyped_storage()._cdata, []) if t is not written}
        others = list(unique.values())
        if others:
            values = [self.value(tensor) for tensor in (written, *others)]
            outputs = tuple(self.enter(tensor) for tensor in (written, *others))
            self.program.nodes.append(Node("alias_write", {"tensors": values}, outputs))


def _shaped_by_data(op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether the length of a result depends on numbers: that of an index by whole numbers does not."""
    if torch.Tag.dynamic_output_shape not in op.tags:
        return False
    indices = bind(op, args, kwargs).get("indices")
    return indices is None or any(value.dtype in (torch.bool, torch.uint8) for value in values_in(indices))


class _KeepWhole(TorchFunctionMode):
    """Calls some composite operations without looking inside."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _LEAVING and not self.recorder.paused and not self.recorder.noting:
            self.recorder.program.reads.append((name, self.recorder.value(args[0])))
        if func is torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return self.recorder.shared(args[0], func(*args))
        # what torch's own code reads to check arguments decides nothing
        self.recorder.checking = not isinstance(func, FunctionType) and name not in _READING
        try:
            return self._call(func, name, args, kwargs)
        finally:
            self.recorder.checking = False

    def _call(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        wrapper = getattr(func, "__module__", "") == "torch.nn.functional"  # the call that it makes comes next
        packed = _WHOLE.get(name) == "input" and len(args) != _RECURRENT_ARGUMENTS
        if self.recorder.paused or name not in _WHOLE or packed or (wrapper and name.endswith("norm")):
            return func(*args, **kwargs)
        op = getattr(getattr(torch.ops.aten, name), _WHOLE[name])
        if name == "einsum" and not isinstance(args[1], tuple | list):
            args = (args[0], list(args[1:]))
        self.recorder.paused = True
        try:
            result = op(*args, **kwargs)
        except (RuntimeError, TypeError):  # another overload than the one that we know how to read
            self.recorder.paused = False
            return func(*args, **kwargs)
        finally:
            self.recorder.paused = False
        self.recorder.note(op, args, kwargs, result)
        return result
