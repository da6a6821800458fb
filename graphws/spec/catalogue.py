"""The shipped specs as a catalogue: what each is for, and the files that one needs."""

from __future__ import annotations

from pathlib import Path

from graphws.spec.reader import read_file
from graphws.spec.shipped import find_shipped, shipped_folder
from graphws.spec.tree import Scalar


def about(name: str) -> str:
    """What a shipped spec is for: the comment at its head, in one line.

    >>> about("digits-inr")
    'Read the class of a handwritten digit from the weights of the network that draws it.'
    """
    path = find_shipped(name)
    assert path is not None
    head: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        head += [] if "yaml-language-server" in line else [line.lstrip("# ")]
    return " ".join(head)


def with_parents(name: str) -> dict[Path, Path]:
    """The files of a shipped spec and of all that it extends, by their places in the folder of shipped specs.

    >>> [place.as_posix() for place in with_parents("digits-inr")]
    ['digits-inr.yaml', 'base/neurons.yaml']
    """
    folder = shipped_folder().resolve()
    path = find_shipped(name)
    found: dict[Path, Path] = {}
    while path is not None:
        found[path.relative_to(folder)] = path
        parent = read_file(path, path.name)[0].entries.get("extends")
        if parent is None or not isinstance(parent.value, Scalar):
            break
        near = (path.parent / str(parent.value.value)).resolve()
        path = near if near.is_file() else find_shipped(str(parent.value.value))
    return found
