"""Where the signals come from that a zoo's networks are fitted to: a function a source, each returning `Samples`.

>>> samples = load_digits(limit=100)
>>> len(samples), tuple(samples.values.shape), sorted(samples.table)
(100, (100, 64, 1), ['label'])

In a spec a source is a section that builds these samples (`graphws.spec.SourceSection`); other packages add theirs.
"""

from __future__ import annotations

from graphws.zoo.sources.cifar10 import load_cifar10 as load_cifar10
from graphws.zoo.sources.digits import load_digits as load_digits
from graphws.zoo.sources.idx import load_idx as load_idx
from graphws.zoo.sources.idx import read_idx as read_idx
from graphws.zoo.sources.limit import Limit as Limit
from graphws.zoo.sources.pictures import load_pictures as load_pictures
from graphws.zoo.sources.samples import Samples as Samples
from graphws.zoo.sources.samples import picture_grid as picture_grid
from graphws.zoo.sources.sine import load_sine as load_sine
