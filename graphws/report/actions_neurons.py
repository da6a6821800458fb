"""The neurons of a network with the orbits of an action on them, as a file.

``.json`` is networkx's node-link form (`networkx.node_link_graph` reads it back, names as lists), ``.graphml`` is for
Gephi, yEd and others; that format knows numbers and text only, so names become ``space[index]`` and lists are left out.
"""

from __future__ import annotations

import io
import json
from typing import Any

import networkx as nx

from graphws.errors import UsageError
from graphws.printable import printable

SUFFIXES = (".json", ".graphml")


def neuron_file(view: nx.MultiDiGraph, suffix: str) -> bytes:
    """The content of a file.

    Args:
        view: From `graphws.actions.Actions.to_networkx`.
        suffix: One of `SUFFIXES`.

    Raises:
        UsageError: On another suffix.
    """
    check_suffix(suffix)
    if suffix == ".json":
        return json.dumps(nx.node_link_data(view, edges="edges"), default=str).encode()
    plain = nx.MultiDiGraph()
    for node, values in view.nodes(data=True):
        plain.add_node(_name(node), **_simple(values))
    for source, target, key, values in view.edges(keys=True, data=True):
        plain.add_edge(_name(source), _name(target), key=str(key), **_simple(values))
    stream = io.BytesIO()
    nx.write_graphml(plain, stream)
    return stream.getvalue()


def check_suffix(suffix: str) -> None:
    """Refuses the ending of a file that neurons are not written to.

    Raises:
        UsageError: Where it is none of `SUFFIXES`.
    """
    if suffix not in SUFFIXES:
        raise UsageError(f"neurons are written as {' or '.join(SUFFIXES)}, got {suffix or 'no ending'!r}")


def _name(node: Any) -> str:
    """A node in GraphML, which as XML holds no control characters."""
    return printable(f"{node[0]}[{node[1]}]" if isinstance(node, tuple) and len(node) == 2 else str(node))


def _simple(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: printable(value) if isinstance(value, str) else value
        for key, value in values.items()
        if isinstance(value, bool | int | float | str)
    }
