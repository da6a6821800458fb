"""``task``: what is asked of the model; a module a task, and the table of all."""

from graphws.spec.kinds import Kinds
from graphws.spec.tasks.classification import ClassificationTask as ClassificationTask
from graphws.spec.tasks.regression import RegressionTask as RegressionTask
from graphws.spec.tasks.representation import RepresentationTask as RepresentationTask
from graphws.spec.tasks.section import TaskSection as TaskSection
from graphws.spec.tasks.weights import WeightsTask as WeightsTask

TASKS = Kinds("graphws.tasks", TaskSection, ClassificationTask, RegressionTask, WeightsTask, RepresentationTask)
