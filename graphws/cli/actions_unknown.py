"""``graphws actions --group unknown``: symmetries that nobody named, of a network that has them exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from graphws.cli.console import Bars, output, table
from graphws.cli.destinations import name_files, write_figures
from graphws.errors import UsageError

if TYPE_CHECKING:
    from graphws.checkpoints.conversion import Conversion


def search_unknown(found: Conversion, source: str, as_json: str | None, neurons: Path | None) -> None:
    """Searches, says what the symmetries move, and writes the files that were asked for."""
    from graphws.actions.analysis.quotient import orbit_view
    from graphws.actions.analysis.result import map_to_dict
    from graphws.actions.automorphism import automorphisms
    from graphws.actions.pictures.joined_axes import picture_view
    from graphws.report.actions_neurons import neuron_file
    from graphws.runtime.files import write_bytes

    if found.weights is None:
        raise UsageError("this graph has no weights: give a checkpoint, or a converted network's file")
    with Bars().work(f"searching {source} for symmetries"):
        result = automorphisms(found.weights)
    spaces = [space.name for space in result.graph.spaces]
    generators = [{name: map_to_dict(g.maps.get(name)) for name in spaces} for g in result.generators]
    write_figures({"order": result.order, "generators": generators}, as_json)
    if neurons is not None:
        write_bytes(neurons, neuron_file(orbit_view(picture_view(found.weights), result.generators), neurons.suffix))
    console = output(as_json)
    if result.order == 1:
        console.print("No symmetry found: only the identity leaves all weights as they are.", markup=False)
    else:
        count = f"{len(result.generators)} generator" + ("s" if len(result.generators) > 1 else "")
        console.print(f"{result.order} exact symmetries, from {count}.", markup=False)
        rows = [
            [str(number), space.name, _cycles(result.on(space.name)[number - 1].tolist())]
            for number in range(1, len(result.generators) + 1)
            for space in result.graph.spaces
        ]
        console.print(table(["generator", "space", "moves"], rows))
    name_files({"figures": as_json, "neurons": neurons}, console)


def _cycles(perm: list[int], most: int = 6) -> str:
    """A permutation in cycles, the first few of them."""
    seen: set[int] = set()
    cycles = []
    for start in range(len(perm)):
        cycle, here = [], start
        while here not in seen:
            seen.add(here)
            cycle.append(here)
            here = perm[here]
        if len(cycle) > 1:
            cycles.append("(" + " ".join(map(str, cycle)) + ")")
    rest = f" and {len(cycles) - most} more" if len(cycles) > most else ""
    return " ".join(cycles[:most]) + rest if cycles else "-"
