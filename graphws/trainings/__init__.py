"""Experiments of paper I, section 6: train a network on pictures with a symmetry, and find the action inside it.

A spec's section ``experiment`` says all of it (`graphws.spec.SymmetryExperiment`).  `train` trains, `find` looks for
the action, `run` does both in a run folder and writes the report.

>>> from graphws.spec import PictureNetwork, SymmetryExperiment, SymmetryTraining, PictureSection
>>> experiment = SymmetryExperiment(
...     kind="symmetry",
...     pictures=PictureSection(size=8, crop=1.0),
...     network=PictureNetwork(hidden=(8,), activation="tanh"),
...     train=SymmetryTraining(steps=4, batch_size=16),
... )
>>> pictures = load_pictures_of(experiment)
>>> trained = train(experiment, pictures)
>>> print(find(trained, pictures).verdict.outcome)
no action found
"""

from graphws.trainings.analysis import SymmetryResults as SymmetryResults
from graphws.trainings.analysis import find as find
from graphws.trainings.analysis import find_heads as find_heads
from graphws.trainings.analysis import score as score
from graphws.trainings.design import Design as Design
from graphws.trainings.design import design_of as design_of
from graphws.trainings.heads import HeadMatch as HeadMatch
from graphws.trainings.job import run as run
from graphws.trainings.pictures import load_pictures_of as load_pictures_of
from graphws.trainings.training import Trained as Trained
from graphws.trainings.training import train as train
from graphws.trainings.training_report import figures_of as figures_of
from graphws.zoo.sources.labelled_pictures import Pictures as Pictures
