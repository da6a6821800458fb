"""How good contents go wrong: seeded edits of bytes, documents, texts, pickles, archives and protobuf messages.

Every edit is drawn from a `random.Random` alone, so an input is known by its seed.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

from tests.fuzz import canary

NUMBERS = [0, 1, -1, 2, 3, 7, 64, 255, 2**14, 2**24, 2**31 - 1, 2**31, 2**40, 2**53, 2**62, 2**63 - 1, -(2**63)]
TEXTS = [
    "", "a", "../x", "/etc/passwd", "\0", "a\nb", "é\u202e", "x" * 3000, "0.weight", "F32", "gelu", "__class__", "relu",
    "\x1b[2J", "$x$", "[red]", "\U000e0041", "n", "?", "4*n", "any", "NaN", "0" * 400, "I64", "hidden1",
]  # fmt: skip
ODD = [
    None, True, False, 1.5, -0.0, 1e308, float("nan"), float("inf"), 10**30, 10**400, [], {}, [[]], {"a": {"b": [1]}},
    [0, 2**62], [-1], ["F32", 1], [1] * 70, *NUMBERS, *TEXTS,
]  # fmt: skip
"""Values that nobody expects there."""
HOW_MANY = (1, 1, 1, 2, 3)
"""Edits of one input."""


def bytes_like(rng: Random, seed: bytes) -> bytes:
    """A few bytes changed, lost, inserted or said twice."""
    content = bytearray(seed)
    for _ in range(rng.choice(HOW_MANY)):
        place = rng.randrange(max(len(content), 1))
        length = rng.choice((1, 1, 2, 4, 8, 16))
        match rng.randrange(6):
            case 0 if content:
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                content[place : place + length] = _piece(rng, length)
            case 2:
                content[place:place] = _piece(rng, length)
            case 3:
                del content[place : place + length]
            case 4:
                other = rng.randrange(max(len(content), 1))
                content[place:place] = content[other : other + 4 * length]
            case _:
                del content[max(place, len(content) - 64) :]
    return bytes(content)


def _piece(rng: Random, length: int) -> bytes:
    if rng.random() < 0.5:
        return (rng.choice(NUMBERS) % 2 ** (8 * length)).to_bytes(length, "little")
    return rng.randbytes(length)


def end_like(rng: Random, seed: bytes, length: int = 400) -> bytes:
    """Bytes of the end changed, where archives and tables keep what they hold."""
    return seed[:-length] + bytes_like(rng, seed[-length:])


def json_like(rng: Random, text: str) -> str:
    """A JSON text in which a few values are replaced, lost, renamed, exchanged or said twice, or nested deep."""
    document = json.loads(text)
    for _ in range(rng.choice(HOW_MANY)):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 3:
            del holder[key]
        elif kind == 4:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
        elif kind == 5 and isinstance(holder, dict):
            holder[rng.choice(TEXTS)] = holder.pop(key)
        elif kind == 6:
            if isinstance(holder, dict):
                holder[rng.choice(TEXTS)] = _odd(rng)
            else:
                holder.append(_odd(rng))
        else:
            holder[key] = _odd(rng)
    written = json.dumps(document, ensure_ascii=rng.random() < 0.9)
    if rng.random() < 0.02:
        depth = rng.choice((40, 900, 5000, 100_000))
        written = written.replace("[", "[" * depth, 1) if rng.random() < 0.5 else '{"a":' * depth
    return written


def _odd(rng: Random) -> Any:
    return copy.deepcopy(rng.choice(ODD))


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or position in it."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else []
    for key in keys:
        yield document, key
        yield from _places(document[key])


TOKENS = [
    "&a ", "*a", "<<: ", "!!python/object/apply:tests.fuzz.canary.sing []", "!!binary ", "!x ",
    "!!timestamp x", "!!bool x", "!!int ''", "!!float ''", "!!null x", "!!omap [a]", "- ", "? ", "| ", "> ",
    ": ", "{", "}", "[", "]", '"', "'", "\t", "  ", "\n", "---\n", "...\n", "%YAML 9.9\n---\n", "%TAG ! x\n", "#",
    "\\x1b", "\\U00110000",
    "\u2028", "\ufeff", "\0", "\x07", "\ud800", "1e999", ".inf", ".nan", "-.inf", "0x" + "f" * 600,
    "9" * 500, "1e-4", "~", "null", "true", "[" * 60, "{a: " * 60, "- " * 60, "x" * 3000, ",", ";", '""', "\r", "\r\n",
    "=", "2020-01-01", "1_000", "0o17", "12:30:45", "/etc/passwd", "../secret", "-1", "0", "1e308",
    "4294967296", "@", "`",
]  # fmt: skip
"""What means something to readers of YAML, CSV and the like, and what should not."""


def text_like(rng: Random, text: str) -> bytes:
    """A text whose lines and words are exchanged, lost, said twice or replaced by what means something."""
    lines = text.splitlines(keepends=True)
    for _ in range(rng.choice(HOW_MANY)):
        if not lines:
            break
        place = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                del lines[place]
            case 1:
                lines.insert(rng.randrange(len(lines) + 1), lines[place])
            case 2:
                other = rng.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 3:
                lines[place] = rng.choice(("  ", " ", "\t")) + lines[place]
            case 4 | 5:
                cut = rng.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:cut] + rng.choice(TOKENS) + lines[place][cut:]
            case _:
                words = lines[place].rstrip("\n").split(" ")
                words[rng.randrange(len(words))] = rng.choice(TOKENS)
                lines[place] = " ".join(words) + "\n"
    content = "".join(lines).encode("utf-8", "surrogatepass")
    return bytes_like(rng, content) if rng.random() < 0.15 else content


_CALLS = [
    b"ctests.fuzz.canary\nsing\n", b"cos\nsystem\n", b"cbuiltins\neval\n", b"c__builtin__\ngetattr\n",
    b"ctorch\nload\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nFloatStorage\n", b"ctorch\nSize\n", b"ccollections\nOrderedDict\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"ctorch.nn.modules.linear\nLinear\n", b"ctorch\ndevice\n", b"ctorch\nUntypedStorage\n",
]  # fmt: skip
_OPS = [
    *(op.code.encode("latin1") for op in pickletools.opcodes if op.arg is None),
    b"(ctests.fuzz.canary\nsing\nt", b"ctests.fuzz.canary\nsing\n)R", b"(itests.fuzz.canary\nsing\n", b"K\x00",
    b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"\x8a\x09" + b"\xff" * 8 + b"\x00",
    b"r\xff\xff\xff\x7f",
    b"j\xff\xff\xff\x7f", b"I99999999999999999999\n", b"L-1L\n", b"X\x01\x00\x00\x00a",
    b"X\xff\xff\xff\x7f", b"Px\n",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"Vx\n", b"S'\\xff'\n", b"F1e999\n",
    b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
]  # fmt: skip


@lru_cache(maxsize=64)
def _steps(pickled: bytes) -> tuple[bytes, ...]:
    """A pickle, opcode by opcode with its argument."""
    places = [place for _, _, place in pickletools.genops(pickled)]
    return tuple(pickled[a:b] for a, b in zip(places, [*places[1:], len(pickled)], strict=True))


def pickle_like(rng: Random, pickled: bytes) -> bytes:
    """A program in which a few steps are lost, said twice, exchanged, or call what nobody should call."""
    if rng.random() < 0.25:
        return bytes_like(rng, pickled)
    steps = list(_steps(pickled))
    for _ in range(rng.choice(HOW_MANY)):
        place = rng.randrange(len(steps))
        match rng.randrange(8):
            case 0:
                del steps[place]
            case 1:
                steps.insert(rng.randrange(len(steps)), steps[place])
            case 2:
                other = rng.randrange(len(steps))
                steps[place], steps[other] = steps[other], steps[place]
            case 3:
                named = [k for k, step in enumerate(steps) if step[:1] == b"c"]
                steps[rng.choice(named) if named else place] = rng.choice(_CALLS)
            case 4:
                counts = [k for k, step in enumerate(steps) if step[:1] in b"KMJ"]
                steps[rng.choice(counts) if counts else place] = rng.choice(_OPS[-20:])
            case 5:
                steps[place:place] = [rng.choice(_OPS)] * rng.choice((1, 1, 1, 2, 50))
            case 6:
                steps[place:place] = [rng.choice(_CALLS), rng.choice((b")R", b"(tR", b")\x81", b"}b", b"Q", b"0"))]
            case _:
                steps[place] = steps[place][:1] + bytes_like(rng, steps[place][1:] or b"\0")
        if not steps:
            break
    return b"".join(steps)


def archive_like(rng: Random, members: Mapping[str, bytes], edit: Callable[[Random, str, bytes], bytes]) -> bytes:
    """A zip archive whose members are edited, and whose directory now and then is crooked."""
    names = list(members)
    chosen = rng.choice(names)
    packed = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.02 else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), edit(rng, name, data) if name == chosen else data, compression)
        if rng.random() < 0.05:
            with contextlib.suppress(UserWarning):
                archive.writestr(
                    zipfile.ZipInfo(rng.choice((*(n + "x" for n in names), "../x", "/x", "a/code/x"))), b"x"
                )
    content = packed.getvalue()
    return end_like(rng, content, 60 * len(members) + 100) if rng.random() < 0.3 else content


def header_like(rng: Random, content: bytes) -> bytes:
    """A safetensors file with another header: another document, or one that is none any more."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + length], content[8 + length :]
    match rng.randrange(4):
        case 0:
            return bytes_like(rng, content[: 8 + length]) + data
        case 1:
            return safetensors_of(bytes_like(rng, header), data)
        case _:
            return safetensors_of(json_like(rng, header.decode()).encode("utf-8", "surrogatepass"), data)


def safetensors_of(header: bytes, data: bytes) -> bytes:
    """A safetensors file."""
    return struct.pack("<Q", len(header)) + header + data


def message_like(rng: Random, seed: Any) -> Any:
    """A protobuf message in which a few fields are replaced, lost or said twice."""
    message = type(seed)()
    message.CopyFrom(seed)
    for _ in range(rng.choice(HOW_MANY)):
        places = list(_fields(message))
        if not places:
            break
        holder, field = rng.choice(places)
        value = getattr(holder, field.name)
        if not _repeats(value):
            if field.message_type is not None or rng.randrange(5) == 0:
                holder.ClearField(field.name)
            else:
                with contextlib.suppress(ValueError):  # no number of this enumeration
                    setattr(holder, field.name, _scalar(rng, value))
            continue
        place = rng.randrange(len(value))
        match rng.randrange(4):
            case 0:
                del value[place]
            case 1:
                value.append(value[place])
            case _ if field.message_type is None:
                value[place] = _scalar(rng, value[place])
            case _:
                value[place].Clear()
    return message


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every message with every field that it has."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for inner in value if _repeats(value) else [value]:
                yield from _fields(inner)


def _repeats(value: Any) -> bool:
    return hasattr(value, "append")


_WORDS = ["x", "y", "h", "W", "Relu", "MatMul", "Loop", "If", "Constant", "Reshape", "Gather", "axis", "axes"]
_WORDS += [text for text in TEXTS if len(text) < 100]
_SMALL = [*(n for n in NUMBERS if -(2**31) <= n < 2**31), 4, 5, 9, 10, 11, 16]


def _scalar(rng: Random, old: Any) -> Any:
    """Another value of the same type."""
    if isinstance(old, str):
        return rng.choice(_WORDS)
    if isinstance(old, bytes):
        return rng.randbytes(rng.randrange(64)) if rng.random() < 0.5 else old[:-1]
    if isinstance(old, float):
        return rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    return rng.choice(_SMALL) if rng.random() < 0.5 else rng.randint(-3, 12)


def pick(rng: Random, seeds: Sequence[Any]) -> Any:
    """One of several."""
    return seeds[rng.randrange(len(seeds))]


assert canary.__name__ == "tests.fuzz.canary", "the name that hostile files call"
