"""The report of a finished experiment with its figures, which leads with the verdict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure

from graphws.actions import Actions
from graphws.graph import Monomial
from graphws.report import Page, Table, drawn, html, png
from graphws.report.actions_figures import draw_categories, draw_errors, draw_filters
from graphws.report.like_decoys import like_decoys
from graphws.report.symmetry_figures import draw_attention, draw_training
from graphws.runtime.files import write_bytes, write_text
from graphws.runtime.folder import RunFolder
from graphws.runtime.what_ran import what_ran
from graphws.spec import Spec, dump_spec
from graphws.trainings.analysis import SymmetryResults
from graphws.trainings.heads import HeadMatch
from graphws.trainings.training import Trained
from graphws.zoo.sources.labelled_pictures import Pictures

SHOWN = 3
"""Pictures whose attention maps are drawn."""


def write_report(
    spec: Spec,
    folder: RunFolder,
    trained: Trained,
    pictures: Pictures,
    actions: Actions,
    heads: HeadMatch | None,
    results: SymmetryResults,
) -> None:
    """Draw the figures of an experiment and write its report.

    Raises:
        RunError: When a file cannot be written.
    """
    shown = []
    for name, (caption, figure) in figures_of(trained, pictures, actions, heads).items():
        shown.append(drawn(caption, figure))
        write_bytes(folder.figure(name), png(figure))
    page = Page(
        title=spec.question(),
        lead=results.sentence(),
        results=Table(*results.table()),
        pictures=shown,
        remarks=like_decoys(actions.layers, actions.verdict.by_outputs),
        leading=False,
        facts=_facts(trained, pictures, actions, results),
        ran=what_ran(spec, folder),
        spec=dump_spec(spec),
    )
    write_text(folder.report, html(page))


def figures_of(
    trained: Trained, pictures: Pictures, actions: Actions, heads: HeadMatch | None
) -> dict[str, tuple[str, Figure]]:
    """Every figure with its caption, in the order of the report."""
    design = trained.design
    generator, element = next(iter(design.symmetry.generators.items()))
    found: dict[str, tuple[str, Figure]] = {}
    if heads is not None:
        crops = trained.probes(pictures)
        chosen = torch.linspace(0, len(crops) - 1, min(SHOWN, len(crops))).long()
        shown, moved = (
            design.crop.shown(x).movedim(1, 3).double().numpy()
            for x in (crops[chosen], design.move(crops[chosen], element))
        )
        maps, moved_maps = heads.maps[chosen].double().numpy(), heads.moved[chosen].double().numpy()
        found["attention"] = (
            f"Where each head looks in a picture, and in the same one under {generator}; heads that permute are framed "
            "(paper I, figure 3).",
            draw_attention(shown, moved, maps, moved_maps, heads.permuting),
        )
    first = next((layer for layer in actions.layers if layer.kinds), None)
    if heads is None and first is not None and design.shape[0] in (1, 3):
        rho = actions.elements[element].maps[first.space]
        if isinstance(rho, Monomial):
            found["filters"] = (
                f"The {first.size} filters of the first layer, sorted and framed by what {generator} does to them "
                "(paper I, figure 2).",
                draw_filters(trained.weights["W1"][0], design.shape, first.kinds[generator], rho),
            )
    if first is not None:
        found["categories"] = (
            "Neurons by how they take part in the action. Where decoys match as many, the colours say nothing.",
            draw_categories(actions.layers, generator),
        )
    found["errors"] = (
        "Layer errors beside those of decoys. A dot far below every grey line is evidence; a diamond far below its "
        "dot: the layer carries an action by a matrix, not by neurons.",
        draw_errors(actions.layers, actions.verdict.breaks_at),
    )
    found["training"] = ("The training.", draw_training(trained.history, design.experiment.train.steps // 2))
    return found


def _facts(trained: Trained, pictures: Pictures, actions: Actions, results: SymmetryResults) -> dict[str, str]:
    design, train = trained.design, trained.design.experiment.train
    tests = int(pictures.test.sum())
    facts = {
        "pictures": f"{len(pictures.test) - tests:,} for training, {tests:,} for tests, "
        f"seen as {'x'.join(map(str, design.shape))}",
        "network": " → ".join(f"{space.name} ({space.size})" for space in design.graph.spaces),
        "weights": f"{design.graph.numel:,}",
        "training": f"{train.steps:,} steps of {train.batch_size:,} pictures, "
        f"{trained.history[-1]['seconds']:,.0f} s in all",
        "probes": f"{actions.probes:,} test pictures",
        "end-to-end error of decoys": _listed(actions.decoy_end_to_end),
    }
    facts |= {f"test {name}": f"{value:.4g}" for name, value in results.test.items()}
    return facts


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {value:.2g}" for name, value in values.items()) or "-"
