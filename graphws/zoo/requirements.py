"""What a zoo must be before it is written: whatever `graphws.zoo.Zoo.open` would refuse is refused here.

A table gets the columns that it lacks where their values are obvious.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from graphws.errors import GraphError, ZooError, nearest
from graphws.graph import NetworkGraph
from graphws.graph.summary import orbit_count
from graphws.printable import printable
from graphws.zoo.manifest import LONGEST_NAME, MAX_ARCHITECTURES, MAX_BYTES, provenance_from
from graphws.zoo.store import ARCHITECTURE, MAX_ALL_GRAPHS, MAX_GRAPH_BYTES
from graphws.zoo.table import MAX_COLUMNS, SPLITS, Table, check_splits


def complete_table(table: Table, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The table with the columns that every zoo has.

    Args:
        table: Columns of one entry a network.
        names: The architectures; the only one is everybody's.

    Raises:
        ZooError: On no networks, on columns of different lengths or of types that no table has, on sample or view
            numbers that are none, on unknown splits, and where the architectures are not those of the networks.
    """
    given = {name: np.asarray(column) for name, column in table.items()}
    count = _count(given)
    if len(names) > 1 and ARCHITECTURE not in given:
        raise ZooError(f"the table needs a column {ARCHITECTURE!r}: there are {len(names)} of them")
    usual = {
        ARCHITECTURE: np.full(count, names[0] if names else "", dtype=object),
        "sample": np.arange(count),
        "view": np.zeros(count, dtype=np.int64),
        "split": np.full(count, SPLITS[0], dtype=object),
    }
    whole = usual | given
    if len(whole) > MAX_COLUMNS:
        raise ZooError(f"the table has {len(whole)} columns, at most {MAX_COLUMNS} are allowed")
    for name, column in given.items():
        _check_column(name, column)
    for name in ("sample", "view"):
        if whole[name].dtype.kind not in "iu":
            raise ZooError(f"the column {name!r} must hold whole numbers")
    check_splits(whole["split"])
    _check_architectures(whole[ARCHITECTURE], names)
    return whole


def check_graphs(graphs: Mapping[str, NetworkGraph]) -> dict[str, bytes]:
    """The text of each graph; `ZooError` where they are too many or too large, or one has no numbers or a strange name.

    A graph whose orbits cannot be counted has no statistics, and so no zoo.
    """
    texts: dict[str, bytes] = {}
    held = 0
    if len(graphs) > MAX_ARCHITECTURES:
        raise ZooError(f"{len(graphs)} architectures, at most {MAX_ARCHITECTURES} are allowed in a zoo")
    for name, graph in graphs.items():
        if not isinstance(name, str) or len(name) > LONGEST_NAME or printable(name) != name:
            raise ZooError(
                f"architecture {str(name)[:80]!r}: a name is printable and has at most {LONGEST_NAME} characters"
            )
        if not graph.parameters:
            raise ZooError(f"architecture {name!r} has no parameters")
        try:
            for parameter in graph.parameters:
                orbit_count(graph, parameter.name)
        except GraphError as error:
            raise ZooError(f"architecture {name!r}: {error}") from error
        texts[name] = graph.to_json().encode()
        held += len(texts[name])
        if len(texts[name]) > MAX_GRAPH_BYTES:
            raise ZooError(
                f"architecture {name!r}: its graph takes {len(texts[name])} bytes, at most {MAX_GRAPH_BYTES} are "
                "allowed; constants are a part of it"
            )
        if held > MAX_ALL_GRAPHS:
            raise ZooError(f"the graphs of {len(graphs)} architectures take more than {MAX_ALL_GRAPHS} bytes together")
    return texts


def check_provenance(provenance: object) -> None:
    """`ZooError` where it cannot be a part of zoo.json."""
    try:
        text = json.dumps(provenance, sort_keys=True, indent=1)
        if len(text) > MAX_BYTES // 2:
            raise ValueError(f"it takes {len(text)} bytes")
        provenance_from(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise ZooError(f"the provenance is not what zoo.json can hold: {error}") from error


def _count(columns: Mapping[str, np.ndarray]) -> int:
    """How many networks the columns speak of."""
    for name, column in columns.items():
        if column.ndim != 1:
            raise ZooError(f"the column {name!r} has {column.ndim} axes, a column has one")
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or min(lengths.values()) == 0:
        raise ZooError("a zoo needs networks; there are none")
    first, count = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != count:
            raise ZooError(f"the column {name!r} has {length} entries, {first!r} has {count}")
    return count


def _check_column(name: object, column: np.ndarray) -> None:
    if not isinstance(name, str) or not name:
        raise ZooError(f"a column of the table is called {name!r}; names are text")
    if column.dtype.kind not in "iufbUO":
        raise ZooError(f"the column {name!r} is of type {column.dtype}; numbers and text are allowed")
    if column.dtype.kind == "O":
        odd = next((value for value in column if not isinstance(value, str | None)), None)
        if odd is not None:
            raise ZooError(f"the column {name!r} mixes text with {type(odd).__name__}; numbers or text are allowed")


def _check_architectures(column: np.ndarray, names: Sequence[str]) -> None:
    """The column names each architecture, and no other."""
    met, known = dict.fromkeys(column.tolist()), dict.fromkeys(names)
    for name in met:
        if name not in known:
            raise ZooError(f"architecture {name!r} is named in the table, but has no graph" + nearest(str(name), names))
    for name in names:
        if name not in met:
            raise ZooError(f"architecture {name!r} has a graph, but no row of the table names it")
