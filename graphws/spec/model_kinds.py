"""The kinds of ``model``."""

from __future__ import annotations

from graphws.spec.kinds import Kinds
from graphws.spec.models import DwsnetModel, MlpModel, ModelSection
from graphws.spec.queries import QueriesModel
from graphws.spec.trees import TreesModel
from graphws.spec.unchanged import UnchangedModel

MODELS = Kinds("graphws.models", ModelSection, DwsnetModel, MlpModel, TreesModel, QueriesModel, UnchangedModel)
