"""Experiments of paper I, section 6: train a network on pictures with a symmetry, and find the action inside it.

A spec's section ``experiment`` says all of it (`graphws.spec.SymmetryExperiment`).  `train` trains, `find` looks for
the action, `run` does both in a run folder and writes the report.

>>> from graphws.spec import PictureNetwork, SymmetryExperiment, SymmetryTraining, ViewSection
>>> experiment = SymmetryExperiment(
...     kind="symmetry",
...     view=ViewSection(size=8, crop=1.0),
...     network=PictureNetwork(hidden=(8,), activation="tanh"),
...     train=SymmetryTraining(steps=4, batch_size=16),
... )
>>> pictures = load_pictures_of(experiment)
>>> trained = train(experiment, pictures)
>>> print(find(trained, pictures).verdict.outcome)
no action found
"""

from graphws.runtime.symmetry.analysis import SymmetryResults as SymmetryResults
from graphws.runtime.symmetry.analysis import find as find
from graphws.runtime.symmetry.analysis import find_heads as find_heads
from graphws.runtime.symmetry.analysis import score as score
from graphws.runtime.symmetry.heads import HeadMatch as HeadMatch
from graphws.runtime.symmetry.job import run as run
from graphws.runtime.symmetry.pictures import Pictures as Pictures
from graphws.runtime.symmetry.pictures import load_pictures_of as load_pictures_of
from graphws.runtime.symmetry.present import figures_of as figures_of
from graphws.runtime.symmetry.setting import Setting as Setting
from graphws.runtime.symmetry.setting import settle as settle
from graphws.runtime.symmetry.training import Trained as Trained
from graphws.runtime.symmetry.training import train as train
