"""Models: what reads weights and answers with a vector or with weights."""

from graphws.models.dwsnet import DWSNet as DWSNet
from graphws.models.dwsnet import InvariantReadout as InvariantReadout
from graphws.models.flat import FlatMLP as FlatMLP
from graphws.models.flat import width_for as width_for
from graphws.models.graded import GradedNet as GradedNet
from graphws.models.points import Points as Points
from graphws.models.queries import Queries as Queries
from graphws.models.readout import perceptron as perceptron
from graphws.models.statistics import WeightStatistics as WeightStatistics
from graphws.models.trees import BoostedTrees as BoostedTrees
from graphws.models.unchanged import Unchanged as Unchanged
