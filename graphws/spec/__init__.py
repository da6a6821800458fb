"""Specs: what the networks are, the model, the task, the data and the training, as YAML.

    spec = load_spec("digits-inr", ["train.epochs=3"])

A spec is read with its locations (`reader`), laid over what it extends (`inheritance`), validated (`schema`) and
checked across sections (`checks`); all problems are reported at once, each with its line.  A section that comes in
several kinds builds what it stands for (`kinds`).  Reading specs needs no torch; building does.
"""

from graphws.spec.classifiers import ClassifiersSource as ClassifiersSource
from graphws.spec.classifiers import ConvolutionSection as ConvolutionSection
from graphws.spec.dump import dump_spec as dump_spec
from graphws.spec.experiment import AttentionSection as AttentionSection
from graphws.spec.experiment import PictureNetwork as PictureNetwork
from graphws.spec.experiment import PictureSection as PictureSection
from graphws.spec.experiment import SymmetryExperiment as SymmetryExperiment
from graphws.spec.experiment import SymmetryTraining as SymmetryTraining
from graphws.spec.gnn import GnnModel as GnnModel
from graphws.spec.heads import EquivariantHead as EquivariantHead
from graphws.spec.heads import HeadSection as HeadSection
from graphws.spec.heads import InvariantHead as InvariantHead
from graphws.spec.inheritance import INHERITED as INHERITED
from graphws.spec.inputs import GraphInput as GraphInput
from graphws.spec.inputs import InputSection as InputSection
from graphws.spec.inputs import MlpInput as MlpInput
from graphws.spec.inputs import ZooInput as ZooInput
from graphws.spec.kinds import Kinds as Kinds
from graphws.spec.layer_messages import MessageSection as MessageSection
from graphws.spec.load import load_spec as load_spec
from graphws.spec.load import parse_spec as parse_spec
from graphws.spec.load import points as points
from graphws.spec.models import Access as Access
from graphws.spec.models import Blocks as Blocks
from graphws.spec.models import DwsnetModel as DwsnetModel
from graphws.spec.models import MlpModel as MlpModel
from graphws.spec.models import ModelSection as ModelSection
from graphws.spec.models import Scaling as Scaling
from graphws.spec.networks import SpaceSketch as SpaceSketch
from graphws.spec.preparation import Align as Align
from graphws.spec.preparation import Augment as Augment
from graphws.spec.preparation import Preprocess as Preprocess
from graphws.spec.problems import InvalidSpec as InvalidSpec
from graphws.spec.problems import Location as Location
from graphws.spec.problems import Problem as Problem
from graphws.spec.published import PublishedSection as PublishedSection
from graphws.spec.published_model import PublishedModel as PublishedModel
from graphws.spec.queries import QueriesModel as QueriesModel
from graphws.spec.readiness import lacks_for_training as lacks_for_training
from graphws.spec.rows import RowsModel as RowsModel
from graphws.spec.schema import KINDS as KINDS
from graphws.spec.schema import Baseline as Baseline
from graphws.spec.schema import Spec as Spec
from graphws.spec.schema import json_schema as json_schema
from graphws.spec.section import Section as Section
from graphws.spec.shipped import find_shipped as find_shipped
from graphws.spec.shipped import shipped_folder as shipped_folder
from graphws.spec.shipped import shipped_specs as shipped_specs
from graphws.spec.sources import Cifar10Source as Cifar10Source
from graphws.spec.sources import DigitsSource as DigitsSource
from graphws.spec.sources import IdxSource as IdxSource
from graphws.spec.sources import PicturesSource as PicturesSource
from graphws.spec.sources import SineSource as SineSource
from graphws.spec.sources import SourceSection as SourceSection
from graphws.spec.sweep import SweepSection as SweepSection
from graphws.spec.tasks import ClassificationTask as ClassificationTask
from graphws.spec.tasks import EditSection as EditSection
from graphws.spec.tasks import FunctionalTask as FunctionalTask
from graphws.spec.tasks import MaskTask as MaskTask
from graphws.spec.tasks import RegressionTask as RegressionTask
from graphws.spec.tasks import RepresentationTask as RepresentationTask
from graphws.spec.tasks import TargetSection as TargetSection
from graphws.spec.tasks import TaskSection as TaskSection
from graphws.spec.tasks import WeightsTask as WeightsTask
from graphws.spec.train import Optimizer as Optimizer
from graphws.spec.train import Train as Train
from graphws.spec.transformer import TransformerModel as TransformerModel
from graphws.spec.trees import TreesModel as TreesModel
from graphws.spec.unchanged import UnchangedModel as UnchangedModel
from graphws.spec.violations import Violation as Violation
from graphws.spec.zoo import FitSection as FitSection
from graphws.spec.zoo import NetworkSection as NetworkSection
from graphws.spec.zoo import SplitSection as SplitSection
from graphws.spec.zoo import ZooSection as ZooSection
from graphws.spec.zoo_source import ZooSource as ZooSource
