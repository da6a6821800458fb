"""The report of a latent action: one page that leads with the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from graphws.actions.analysis.result import Actions
from graphws.actions.decoys.relabelled import RELABELLINGS
from graphws.actions.lie import LieFigures
from graphws.actions.measures.layer_errors import LayerFigures
from graphws.graph import Monomial
from graphws.report.actions_figures import draw_categories, draw_errors, draw_filters, draw_streams
from graphws.report.like_decoys import like_decoys
from graphws.report.page import Page, Picture, Table, html
from graphws.report.svg import drawn

COLUMNS = (
    "layer", "size", "action", "outcome", "K-error", "noise", "decoys", "relabelled", "p", "matched",
    "carried", "decoys", "GL-error", "ν", "defect",
)  # fmt: skip
_BRIEF = [
    COLUMNS.index(name) for name in ("layer", "size", "action", "outcome", "K-error", "noise", "decoys", "p", "matched")
]


def brief(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Of a table of layers the columns that a terminal has room for; of any other table all."""
    if tuple(columns) != COLUMNS:
        return list(columns), [list(row) for row in rows]
    return [columns[k] for k in _BRIEF], [[row[k] for k in _BRIEF] for row in rows]


def actions_table(actions: Actions) -> list[list[str]]:
    """One row a layer, as text, for `COLUMNS`."""
    rows = []
    for layer in actions.layers:
        rival = layer.best_rival
        evidence = layer.backward if layer.space in actions.verdict.by_outputs else layer.relabelled
        hidden = bool(layer.kinds)
        rows.append(
            [
                layer.space,
                str(layer.size),
                layer.action,
                outcome_of(actions, layer),
                _figure(layer.k_error),
                _figure(layer.noise),
                _figure(rival.k_error if rival else None) + (" (weights)" if rival and rival.weights else ""),
                f"{evidence.error:.2f} : {evidence.least:.2f}" if evidence and evidence.decoys else "-",
                f"{evidence.p_value:.2g}" if evidence else "-",
                f"{layer.matched:.0%}" if hidden else "-",
                f"{layer.carried:.0%}" if hidden else "-",
                f"{rival.carried:.0%}" if rival and hidden else "-",
                _figure(layer.gl_error),
                _figure(layer.nu),
                _figure(layer.defect) if hidden else "-",
            ]
        )
    return rows


def outcome_of(actions: Actions, layer: LayerFigures) -> str:
    """The outcome of a layer: whether the symmetry breaks there, and whether it moves no neuron."""
    verdict = actions.verdict
    found = {**verdict.layers, **verdict.ends}.get(layer.space, "-")
    if layer.space in verdict.breaks_at:
        return "breaks here" if found == "none" else f"breaks here, {found}"
    return f"{found}, trivial" if layer.space in verdict.trivial else found


def weakest(actions: Actions) -> str:
    """What keeps the analysis from saying more of the layers that it could not decide on, in a sentence."""
    few = [x for x in actions.layers if x.relabelled is not None and len(x.relabelled.decoys) < RELABELLINGS]
    parts = []
    if few:
        least = {x.space: 1 / (1 + len(x.relabelled.decoys)) for x in few if x.relabelled is not None}
        each = ", ".join(f"{p:.2g} on {space}" for space, p in least.items())
        parts.append(f"What these layers read can be relabelled in few ways, so no p-value is below {each}")
    verdict = actions.verdict
    behind = [space for space, found in verdict.layers.items() if found not in ("exact", "found")]
    behind = [space for space in behind if space not in verdict.breaks_at]
    if verdict.breaks_at and behind:
        parts.append(
            f"Behind {', '.join(verdict.breaks_at)} nothing says how the group should act on {', '.join(behind)}: maps "
            "that fit there would be a property of these layers alone"
        )
    return ". ".join(parts) + "." if parts else "-"


def taken_out(actions: Actions) -> str:
    """What was reduced before the search, in a sentence; nothing where nothing was."""
    if actions.reduction is None:
        return ""
    sizes = ", ".join(f"{space} {before} to {after}" for space, (before, after) in actions.reduction.sizes().items())
    return f"Taken out before the search, as it does nothing: {sizes}. All figures are of the network that is left."


def actions_page(
    actions: Actions,
    shape: Sequence[int],
    source: str,
    rates: Sequence[LieFigures] = (),
    ran: Mapping[str, str] | None = None,
) -> str:
    """The report as one self-contained HTML document.

    Args:
        actions: What was found.
        shape: Shape of one input.
        source: Where the network came from, for the title.
        rates: Lie derivatives that were measured besides.
        ran: What ran, and on what.
    """
    generator = next(iter(actions.generators), "")
    pictures = [
        drawn(
            "Layer errors beside those of decoy groups. A dot far below every grey line is evidence; a dot among them "
            "is not. A hollow triangle is what a perfect action has with as much noise: what lies near it is explained "
            "by noise. A diamond far below its dot: the layer carries an action by matrices, not by neurons. Where a "
            "line is drawn the symmetry breaks: what the layer reads follows, what it writes does not.",
            draw_errors(actions.layers, actions.verdict.breaks_at),
        )
    ]
    if any(layer.kinds for layer in actions.layers):
        pictures.append(
            drawn(
                "Neurons by how they take part in the action. Where decoys match as many, the colours say nothing.",
                draw_categories(actions.layers, generator),
            )
        )
    if actions.streams:
        pictures.append(
            drawn(
                "What each weight on a space that several write matches by its own action, beside what the one action "
                "of the space matches in all of them, and beside chance: the same weight, its other numbers shuffled.",
                draw_streams(actions.streams),
            )
        )
    filters = _filters(actions, shape, generator)
    if filters is not None:
        pictures.append(filters)
    facts = {
        "network": source,
        "group": f"{actions.group}, elements {', '.join(actions.words[:8])}{' …' if len(actions.words) > 8 else ''}",
        "probes": str(actions.probes) if actions.probes else "none: layers by their weights alone",
        "end-to-end error": _figure(actions.end_to_end),
        "end-to-end error on random inputs": _figure(actions.on_random_inputs),
        "end-to-end error of decoys": ", ".join(f"{k}: {v:.2g}" for k, v in actions.decoy_end_to_end.items()) or "-",
        "found by": actions.origin,
        **_theory(actions),
        "orbits of neurons": _orbits(actions),
        **{f"own action of {own.parameter} on {own.space}": str(own) for own in actions.hidden_by_streams},
        "K-error": "relative error of the layer under the action found, held-out probes (weights where there are none)",
        "relabelled": "the error in weights (by what is read of each neuron, and by probes where there are any), and "
        f"its least under {RELABELLINGS} random relabellings of what the layer reads; half of its square is evidence",
        "p": "the share of those relabellings, the action found among them, whose error is as small",
        "noise": "the K-error of a perfect action with as much noise in its weights",
        "why nothing stronger can be said": weakest(actions),
        "decoys": "the least error, and the largest share carried, of groups that the network has no reason to know",
        "matched": "share of neurons whose incoming weights have a cosine of at least 0.9 with their image",
        "carried": "share of what readers of the layer get (of its variance) that the matched neurons bring",
        "ν": "median of 1 - corr(z, σ(z))² over neurons: near 0 they act linearly and are not identifiable",
        **{f"Lie derivative, {rate.generator}": rate.text for rate in rates},
        "defect": "how far the action found is from a homomorphism",
    }
    return html(
        Page(
            title=f"How does {actions.group} act inside {source}?",
            lead=" ".join(filter(None, (actions.verdict.text, taken_out(actions), actions.note))),
            remarks=like_decoys(actions.layers, actions.verdict.by_outputs),
            ran=ran or {},
            results=Table(COLUMNS, actions_table(actions)),
            pictures=pictures,
            facts=facts,
            leading=False,
        )
    )


def _theory(actions: Actions) -> dict[str, str]:
    """What is known about such networks, and what it licenses here."""
    known = actions.identifiability
    if known is None:
        return {}
    status = "proven" if known.theorem.proven else "not proven"
    failing = [f"{c.space}: {c.name} fails for {c.failing}" for c in known.conditions if not c.holds]
    held = "; ".join(failing) or ("all hold" if known.conditions else "none to measure")
    return {
        "theory": f"{known.theorem.name}, {status} ({known.theorem.source})",
        "conditions of the theory": held,
        "these weights" if actions.reduction is None else "the weights that are left": str(known.standing),
        "what it licenses": known.licence,
        **({} if actions.adjunction is None else {"adjunction": str(actions.adjunction)}),
    }


def _orbits(actions: Actions) -> str:
    """Number of orbits of every hidden space that neurons are permuted on."""
    hidden = {layer.space: layer for layer in actions.layers if layer.kinds}
    found = {name: orbits for name, orbits in actions.orbits().items() if name in hidden}
    return ", ".join(f"{name}: {orbits.count} of {len(orbits.label)}" for name, orbits in found.items()) or "-"


def _filters(actions: Actions, shape: Sequence[int], generator: str) -> Picture | None:
    """The first layer's filters, where inputs are pictures and a weight reads them directly."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)) or not generator:
        return None
    first, weights = next((layer for layer in actions.layers if layer.kinds), None), actions.network
    if first is None or weights is None:
        return None
    element, size = actions.generators[generator].maps.get(first.space), math.prod(shape)
    for parameter in weights.graph.parameters:
        if parameter.spaces[:1] == (first.space,) and weights[parameter.name].shape[1:] == (first.size, size):
            if not isinstance(element, Monomial):
                return None
            figure = draw_filters(weights[parameter.name][0], shape, first.kinds[generator], element)
            return drawn(f"The {first.size} filters of the first layer, sorted and framed by category.", figure)
    return None


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3f}"
