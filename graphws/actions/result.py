"""What an analysis says: the action on every space, its figures beside those of decoys, and a verdict in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from graphws.actions.figures import LayerFigures
from graphws.actions.verdict import Verdict
from graphws.graph import GroupElement


@dataclass(frozen=True, eq=False)
class Actions:
    """How a group on data acts inside a network.

    Attributes:
        group: Name of the group.
        words: Its elements as products of generators.
        table: Its multiplication table.
        elements: For each element g, ρ(g) on all spaces: ``elements[g].act(weights)`` is close to the weights.
        layers: Figures, layer by layer; the last is the output's.
        end_to_end: Relative error of the function; None without probes.
        origin: Which start and refinement gave the answer.
        probes: Number of probes; 0 for weights alone.
        decoy_end_to_end: The decoys' end-to-end errors.
        verdict: The conclusion.
    """

    group: str
    words: tuple[str, ...]
    table: Tensor
    elements: tuple[GroupElement, ...]
    layers: tuple[LayerFigures, ...]
    end_to_end: float | None
    origin: str
    probes: int
    verdict: Verdict
    decoy_end_to_end: Mapping[str, float] = field(default_factory=dict)

    def layer(self, space: str) -> LayerFigures:
        """The figures of one space."""
        return next(layer for layer in self.layers if layer.space == space)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verdict": self.verdict.text,
            "outcome": self.verdict.outcome,
            "group": self.group,
            "elements": list(self.words),
            "end_to_end": _number(self.end_to_end),
            "decoy_end_to_end": {name: _number(value) for name, value in self.decoy_end_to_end.items()},
            "probes": self.probes,
            "origin": self.origin,
            "layers": [self._layer(layer) for layer in self.layers],
        }

    def _layer(self, layer: LayerFigures) -> dict[str, Any]:
        rival = layer.best_rival
        return {
            "space": layer.space,
            "size": layer.size,
            "action": layer.action,
            "outcome": self.verdict.layers.get(layer.space, ""),
            "k_error": _number(layer.k_error),
            "weight_error": _number(layer.weight_error),
            "cumulative_error": _number(layer.cumulative),
            "gl_error": _number(layer.gl_error),
            "gl_defect": _number(layer.gl_defect),
            "nu": _number(layer.nu),
            "nu_low": _number(layer.nu_low),
            "defect": _number(layer.defect),
            "matched": _number(layer.matched),
            "unexplained": _number(layer.unexplained),
            "unmatched": _number(layer.unmatched),
            "negated_copies": _number(layer.negated),
            "categories": {key: dict(counts) for key, counts in layer.categories.items()},
            "decoy_k_error": _number(rival.k_error) if rival else None,
            "decoy_matched": _number(rival.matched) if rival else None,
            "decoys": {
                name: {"k_error": _number(r.k_error), "matched": _number(r.matched)} for name, r in layer.rivals.items()
            },
        }

    def to_json(self) -> str:
        """JSON text, indented; numbers that are not finite become null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __str__(self) -> str:
        return self.verdict.text


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
