"""A copy of any module, as users hold them.

`copy.deepcopy` gives up on two kinds of things.  *Tensors computed from others* (the weight of a freshly pruned module
or under an old weight norm, an activation that a hook has kept) are copied as numbers.  *Things of the process* (locks,
open files, running generators, imported modules) are made anew, shared, or left out, as `_REMADE` says.  Functions that
hold the module, or a container, in a closure hold the copy's.

Law: no tensor, container or module is shared between a module and its copy, but for those inside objects that refuse to
be copied and to be taken apart.
"""

from __future__ import annotations

import copy
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graphws.errors import UsageError
from graphws_converters.gate.reasons import reason_of
from graphws_converters.modules.wrappers import inside, plain

Memo = dict[int, Any]


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module; what wraps a module is taken off, wherever it stands.

    Raises:
        UsageError: Where it cannot be copied.
    """
    memo: Memo = {}
    wrappers = [(child, inside(child)) for child in module.modules()]
    try:
        with _ComputedTensors():
            for child, name in reversed(wrappers):
                if name is not None:
                    memo[id(child)] = _copy(plain(child, name), memo)
            twin: nn.Module = _copy(module, memo)
            for child in twin.modules():
                _bind(child, memo)
    except Exception as error:  # the module is the user's: whatever it raises is a reason
        raise UsageError(f"the module cannot be copied: {reason_of(error)}") from None
    return twin


class _ComputedTensors(TorchFunctionMode):
    """While it is entered, tensors that were computed from others are copied as numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            if id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def _copy(held: Any, memo: Memo) -> Any:
    """A deep copy, or a copy part by part where that fails."""
    trial = dict(memo)  # a copy that fails leaves half of what it made
    try:
        found = copy.deepcopy(held, trial)
    except Exception:  # any object may refuse, in its own way
        return _by_parts(held, memo)
    memo.update(trial)
    return found


def _by_parts(held: Any, memo: Memo) -> Any:
    """A copy of what could not be copied as a whole; the thing itself where it cannot be taken apart."""
    if id(held) in memo:
        return memo[id(held)]
    kind: Any = type(held)
    remade = next((make for kinds, make in _REMADE if isinstance(held, kinds)), None)
    if remade is not None:
        return memo.setdefault(id(held), remade(held))
    if kind is tuple:
        return memo.setdefault(id(held), tuple(_copy(part, memo) for part in held))
    if not (kind in (dict, list, OrderedDict) or issubclass(kind, nn.Module) or _of_instances(kind)):
        return memo.setdefault(id(held), held)
    found = memo[id(held)] = kind.__new__(kind)
    for name, value in getattr(held, "__dict__", {}).items():
        found.__dict__[name] = _part(value, memo)
    if isinstance(held, dict):
        found.update({key: _part(value, memo) for key, value in held.items()})
    elif isinstance(held, list):
        found.extend(_part(value, memo) for value in held)
    return found


def _of_instances(kind: Any) -> bool:
    """Whether all that objects of a class hold is in their attributes."""
    known = kind.__module__.partition(".")[0] in sys.stdlib_module_names and kind.__module__ != "threading"
    plain = kind.__new__ is object.__new__ and kind.__reduce_ex__ is object.__reduce_ex__
    return plain and kind.__reduce__ is object.__reduce__ and not known


def _part(held: Any, memo: Memo) -> Any:
    """Part by part at once where modules may be inside: each level tried as a whole would copy everything again."""
    if type(held) in (dict, OrderedDict) or (isinstance(held, nn.Module) and not hasattr(held, "__deepcopy__")):
        return _by_parts(held, memo)
    return _copy(held, memo)


class Uncopied:
    """What stands for an object that cannot be copied and must not be shared: a running generator, say.

    Raises:
        UsageError: As soon as it is used.
    """

    def __init__(self, kind: str) -> None:
        self.__dict__["kind"] = kind

    def _refuse(self, *_: Any) -> Any:
        raise UsageError(f"the module uses a {self.__dict__['kind']} that it holds, which cannot be copied")

    __iter__ = __next__ = __call__ = __len__ = __getitem__ = __enter__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()


_ITERATORS = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_REMADE: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (type(threading.Lock()), lambda _: threading.Lock()),
    (type(threading.RLock()), lambda _: threading.RLock()),
    (threading.local, lambda _: threading.local()),
    (_ITERATORS, lambda held: Uncopied(type(held).__name__)),
)
"""Things of the process that are not shared: locks are made anew, and a generator would be used up."""


def _bind(module: nn.Module, memo: Memo) -> None:
    """Makes the functions that a copied module holds refer to what was copied."""
    for held in (vars(module), *(vars(module)[name] for name in vars(module) if name.endswith("_hooks"))):
        if isinstance(held, dict):
            for key, function in list(held.items()):
                if isinstance(function, types.FunctionType):
                    held[key] = _bound(function, memo)


def _bound(function: types.FunctionType, memo: Memo) -> types.FunctionType:
    """A function whose closure and defaults hold copies; the function itself where they hold nothing that is copied."""

    def of(held: Any) -> Any:
        return _copy(held, memo) if isinstance(held, dict | list | set | Tensor) else memo.get(id(held), held)

    cells, defaults = [_contents(cell) for cell in function.__closure__ or ()], function.__defaults__ or ()
    new = [of(held) for held in (*cells, *defaults)]
    if all(one is other for one, other in zip(new, (*cells, *defaults), strict=True)):
        return function
    closure = tuple(
        cell if one is other else types.CellType(one)
        for cell, one, other in zip(function.__closure__ or (), new, cells, strict=False)
    )
    found = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, tuple(new[len(cells) :]) or None, closure
    )
    found.__kwdefaults__ = function.__kwdefaults__
    found.__dict__.update(function.__dict__)
    return found


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return None
