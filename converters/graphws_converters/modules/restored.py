"""Runs that leave a module as they found it.

Modules keep things from a run to the next: masks, tables of positions, biases looked up, the weights of a network put
together.  What is kept would be a constant to the next trace, and of other weights to the next run of the gate.
Parameters and buffers are left as they are: a module that changes these in a run is no function of its inputs.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

from graphws_converters.gate.purity import Onlooker, known

DEEPEST = 4
"""How many objects inside others are looked into."""
_OWN = {"_parameters", "_buffers", "_modules", "training"}
_CLOSED = (nn.Module, Tensor, FunctionType, ModuleType, type)
_CONTAINERS = (dict, OrderedDict, defaultdict, list, set)


class Restored(Onlooker):
    """Two hooks on a module: what its submodules hold is noted before each run, and put back after it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.active = True
        self._noted: list[list[tuple[Any, Any]]] = []
        module.register_forward_pre_hook(self._before)
        module.register_forward_hook(self._after, always_call=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While it is entered, a run finds what those before it left behind; at the end all of it is put back."""
        self._note()
        self.active = False
        try:
            yield
        finally:
            self.active = True
            self._put_back()

    def _before(self, *_: Any) -> None:
        self._note()

    def _after(self, *_: Any) -> None:
        self._put_back()

    def _note(self) -> None:
        if self.active:
            self._noted.append(list(_contents(self.module)))

    def _put_back(self) -> None:
        for holder, contents in self._noted.pop() if self.active and self._noted else ():
            if isinstance(holder, nn.Module):
                for name in _names(holder) - set(contents):
                    del vars(holder)[name]
                vars(holder).update(contents)
            elif isinstance(holder, list):
                holder[:] = contents
            else:
                holder.clear()
                holder.update(contents)


def _contents(module: nn.Module) -> Iterator[tuple[Any, Any]]:
    """Everything that can be changed in place, and what it holds."""
    seen: dict[int, Any] = {}
    for child in module.modules():
        held = {name: vars(child)[name] for name in _names(child)}
        yield child, held
        for value in held.values():
            yield from _inside(value, seen, 0)


def _names(module: nn.Module) -> set[str]:
    """The attributes of a module that are no parameters, buffers, modules or hooks."""
    return {name for name in vars(module) if name not in _OWN and not name.endswith("_hooks")}


def _inside(held: Any, seen: dict[int, Any], depth: int) -> Iterator[tuple[Any, Any]]:
    if depth > DEEPEST or id(held) in seen or isinstance(held, _CLOSED):
        return
    seen[id(held)] = held
    if type(held) not in _CONTAINERS and type(held) is not tuple:
        if known(type(held)) or not isinstance(getattr(held, "__dict__", None), dict):
            return
        held = held.__dict__
    if type(held) is not tuple:
        yield held, held.copy()
    for part in list(held.values() if isinstance(held, dict) else held):
        yield from _inside(part, seen, depth + 1)
