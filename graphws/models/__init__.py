"""Models: what reads weights and answers with a vector or with weights."""

from graphws.models.dwsnet import DWSNet as DWSNet
from graphws.models.dwsnet import InvariantReadout as InvariantReadout
from graphws.models.flat import FlatMLP as FlatMLP
from graphws.models.flat import width_for as width_for
from graphws.models.graded import GradedNet as GradedNet
from graphws.models.neuron_gnn import NeuronGNN as NeuronGNN
from graphws.models.neuron_graph import NeuronGraph as NeuronGraph
from graphws.models.points import Points as Points
from graphws.models.published import PublishedDWSNet as PublishedDWSNet
from graphws.models.queries import Queries as Queries
from graphws.models.readout import perceptron as perceptron
from graphws.models.represented import Represented as Represented
from graphws.models.row_tokens import RowTokens as RowTokens
from graphws.models.row_transformer import RowTransformer as RowTransformer
from graphws.models.rows import RowEncoder as RowEncoder
from graphws.models.statistics import WeightStatistics as WeightStatistics
from graphws.models.trees import BoostedTrees as BoostedTrees
from graphws.models.unchanged import Unchanged as Unchanged
