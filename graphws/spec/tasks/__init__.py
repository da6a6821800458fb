"""``task``: what is asked of the model; a module a task, and the table of all."""

from graphws.spec.kinds import Kinds
from graphws.spec.tasks.classification import ClassificationTask as ClassificationTask
from graphws.spec.tasks.edits import EDITS as EDITS
from graphws.spec.tasks.edits import EditSection as EditSection
from graphws.spec.tasks.functional import FunctionalTask as FunctionalTask
from graphws.spec.tasks.mask import MaskTask as MaskTask
from graphws.spec.tasks.regression import RegressionTask as RegressionTask
from graphws.spec.tasks.representation import RepresentationTask as RepresentationTask
from graphws.spec.tasks.section import TaskSection as TaskSection
from graphws.spec.tasks.targets import TARGETS as TARGETS
from graphws.spec.tasks.targets import AdaptTarget as AdaptTarget
from graphws.spec.tasks.targets import EditTarget as EditTarget
from graphws.spec.tasks.targets import TargetSection as TargetSection
from graphws.spec.tasks.weights import WeightsTask as WeightsTask

TASKS = Kinds(
    "graphws.tasks",
    TaskSection,
    ClassificationTask,
    RegressionTask,
    RepresentationTask,
    WeightsTask,
    FunctionalTask,
    MaskTask,
)
