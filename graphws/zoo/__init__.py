"""Zoos: data sets of small networks, fitted, packed, stored and augmented.

>>> from graphws.zoo import Architecture, FitOptions, fit_zoo, load_digits
>>> import tempfile
>>> samples = load_digits(limit=40)
>>> with tempfile.TemporaryDirectory() as folder:
...     zoo = fit_zoo(
...         f"{folder}/digits", samples, Architecture((2, 8, 8, 1), omega=5.0), FitOptions(steps=5, lr=0.02)
...     )
...     weights, rows = zoo.batch(zoo.split("train")[:4])
...     len(zoo), weights.batch, rows["label"].shape
(40, 4, (4,))
"""

from graphws.zoo.architecture import Architecture as Architecture
from graphws.zoo.augmentations import augmentation as augmentation
from graphws.zoo.augmentations import transform_signal as transform_signal
from graphws.zoo.fit import FitOptions as FitOptions
from graphws.zoo.fit import Fitted as Fitted
from graphws.zoo.fit import fit_networks as fit_networks
from graphws.zoo.fit_job import Progress as Progress
from graphws.zoo.fit_job import fit_zoo as fit_zoo
from graphws.zoo.pack import pack as pack
from graphws.zoo.sources import Limit as Limit
from graphws.zoo.sources import Samples as Samples
from graphws.zoo.sources import load_cifar10 as load_cifar10
from graphws.zoo.sources import load_digits as load_digits
from graphws.zoo.sources import load_idx as load_idx
from graphws.zoo.sources import load_pictures as load_pictures
from graphws.zoo.sources import load_sine as load_sine
from graphws.zoo.sources import picture_grid as picture_grid
from graphws.zoo.split import SplitOptions as SplitOptions
from graphws.zoo.split import split_samples as split_samples
from graphws.zoo.split_table import SplitTable as SplitTable
from graphws.zoo.statistics import Statistics as Statistics
from graphws.zoo.statistics import orbit_statistics as orbit_statistics
from graphws.zoo.store import Zoo as Zoo
from graphws.zoo.unpack import unpack as unpack
