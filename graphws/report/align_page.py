"""The report of an alignment: the loss on the line between two networks, or that of the mean of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graphws.align import Barrier, Comparison, Merging
from graphws.report.page import Page, Table, html
from graphws.report.svg import drawn
from graphws.report.theme import FAINT, GREEN, RED


def comparison_page(found: Comparison, first: str, second: str, ran: Mapping[str, str] | None = None) -> str:
    """Two networks, as one self-contained HTML document.

    Args:
        found: What was found.
        first: Name of the network that was met.
        second: Name of the network that was moved.
        ran: What ran, and on what.
    """
    before, after = found.agreement
    rows = [
        [name, f"{found.alignment.before[name]:.3f}", f"{found.alignment.after[name]:.3f}"]
        for name in found.alignment.before
    ]
    lead = agreement_in_words(before, after)
    pictures = []
    if found.before is not None and found.after is not None:
        lead = (
            f"The barrier between both networks is {found.before.height:.4g} as they came and "
            f"{found.after.height:.4g} once they are aligned ({found.loss}). {lead}"
        )
        caption = (
            "Loss on the straight line between the networks. The barrier is the largest excess over the dotted line, "
            "which joins their own losses; the merged network stands half way."
        )
        pictures.append(drawn(caption, draw_barriers(found.before, found.after, found.loss)))
    changed = "not measured: there were no data" if math.isnan(found.error) else f"{found.error:.1e}"
    return html(
        Page(
            title=f"Is {second} the same network as {first}, up to symmetry?",
            ran=ran or {},
            lead=lead,
            results=Table(
                ("parameter", "agreement before", "after"), [["all", f"{before:.3f}", f"{after:.3f}"], *rows]
            ),
            pictures=pictures,
            facts={
                "matched by": found.alignment.method,
                **_tried(found, "halfway"),
                f"change of the outputs of {second}": changed,
                "agreement": "1 - ‖A - B‖² / (‖A‖² + ‖B‖²): 1 for equal parameters, about 0 for unrelated ones",
            },
        )
    )


def merging_page(found: Merging, names: Sequence[str], ran: Mapping[str, str] | None = None) -> str:
    """Many networks, as one self-contained HTML document.

    Args:
        found: What was found.
        names: Of the networks.
        ran: What ran, and on what.
    """
    record = found.alignment.record
    lead = (
        f"{len(names)} networks came to one order in {len(record) - 1} rounds; the mean closeness of two rose from "
        f"{record[0]:.4g} to {record[-1]:.4g}."
    )
    rows: list[list[str]] = []
    facts = {"networks": ", ".join(names)}
    if found.before is not None and found.after is not None and found.error is not None:
        own = sum(found.each) / len(found.each)
        lead = (
            f"The mean of the aligned networks has a loss of {found.after:.4g} ({found.loss}); as they came, "
            f"{found.before:.4g}; the networks themselves, {own:.4g} on average. {lead}"
        )
        rows = [["mean, aligned", f"{found.after:.4g}"], ["mean, as they came", f"{found.before:.4g}"]]
        rows += [[name, f"{loss:.4g}"] for name, loss in zip(names, found.each, strict=True)]
        facts["largest change of a network's outputs"] = f"{found.error:.1e}"
    facts |= _tried(found, "of the mean")
    picture = drawn("Mean closeness of two networks, round by round; it never falls.", draw_record(record))
    return html(
        Page(
            title=f"Are {len(names)} networks one, up to symmetry?",
            ran=ran or {},
            lead=lead,
            results=Table(("network", found.loss or "loss"), rows),
            pictures=[picture],
            facts=facts,
        )
    )


def agreement_in_words(before: float, after: float) -> str:
    """What aligning did to the agreement of the parameters, in a sentence; to three decimals, as tables have it."""
    start, end = f"{before:.3f}", f"{after:.3f}"
    if start == end:
        return f"Aligning leaves the agreement of the parameters at {end}."
    word = "raises" if after > before else "lowers"
    return f"Aligning {word} the agreement of the parameters from {start} to {end}."


def _tried(found: Comparison | Merging, where: str) -> dict[str, str]:
    """What was tried and kept, and what is said of the merged network."""
    candidates = found.alignment.candidates
    said = {}
    if len(candidates) > 1:
        figures = [
            f"{candidate}: " + (f"distance {candidate.distance:.4f}" if candidate.objective is None else
                                f"{found.loss} {where} {candidate.objective:.4g}")
            for candidate in candidates
        ]  # fmt: skip
        said = {"kept": str(candidates[found.alignment.kept]), "tried": "; ".join(figures)}
    return said | ({"merged network": "; ".join(found.notes)} if found.notes else {})


def draw_barriers(before: Barrier, after: Barrier, loss: str) -> Figure:
    """Losses along both lines, and the straight line between the ends."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(before.positions, before.losses, "o-", color=RED, mfc="none", ms=8, label="as they came")
    axes.plot(after.positions, after.losses, "s-", color=GREEN, ms=4, label="aligned")
    axes.plot([0, 1], [after.losses[0], after.losses[-1]], ":", color=FAINT, label="no barrier")
    axes.set(xlabel="from the first network (0) to the second (1)", ylabel=loss)
    axes.margins(y=0.08)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def draw_record(record: Sequence[float]) -> Figure:
    """Closeness by round."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(record)), record, "o-", color=GREEN, ms=4)
    axes.set(xlabel="round", ylabel="mean closeness of two")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
