"""``graphws check``, ``schema`` and ``explain``: specs without any training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphws.cli.arguments import Overrides, ScaleOption, SpecArgument
from graphws.cli.console import output
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, name_files, output_option, write_figures
from graphws.errors import GraphwsError, SpecError, UsageError
from graphws.runtime.files import write_bytes, write_text
from graphws.spec import Spec, dump_spec, json_schema, lacks_for_training, load_spec

if TYPE_CHECKING:
    from graphws.runtime.model_explanation import ModelExplanation


def check_command(
    spec: SpecArgument,
    overrides: Overrides = None,
    scale: ScaleOption = None,
    show: Annotated[bool, typer.Option("--show", help="Print the spec with everything spelled out.")] = False,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Check SPEC, at every scale and every point of its sweep: all mistakes, each with its file, line and column."""
    check_files({"--json": as_json}, overwrite=overwrite)
    try:
        loaded = load_spec(spec, overrides or (), scale)
    except SpecError as error:
        write_figures({"spec": spec, "fine": False, "mistakes": str(error).splitlines()}, as_json)
        raise
    lacking = () if show and as_json is None else _refusals(loaded)
    sizes = list(_size(loaded))
    write_figures({"spec": spec, "fine": True, "lacks": list(lacking), "notes": sizes}, as_json)
    console = output(as_json)
    if show:
        console.lines(dump_spec(loaded), end="")
        return
    fine = f"{spec} is a valid spec, but graphws run would refuse it: {lacking[0]}" if lacking else f"{spec} is fine"
    console.print(fine)
    for line in sizes:
        console.print(line)
    name_files({"figures": as_json}, console)


def _refusals(spec: Spec) -> tuple[str, ...]:
    """Why ``graphws run`` would refuse a valid spec here and now; nothing where it would begin."""
    if lacking := lacks_for_training(spec):  # said without the imports of the rest
        return lacking
    from graphws.runtime.folder import RUNS

    if spec.experiment is not None:
        from graphws.trainings.readiness import refusal
    else:
        from graphws.runtime.readiness import refusal
    found = refusal(spec, folder=RUNS / spec.name)
    return () if found is None else (str(found),)


def _size(spec: Spec) -> Iterator[str]:
    """How large the model is, where its networks are there to tell."""
    from graphws.runtime.model_explanation import graphs_of, parts_of, size_warning
    from graphws.runtime.sections import unmatched

    if spec.model is None or spec.head is None or spec.input is None:
        return
    if spec.input.has_networks and spec.zoo is not None and not spec.zoo.folder().exists():
        return
    try:
        graphs = graphs_of(spec)
    except GraphwsError:  # data that are still to come
        return
    count = spec.model.parameters(graphs if len(graphs) > 1 else graphs[0], spec.head)
    parts = {part.name: part.parameters for part in parts_of(spec, graphs)}
    mapped = sum(parts.get(name, 0) for name in ("reduce", "expand"))
    share = f", {mapped:,} of them ({mapped / count:.0%}) in the maps of free axes" if mapped else ""
    yield f"its model learns {count:,} numbers{share}"
    if warning := size_warning(spec, graphs):
        yield f"warning: {warning}"
    for line in unmatched(spec, graphs):
        yield f"warning: {line}"


def schema_command(
    path: Annotated[Path | None, output_option("Write it to a file.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Print the JSON Schema of specs, for editors that complete and check while you type."""
    check_files({"--output": path}, overwrite=overwrite)
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if path is None:
        output().lines(text, end="")
    else:
        write_text(path, text)


def explain_command(
    spec: SpecArgument,
    overrides: Overrides = None,
    scale: ScaleOption = None,
    layer: Annotated[int | None, typer.Option(help="Which layer, counted from 1. Default: the second.")] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the layer's block matrix into this .png file.")
    ] = None,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Say what the model of SPEC is made of: messages, blocks, rules and parameters of a layer."""
    from graphws.layers.explain import roles_of
    from graphws.report.block_matrix import draw_block_matrix
    from graphws.report.figures import png
    from graphws.runtime.model_explanation import explain_model, size_warning

    check_files({"--figure": figure, "--json": as_json}, overwrite=overwrite)
    loaded = load_spec(spec, overrides or (), scale)
    found = explain_model(loaded)
    count = len(found.layers)
    number = min(2, count) if layer is None else layer
    if (layer is not None or figure is not None) and found.features:
        raise UsageError(
            "its features live on neurons, and only layers on parameters are made of blocks; "
            "leave out --layer and --figure"
        )
    if (layer is not None or figure is not None) and not 1 <= number <= count:
        raise UsageError(f"no layer {number}: the model {found.kind} has {count or 'no'} equivariant layers")
    if figure is not None:
        write_bytes(figure, png(draw_block_matrix(found.layers[number - 1])))
    write_figures(_explained(found), as_json)
    console = output(as_json)
    if found.parts:
        total = sum(part.parameters for part in found.parts)
        console.print(f"{found.kind}: {total:,} parameters", markup=False)
        for part in found.parts:
            console.print(f"  {part.parameters:,} in {part.name}", markup=False)
        if warning := size_warning(loaded, found.graphs):
            console.print(f"warning: {warning}", markup=False)
    if len(found.graphs) > 1:
        console.print(f"{len(found.graphs)} architectures; layers are shown on the first, counted over all")
        for use in roles_of(found.graphs):
            free = f", {use.free:,} free entries" if use.free > 1 else ""
            console.print(f"role: {use.role} in {use.graphs} of {len(found.graphs)}{free}", markup=False)
    for line in found.reductions:
        console.print(f"reduce: {line}", markup=False)
    for line in found.features:
        console.print(line, markup=False)
    for place, each in enumerate(found.layers, start=1):
        into, out = each.channels
        console.print(f"layer {place}: {into} -> {out} channels, {each.parameters:,} parameters", markup=False)
    if found.layers:
        console.lines(f"\nlayer {number} in full:\n{found.layers[number - 1]}")
    for reason in _refusals(loaded)[:1]:
        console.print(f"note: graphws run would refuse this spec: {reason}")
    name_files({"block matrix": figure, "figures": as_json}, console)


def _explained(found: ModelExplanation) -> dict[str, Any]:
    """A model's parts and layers, for programs."""
    return {
        "kind": found.kind,
        "parts": {part.name: part.parameters for part in found.parts},
        "layers": [
            {"channels": list(each.channels), "parameters": each.parameters, "blocks": str(each)}
            for each in found.layers
        ],
        "reductions": list(found.reductions),
        "features": list(found.features),
        "architectures": len(found.graphs),
    }
