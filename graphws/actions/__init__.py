"""Latent group actions: how a symmetry of the data acts inside a trained network (paper I).

from graphws import convert
from graphws.actions import find_actions
print(find_actions(convert("net.pt", activation="tanh"), "mirror", (3, 14, 14), data=pictures).verdict.text)
"""

from graphws.actions.analysis.extraction import find_actions as find_actions
from graphws.actions.analysis.result import Actions as Actions
from graphws.actions.groups.naming import named_symmetry as named_symmetry
from graphws.actions.groups.symmetry import DataSymmetry as DataSymmetry
from graphws.actions.groups.symmetry import close as close
from graphws.actions.intertwiners.group import Intertwiners as Intertwiners
from graphws.actions.intertwiners.measured import check_group as check_group
from graphws.actions.intertwiners.measured import measured_group as measured_group
from graphws.actions.measures.layer_errors import LayerFigures as LayerFigures
from graphws.actions.submodels.submodel import Model as Model
from graphws.actions.submodels.submodel import Submodel as Submodel
from graphws.actions.submodels.submodel import check_submodel as check_submodel
from graphws.actions.verdict.verdict import Verdict as Verdict
