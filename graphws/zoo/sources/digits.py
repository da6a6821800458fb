"""scikit-learn's bundled digits: 1,797 handwritten digits of 8×8 pixels, no download needed."""

from __future__ import annotations

import numpy as np
import torch

from graphws.zoo.sources.limit import Limit
from graphws.zoo.sources.samples import Samples, picture_grid


def load_digits(*, limit: int | Limit | None = None) -> Samples:
    """The optical digits of Alpaydin and Kaynak (UCI, 1998) as bundled by scikit-learn; grey levels 0 to 16 over 16."""
    from sklearn import datasets  # most of a second, which the other sources need not wait for

    bunch = datasets.load_digits()
    values = torch.from_numpy(np.asarray(bunch.data, dtype=np.float32) / 16).unsqueeze(2)
    return Samples(
        "digits",
        picture_grid(8, 8),
        values,
        shape=(8, 8),
        table={"label": np.asarray(bunch.target, dtype=np.int64)},
        classes=tuple(map(str, range(10))),
    ).limited(limit)
