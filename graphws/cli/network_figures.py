"""A converted network as figures, for ``--json``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphws.checkpoints.conversion import Conversion


def conversion_figures(found: Conversion) -> dict[str, Any]:
    """The verdict with its figures, the rows that ``graphws inspect`` prints, and the graph itself."""
    from graphws.graph.summary import summary_table

    measured, runs = found.verification, found.runs
    return {
        "verdict": found.verdict,
        "verified": found.verified,
        "error": None if measured is None else measured.error,
        "control": None if measured is None else measured.control,
        "reason": found.reason,
        "coverage": found.coverage,
        "runs": None if runs is None else {"error": runs.error, "reason": runs.reason, "batch": runs.batch},
        "outputs": None if found.outputs is None else asdict(found.outputs),
        "actions": [{**asdict(check), "action": str(check.action)} for check in found.actions],
        "notes": list(found.notes),
        "summary": asdict(summary_table(found.graph)),
        "graph": json.loads(found.graph.to_json()),
    }
