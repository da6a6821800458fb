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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from graphws.errors import GraphwsError
from graphws_converters.analysis.ir import Node, Program, Value, base_name, bind, layout_of, tags_of, values_in
from graphws_converters.fronts.errors import TraceFailure

_WHOLE = {
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "input"),
    **dict.fromkeys(("linear", "rms_norm", "layer_norm", "group_norm", "batch_norm", "einsum", "matmul"), "default"),
    **dict.fromkeys(("scaled_dot_product_attention", "lstm_cell", "gru_cell"), "default"),
    **dict.fromkeys(("rnn_tanh_cell", "rnn_relu_cell", "one_hot"), "default"),
}
"""Composite operations that are kept whole, and the overload to call."""
_READING = {"tolist", "data_ptr", "__array__"}
"""Methods that hand numbers, or where they lie, to Python in the guise of sizes."""
_DESCRIBING = {"type", "names", "__get__"}
"""Methods whose results say nothing of numbers, whatever their type."""
_PLAIN = (
    Tensor,
    bool,
    int,
    float,
    complex,
    torch.SymInt,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
    type(None),
)
"""What functions of tensors give without giving numbers away: operations see those that do."""
_SIZED = {"index": "indices", "one_hot": "num_classes", "repeat_interleave": "output_size"}
"""Operations whose results may have a length that does not depend on numbers, and the argument that says so."""
_SIZES = {"tensor_split", "_pack_padded_sequence", "_pad_packed_sequence"}
"""Functions that read sizes from the tensors behind their first, without an operation."""
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
        self._values: dict[int, Value] = {}
        self._kept: list[Tensor] = []  # an id means something only while its tensor lives
        self._aliases: dict[int, list[Tensor]] = {}

    def enter(self, tensor: Tensor) -> Value:
        """A new value for a tensor."""
        value = Value(tuple(tensor.shape), tensor.dtype, layout_of(tensor))
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
        if not all(x is None or isinstance(x, Tensor) for x in pytree.tree_leaves(result)) or _sized(op, *values):
            indexing = base_name(op) == "index"  # a mask alone says how long the result is
            self.program.reads += values_in(values[0][1:]) if indexing else values_in(values)
        named = tuple(self.enter(tensor) if isinstance(tensor, Tensor) else None for tensor in outputs)
        self.program.nodes.append(Node(base_name(op), bind(op, *values), named, tags_of(op)))
        for tensor in _written(op, args, kwargs) if op._schema.is_mutable else ():
            others = [] if any(tensor is one for one in outputs) else list(values_in(values))
            self._spread(tensor, others)

    def _spread(self, written: Tensor, read: Sequence[Value]) -> None:
        """After a write in place: every other tensor in the same memory may have changed.

        Args:
            written: The tensor.
            read: What an operation read that wrote without giving the tensor back: nothing else is known of it.
        """
        unique = {id(t): t for t in self._aliases.get(written.untyped_storage()._cdata, []) if t is not written}
        others = list(unique.values())
        if others or read:
            values = [self.value(tensor) for tensor in (written, *others)]
            outputs = tuple(self.enter(tensor) for tensor in (written, *others))
            self.program.nodes.append(Node("alias_write", {"tensors": [*values, *read]}, outputs))


def _written(op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that a call writes into."""
    given = bind(op, args, kwargs)
    names = [a.name for a in op._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return [leaf for name in names for leaf in pytree.tree_leaves(given.get(name)) if isinstance(leaf, Tensor)]


def _sized(op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether the length of a result depends on numbers."""
    if torch.Tag.dynamic_output_shape not in op.tags:
        return False
    said = bind(op, args, kwargs).get(_SIZED.get(base_name(op), ""), -1)
    if isinstance(said, list | tuple):
        return any(value.dtype in (torch.bool, torch.uint8) for value in values_in(said))
    return said is None or said == -1


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
        if torch._C._functorch.peek_interpreter_stack() is not None:  # the steps that a vmap makes come next
            return func(*args, **kwargs)
        if func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return self.recorder.shared(args[0], func(*args))
        if func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
            self.recorder.program.escaped += [self.recorder.value(tensor) for tensor in args]
        result = self._call(func, name, args, kwargs)
        if not self.recorder.paused and not self.recorder.noting:
            given = (args, kwargs) if _gives_numbers(name, result) else (args[1:], kwargs) if name in _SIZES else ()
            tensors = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
            self.recorder.program.escaped += [self.recorder.value(tensor) for tensor in tensors]
        return result

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


def _gives_numbers(name: str, result: Any) -> bool:
    """Whether a function of tensors gave their numbers to Python without an operation: as text, as an array."""
    if name in _DESCRIBING:
        return False
    return name in _READING or not all(isinstance(leaf, _PLAIN) for leaf in pytree.tree_leaves(result))
