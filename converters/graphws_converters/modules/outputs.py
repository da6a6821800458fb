"""Which of a module's outputs count: those that the caller names, else what the module is for.

The group leaves every output that counts alone.  So a hidden state that a module returns beside its logits fixes the
order of all neurons in it, though nobody asked for more than the logits.  Without a word from the caller:

- Of an output of transformers (a ``ModelOutput``, whose fields are documented) the first of these kinds that is there
  counts: predictions (``logits``, ``pred_boxes``), embeddings (``image_embeds``), the last hidden state with the pooled
  output.  Fields of no known kind count as well.  Hidden states of layers and of inner models, attentions, caches,
  losses and loads of experts never do, unless there is nothing else.
- The state of a recurrent layer (``h_n``, ``c_n``, what a cell gives) does not count behind something else, as in the
  (output, state) that PyTorch's own layers return.
- Of every other tuple, list, dictionary or dataclass all entries count: nothing says that one is less meant than
  another.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from graphws.checkpoints.conversion import EVERY, OutputChoice, listed
from graphws.errors import UsageError, nearest
from graphws.kinds import spelled
from graphws_converters.analysis.ir import Program, Value
from graphws_converters.gate.outputs import opened
from graphws_converters.modules.hugging_face import is_model_output

_KINDS = {
    "state": r"last_hidden_states?(_.+)?|pool(er|ed)_output",
    "inner": r"(.+_)?loss(_.+)?|.*attentions|.*hidden_states?(_.+)?|(.+_)?(cache|past)(_.+)?|mems|state|.*kv_states"
    r"|(.+_)?router_(logits|probs)|intermediate_.+|init(ial)?_reference_points|extract_features",
    "prediction": r"(.+_)?logits(_.+)?|pred_.+|.+_preds|predict(ed|ion)_.+|.+_predictions?|(.+_)?scores?"
    r"|reconstruction",
    "embedding": r"(.+_)?embed(ding)?s",
}
"""Kinds of fields by their names; the first that fits."""
_RANKS = ("prediction", "embedding", "state")
"""Kinds of which the first that is there is what a model is for."""
_STATES = dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), 1) | dict.fromkeys(
    ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), 0
)
"""Recurrent operations, and the first of their results that is a state."""


class OutputFilter:
    """Keeps of what a module returns the outputs that count.

    Args:
        wanted: Names and positions of those that count, ``all``, or None for what the module is for; see
            `graphws.Hints`.
        names: Of the entries of a tuple, where the source has names for them.
    """

    def __init__(self, wanted: tuple[str | int, ...] | str | None, names: Sequence[str] = ()) -> None:
        self.wanted, self.names = wanted, tuple(names)
        self._states: frozenset[str] = frozenset()
        self._counted: dict[str, int] = {}
        self._left: tuple[str, ...] = ()

    def __call__(self, outputs: Any) -> Any:
        """The outputs that count, opened (`opened`): one by itself, several in a dictionary.

        Raises:
            UsageError: Where an output that was named is not there, or cannot be looked into.
        """
        parts = self._parts(outputs)
        if parts is None:
            self._check_only()
            self._counted, self._left = {}, ()
            return opened(outputs)
        if isinstance(self.wanted, tuple):
            found = dict(_find(parts, each) for each in self.wanted)
        else:
            left = frozenset() if self.wanted == EVERY else self._left_out(outputs, parts)
            found = {name: value for name, value in parts.items() if name not in left}
        kept = {name: opened(value) for name, value in found.items()}
        self._counted = {name: len(_tensors(value)) for name, value in kept.items()}
        self._left = tuple(name for name in parts if not any(_within(path, name) for path in kept))
        if len(kept) == 1:
            return next(iter(kept.values()))
        return kept if isinstance(self.wanted, tuple) or self._left else opened(outputs)

    @property
    def choice(self) -> OutputChoice | None:
        """What counts of the last outputs, and what does not; None where there was only one."""
        several = len(self._counted) + len(self._left) > 1
        return OutputChoice(tuple(self._counted), self._left) if several else None

    @property
    def note(self) -> str:
        """What was left out without a word from the caller; empty where nothing was."""
        if self.wanted is not None or not self._left:
            return ""
        them = "it" if len(self._left) == 1 else "them"
        return f"outputs left out: {listed(self._left)}; outputs={EVERY!r} counts {them}"

    def values(self, program: Program) -> dict[str, list[Value]]:
        """The tensors of each output that counts in a program that was traced last; empty where they do not match."""
        if sum(self._counted.values()) != len(program.outputs):
            return {}
        outputs = iter(program.outputs)
        return {name: [next(outputs) for _ in range(count)] for name, count in self._counted.items()}

    def leave_states(self, program: Program) -> None:
        """Leaves the states of recurrent layers out of a program that was just traced, and of all outputs from now on.

        Law: what comes first stays, and every tensor that is left out is a state itself, not made from one.
        """
        if self.wanted is not None:
            return
        values, states = self.values(program), set(_recurrent_states(program))
        inner = {name for name, each in values.items() if each and states.issuperset(each)}
        kept = [value for name, each in values.items() if name not in inner for value in each]
        if not inner or not kept or next(iter(values)) in inner:
            return
        self._states = frozenset(inner)
        self._left = (*self._left, *(name for name in self._counted if name in inner))
        self._counted = {name: count for name, count in self._counted.items() if name not in inner}
        program.outputs = kept

    def _parts(self, outputs: Any) -> dict[str, Any] | None:
        """The entries of a container by name; None where there is none to look into."""
        parts = parts_of(outputs)
        if parts is not None and type(outputs) is tuple and len(set(self.names)) == len(outputs):
            return dict(zip(self.names, outputs, strict=True))
        return parts

    def _left_out(self, outputs: Any, parts: Mapping[str, Any]) -> frozenset[str]:
        """What does not count where the caller does not say."""
        return self._states | left_out(parts) if is_model_output(outputs) else self._states

    def _check_only(self) -> None:
        """Checks what was named where there is only one output.

        Raises:
            UsageError: Where it was another.
        """
        known = (0, -1, "0", *(self.names if len(self.names) == 1 else ()))
        wrong = [each for each in self.wanted if each not in known] if isinstance(self.wanted, tuple) else []
        if wrong:
            named = f", {self.names[0]!r}" if len(self.names) == 1 else ""
            raise UsageError(f"the module has no output {wrong[0]!r}: it returns only one{named}")


def _find(parts: Mapping[str, Any], wanted: str | int) -> tuple[str, Any]:
    """The name and the value of an output; a name may be a path: ``text_model_output.pooler_output``."""
    names = list(parts)
    if isinstance(wanted, int) and str(wanted) not in parts:
        if not -len(names) <= wanted < len(names):
            raise UsageError(f"the module has no output {wanted}; its outputs are {listed(names)}")
        wanted = names[wanted]
    name = str(wanted)
    value = parts[name] if name in parts else _along(parts, name)
    if value is None:
        raise UsageError(f"output {name!r} of the module is None on these inputs")
    return name, value


def left_out(parts: Mapping[str, Any]) -> frozenset[str]:
    """The fields of an output of transformers that do not count by default; see the module's docstring."""
    kinds = {name: "inner" if is_model_output(value) else kind_of(name) for name, value in parts.items()}
    first = next((kind for kind in _RANKS if kind in kinds.values()), None)
    kept = {name for name, kind in kinds.items() if kind in (first, "")}
    return frozenset(parts) - kept if kept else frozenset()


def kind_of(name: str) -> str:
    """The kind of a field of an output of transformers; empty where none is known."""
    return next((kind for kind, pattern in _KINDS.items() if re.fullmatch(pattern, name)), "")


def parts_of(outputs: Any) -> dict[str, Any] | None:
    """The entries of a container by name: keys, fields or positions; None of anything else.

    Fields that hold nothing are no entries.
    """
    if isinstance(outputs, Mapping):
        return {str(name): value for name, value in outputs.items()}
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        fields = {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
        return {name: value for name, value in fields.items() if value is not None}
    if isinstance(outputs, tuple | list):
        return dict(zip(getattr(outputs, "_fields", None) or map(str, range(len(outputs))), outputs, strict=True))
    return None


def _along(parts: Mapping[str, Any], path: str) -> Any:
    """What lies at the end of a path of names, separated by dots."""
    place: Any = parts
    for step in path.split("."):
        inner = parts_of(place)
        if inner is None or step not in inner:
            hint = nearest(path, parts) or f"; its outputs are {listed(list(parts))}"
            raise UsageError(f"the module has no output {path!r}{hint}")
        place = inner[step]
    return place


def _within(path: str, name: str) -> bool:
    """Whether a path is an entry, or leads into it."""
    return path == name or path.startswith(f"{name}.")


def _recurrent_states(program: Program) -> Iterator[Value]:
    """The states that recurrent layers give, and copies of them."""
    found: set[Value] = set()
    for node in program.nodes:
        if node.op in _STATES:
            found.update(value for value in node.outputs[_STATES[node.op] :] if value is not None)
        row = spelled(node.op)
        if row is not None and row.name == "identity" and found.issuperset(node.values()):
            found.update(value for value in node.outputs if value is not None)
    yield from found


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
