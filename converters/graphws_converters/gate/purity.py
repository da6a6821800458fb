"""Is a source a function of its weights and inputs?

Two runs that agree do not show it: a dropout of 1e-4, or a counter that waits for the hundredth call, agrees nearly
always.  So what a run leaves behind is looked at: the state of the random generators, and of the module itself.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DEEPEST = 8
"""How many objects inside others are looked into."""
MOST_NUMBERS = 1 << 20
"""Tensors up to this size are compared by their numbers, larger ones by PyTorch's count of writes into them."""
_SEED = 20_260_101


class Onlooker:
    """What watches the runs of a module and is no part of it: not looked into."""


def generators_used(run: Callable[[], object]) -> list[str]:
    """The random generators that a run draws from, or seeds: ``torch``, ``random``, ``numpy``.

    Args:
        run: Runs the source; what the generators held is put back afterwards.
    """
    kept = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        torch.default_generator.manual_seed(_SEED)
        random.seed(_SEED)
        np.random.seed(_SEED)
        before = _generators()
        run()
        after = _generators()
    finally:
        torch.set_rng_state(kept[0])
        random.setstate(kept[1])
        np.random.set_state(kept[2])
    return [name for name, state in before.items() if after[name] != state]


def _generators() -> dict[str, object]:
    legacy = np.random.get_state(legacy=False)
    return {"torch": torch.get_rng_state().tolist(), "random": random.getstate(), "numpy": str(legacy)}


def changed_by(module: nn.Module, run: Callable[[], object]) -> str:
    """What in a module a run changes, by its path; empty where nothing.

    The first run may fill caches; the second is looked at.

    Args:
        module: The module, with what its code holds in closures, class attributes and globals.
        run: Runs it.
    """
    run()
    before = dict(_state(module))
    run()
    after = dict(_state(module))
    return next((path for path in {**before, **after} if before.get(path) != after.get(path)), "")


def _state(module: nn.Module) -> Iterator[tuple[str, object]]:
    """Every value that a module holds, by its path."""
    seen: dict[int, object] = {}  # objects are kept, because an id means something only while its object lives
    for name, child in module.named_modules():
        prefix = f"{name}." if name else ""
        for key, tensor in {**child._parameters, **child._buffers}.items():
            yield prefix + key, _value(tensor)
        for key, held in vars(child).items():
            if key not in ("_parameters", "_buffers", "_modules", "training"):
                yield from _values(held, prefix + key, seen, 0)
        for kind in type(child).__mro__:
            if not known(kind):
                for key, held in vars(kind).items():
                    yield from _values(held, f"{prefix}{kind.__name__}.{key}", seen, 0)


def _values(held: Any, path: str, seen: dict[int, object], depth: int) -> Iterator[tuple[str, object]]:
    """The values inside an object."""
    if isinstance(held, _PLAIN):
        yield path, _value(held)
        return
    if depth > DEEPEST or id(held) in seen or isinstance(held, _CLOSED):
        return
    held = getattr(held, _COMPILED, held) if isinstance(held, FunctionType) else held
    if isinstance(held, FunctionType | type) and known(held):
        return
    seen[id(held)] = held
    for key, inner in _inside(held):
        yield from _values(inner, f"{path}.{key}", seen, depth + 1)


_PLAIN = (Tensor, np.ndarray, torch.Generator, bool, int, float, complex, str, bytes, type(None))
_CLOSED = (nn.Module, ModuleType, CodeType, BuiltinFunctionType, Onlooker)
"""Looked into elsewhere, or nothing that a run changes."""
_COMPILED = "_torchdynamo_orig_callable"
"""Where a compiled function keeps the one that it was made of."""
_KNOWN = {"torch", "numpy", "transformers", *sys.stdlib_module_names}
"""Packages whose own functions and classes keep no state that a network would read."""


def known(held: Any) -> bool:
    """Whether a function or class is of a package that keeps no state for networks."""
    return str(held.__module__).partition(".")[0] in _KNOWN


def _value(held: object) -> object:
    if isinstance(held, torch.Generator):
        held = held.get_state()
    if isinstance(held, np.ndarray):
        return held.shape, hashlib.sha256(held.tobytes()).digest()
    if not isinstance(held, Tensor):
        return held if held == held else "nan"
    plain = type(held) in (Tensor, nn.Parameter) and held.layout == torch.strided
    if held.numel() > MOST_NUMBERS or held.is_meta or held.is_quantized or not plain:
        return tuple(held.shape), held._version
    flat = held.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return tuple(held.shape), hashlib.sha256(flat.numpy().tobytes()).digest()


def _inside(held: Any) -> Iterator[tuple[object, object]]:
    """What an object is made of."""
    if isinstance(held, FunctionType):
        yield from zip(held.__code__.co_freevars, map(_cell, held.__closure__ or ()), strict=True)
        yield from ((name, held.__globals__[name]) for name in held.__code__.co_names if name in held.__globals__)
        yield from enumerate(held.__defaults__ or ())
        yield from vars(held).items()
    elif isinstance(held, type):
        yield from vars(held).items()
    elif isinstance(held, MethodType):
        yield from (("function", held.__func__), ("self", held.__self__))
    elif isinstance(held, Mapping):
        yield from ((repr(key)[:40], value) for key, value in list(held.items()))
    elif isinstance(held, list | tuple | set | frozenset):
        yield "length", len(held)
        yield from enumerate(held)
    else:
        try:  # what pickle would keep
            yield from enumerate(held.__reduce_ex__(2)[1:])
        except Exception:  # any object may refuse, in its own way
            yield from getattr(held, "__dict__", {}).items()


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None
