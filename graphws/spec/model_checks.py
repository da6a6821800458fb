"""Checks of the models: attention heads, messages, reductions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from graphws.errors import nearest
from graphws.messages import Message
from graphws.pooling import learned_pooling
from graphws.spec.finding import Finding
from graphws.spec.messages import expand_messages
from graphws.spec.model import DwsnetModel
from graphws.spec.networks import spaces
from graphws.spec.schema import Spec
from graphws.spec.tree import Path
from graphws.spec.wording import dotted

KINDS = ("weight", "bias")


def attention_heads(spec: Spec) -> Iterator[Finding]:
    """Heads of attention pooling divide the channels."""
    for path, model in _models(spec):
        if model.channels % model.heads and any(learned_pooling(message.pool) for message in expand_messages(model)):
            possible = ", ".join(str(n) for n in range(1, model.channels + 1) if model.channels % n == 0)
            at = (*path, "heads")
            yield Finding(
                at,
                f"{dotted(at)} is {model.heads}, which does not divide {model.channels} channels; possible: {possible}",
            )


def layer_messages(spec: Spec) -> Iterator[Finding]:
    """Blocks or messages but not both, at least one of them, and nothing sent twice."""
    for path, model in _models(spec):
        at = (*path, "messages")
        if model.blocks is not None and model.messages is not None:
            yield Finding(
                at,
                f"{dotted(path)} has both blocks and messages; give one of them (`blocks: null` drops inherited ones)",
            )
            continue
        messages = expand_messages(model)
        if not messages:
            blocks = (*path, "blocks")
            yield Finding(blocks, f"{dotted(blocks)} are all none: the layers would carry nothing")
        for (i, earlier), (j, later) in combinations(enumerate(messages), 2):
            if twice := _overlap(earlier, later):
                yield Finding((*at, j), f"{dotted((*at, j))} repeats {dotted((*at, i))}: both send {twice}")


def _overlap(one: Message, other: Message) -> str | None:
    """What two messages send alike, so that one of them is redundant there; None where nothing is."""
    if (one.via, one.pool) != (other.via, other.pool):
        return None
    sources = [kind for kind in KINDS if one.sends(kind) and other.sends(kind)]
    targets = [kind for kind in KINDS if one.reaches(kind) and other.reaches(kind)]
    found = f"{'+'.join(sources)} to {'+'.join(targets)} via {one.via} with {one.pool}"
    return found if sources and targets else None


def reductions(spec: Spec) -> Iterator[Finding]:
    """Only free spaces are reduced, and to no more than their width."""
    known = {space.name: space for space in spaces(spec)}
    free = [name for name, space in known.items() if space.free]
    for path, model in _models(spec):
        for name, width in model.reduce.items() if known else ():
            at = (*path, "reduce", name)
            space = known.get(name)
            if space is None:
                yield Finding(
                    at, f"{dotted(at)}: the networks have no space {name!r}{nearest(name, free)}{_free(free)}"
                )
            elif not space.free:
                yield Finding(at, f"{dotted(at)}: the space {name!r} is permuted and cannot be reduced{_free(free)}")
            elif space.size is not None and width > space.size:
                yield Finding(at, f"{dotted(at)} is {width}, wider than the space, which has {space.size}")


def _models(spec: Spec) -> Iterator[tuple[Path, DwsnetModel]]:
    """Every equivariant model of the spec and where it stands."""
    if isinstance(spec.model, DwsnetModel):
        yield ("model",), spec.model
    for i, baseline in enumerate(spec.compare):
        if isinstance(baseline.model, DwsnetModel):
            yield ("compare", i, "model"), baseline.model


def _free(names: list[str]) -> str:
    return f"; free spaces: {', '.join(names)}"
