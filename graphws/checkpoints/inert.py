"""Reading pickles without running them.

A pickle is a program: it names functions and calls them.  Here the program is first held against a short list of
opcodes, with bounds on their number and on memo slots (a slot of 2³² makes the reader allocate that many), and then
run by an unpickler to
which only the given names exist, bound to inert stand-ins.  Whatever the pickle asks for besides is refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

MAX_MEMO = 1 << 20
MOST_OPCODES = 500_000
"""Steps of the program, besides those of its tensors: enough for any plain data that training scripts keep."""
OPCODES_OF_A_TENSOR = 100

_OPCODES = frozenset(
    name
    for line in (
        "PROTO STOP MARK POP EMPTY_DICT EMPTY_LIST EMPTY_TUPLE DICT LIST TUPLE TUPLE1 TUPLE2 TUPLE3 SETITEM SETITEMS",
        "APPEND APPENDS PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE FRAME INT BININT BININT1 BININT2 LONG",
        "LONG1 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE",
        "SHORT_BINUNICODE BINBYTES SHORT_BINBYTES GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID",
    )
    for name in line.split()
)


def read_inert(
    data: bytes,
    names: Mapping[tuple[str, str], Callable[..., Any]],
    persistent: Callable[[Any], Any] | None = None,
    tensors: int = 10_000,
) -> Any:
    """What a pickle holds, with stand-ins for everything that is not plain data.

    Args:
        data: The pickle.
        names: The stand-in for each (module, name) that the pickle may mention.
        persistent: What to make of a persistent id; refused where None.
        tensors: How many tensors it may describe.

    Raises:
        ValueError: On anything that is not allowed or not a pickle.
    """
    try:
        for opcode, argument in steps(data, tensors):
            if opcode.name not in _OPCODES:
                raise ValueError(f"it uses the opcode {opcode.name}")
            if opcode.name.endswith("PUT") and int(argument or 0) > MAX_MEMO:
                raise ValueError(f"it uses memo slot {argument}")
        return _Unpickler(data, names, persistent).load()
    except ValueError:
        raise
    except Exception as error:  # a hostile pickle can fail in any way
        raise ValueError(str(error) or type(error).__name__) from error


def steps(data: bytes | BinaryIO, tensors: int = 10_000) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """The steps of a pickle with their arguments, up to its end.

    Args:
        data: The pickle, or a stream that stands at its beginning and then behind its end.
        tensors: How many tensors it may describe.

    Raises:
        ValueError: Where it is none, or takes far more steps than its tensors need.
    """
    most = MOST_OPCODES + OPCODES_OF_A_TENSOR * tensors
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if number == most:
            raise ValueError(f"it takes more than {most} steps, far more than its tensors need")
        yield opcode, argument


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        data: bytes,
        names: Mapping[tuple[str, str], Callable[..., Any]],
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._names, self._persistent = names, persistent

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise ValueError(f"it asks for {module}.{name}")
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise ValueError("it refers to data outside of itself")
        return self._persistent(pid)
