"""Zoos of classifiers: small networks that are trained to name the classes of pictures, thousands at once.

fitting = ClassifierFitting(pictures, architecture, ClassifierOptions(number=200, epochs=5.0), SplitOptions())
zoo = fit_all("zoos/classifiers", fitting)
"""

from graphws.zoo.classifiers.architecture import ClassifierArchitecture as ClassifierArchitecture
from graphws.zoo.classifiers.architecture import Convolutions as Convolutions
from graphws.zoo.classifiers.fitting import ClassifierFitting as ClassifierFitting
from graphws.zoo.classifiers.training import ClassifierOptions as ClassifierOptions
