"""Representations drawn in a plane: t-SNE, the same points for the same representations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 2000
"""Networks that are drawn; of more, so many evenly spread ones."""
FEWEST = 4
"""Of fewer networks there is no picture."""


def plane(embeddings: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Points (points, 2) of networks, and which networks they are.

    What is not finite is left out.  Fewer than `FEWEST` networks give no points.

    Args:
        embeddings: One row a network.
    """
    from sklearn.manifold import TSNE

    which = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    if len(which) > MOST:
        which = which[np.linspace(0, len(which) - 1, MOST).round().astype(int)]
    if len(which) < FEWEST:
        return np.zeros((0, 2)), which[:0]
    rows = embeddings[which].astype(np.float64)
    rows = (rows - rows.mean(0)) / max(float(rows.std()), 1e-12)
    if rows.shape[1] <= 2 or not rows.any():
        return np.pad(rows[:, :2], ((0, 0), (0, max(0, 2 - rows.shape[1])))), which
    perplexity = min(30.0, (len(rows) - 1) / 3)
    found = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=0).fit_transform(rows)
    return found.astype(np.float64), which
