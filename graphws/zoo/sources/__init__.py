"""Where the signals come from that a zoo's networks are fitted to: a closed table of sources.

>>> samples = load_samples("digits", limit=100)
>>> len(samples), tuple(samples.values.shape), sorted(samples.table)
(100, (100, 64, 1), ['label'])

Another package adds a source by an entry point of the group ``graphws.sources``: a function with keyword arguments only
that returns `Samples`.  The table's own names cannot be taken over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from graphws.errors import DataError, nearest
from graphws.zoo.sources.cifar10 import load_cifar10 as load_cifar10
from graphws.zoo.sources.digits import load_digits as load_digits
from graphws.zoo.sources.idx import load_idx as load_idx
from graphws.zoo.sources.idx import read_idx as read_idx
from graphws.zoo.sources.pictures import load_pictures as load_pictures
from graphws.zoo.sources.samples import Samples as Samples
from graphws.zoo.sources.samples import picture_grid as picture_grid
from graphws.zoo.sources.sine import load_sine as load_sine

SOURCES: dict[str, Callable[..., Samples]] = {
    "digits": load_digits,
    "idx": load_idx,
    "cifar10": load_cifar10,
    "pictures": load_pictures,
    "sine": load_sine,
}
"""The built-in sources by name."""


def load_samples(kind: str, **options: Any) -> Samples:
    """The samples of the source called `kind`.

    Raises:
        DataError: On an unknown source or option, a missing option, and whatever the source itself refuses.
    """
    source = SOURCES.get(kind)
    if source is None:
        found = {point.name: point for point in entry_points(group="graphws.sources")}
        if kind not in found:
            allowed = sorted({*SOURCES, *found})
            raise DataError(f"unknown source {kind!r}; there are {', '.join(allowed)}" + nearest(kind, allowed))
        source = found[kind].load()
    parameters = inspect.signature(source).parameters
    for name in options:
        if name not in parameters:
            raise DataError(f"source {kind!r} has no option {name!r}" + nearest(name, parameters))
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in options:
            raise DataError(f"source {kind!r} needs the option {name!r}")
    return source(**options)
