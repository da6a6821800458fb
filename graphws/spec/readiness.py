"""What a spec lacks before it can be trained: a spec may be right and still say too little."""

from __future__ import annotations

from graphws.spec.inputs import no_networks
from graphws.spec.schema import Spec


def lacks_for_training(spec: Spec) -> tuple[str, ...]:
    """Why ``graphws run`` and ``train`` would refuse a valid spec; nothing where they would not.

    >>> lacks_for_training(Spec(graphws=1))[0]
    'training needs networks, but the spec has no input; use `input: {kind: zoo}`'
    """
    if spec.experiment is not None:
        return ()
    found = []
    if spec.input is None or not spec.input.has_networks:
        found.append(no_networks(spec.input))
    found += [
        f"the spec has no {name}; training needs a section `{name}`"
        for name in ("model", "head")
        if getattr(spec, name) is None
    ]
    if spec.task is None:
        found.append("the spec has no task; add `task: {kind: classification, target: label}` or another one")
    return tuple(found)
