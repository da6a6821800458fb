"""Which layers of a latent action do no better than decoys, in words.

A figure of a layer is *like its decoys'* where

* its K-error is no less than the least of a decoy (on weights alone its weight error, where decoys act on them);
* a relabelling of what it reads (of what it writes, where outputs say how it acts) has as small an error in weights;
* its matched neurons carry no more of what readers get than under a decoy.

Exact layers (`EXACT`) need no decoy beside them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from graphws.actions.measures.layer_errors import LayerFigures
from graphws.actions.verdict.verdict import EXACT


def like_decoys(layers: Sequence[LayerFigures], by_outputs: Collection[str] = ()) -> list[str]:
    """A sentence for each layer of which a figure is no better than its decoys'.

    Args:
        layers: The layers.
        by_outputs: Those that outputs say how to act on, and not what they read.
    """
    told = [(x.space, list(_figures(x, x.space in by_outputs))) for x in layers if x.k_error > EXACT]
    return [f"{space} does no better than decoys: {'; '.join(figures)}." for space, figures in told if figures]


def _figures(layer: LayerFigures, backward: bool) -> Iterator[str]:
    rival, evidence = layer.best_rival, layer.backward if backward else layer.relabelled
    if rival is not None:
        error = layer.weight_error if rival.weights else layer.k_error
        if error >= rival.k_error:
            yield f"K-error {error:.3g} beside {rival.k_error:.3g}"
    if evidence is not None and evidence.decoys and evidence.error >= evidence.least:
        what = "writes" if backward else "reads"
        yield f"error in weights {evidence.error:.2f} beside {evidence.least:.2f} with what it {what} relabelled"
    if rival is not None and layer.kinds and layer.carried <= rival.carried:
        yield f"carried {layer.carried:.0%} beside {rival.carried:.0%}"
