"""The kinds of ``model``."""

from __future__ import annotations

from graphws.spec.gnn import GnnModel
from graphws.spec.kinds import Kinds
from graphws.spec.models import DwsnetModel, MlpModel, ModelSection
from graphws.spec.published_model import PublishedModel
from graphws.spec.queries import QueriesModel
from graphws.spec.rows import RowsModel
from graphws.spec.transformer import TransformerModel
from graphws.spec.trees import TreesModel
from graphws.spec.unchanged import UnchangedModel

MODELS = Kinds(
    "graphws.models",
    ModelSection,
    DwsnetModel,
    PublishedModel,
    MlpModel,
    TreesModel,
    QueriesModel,
    RowsModel,
    TransformerModel,
    GnnModel,
    UnchangedModel,
)
