"""Tasks: what is to be read from the weights, how wrong an answer is, and how good a model is.

A task gives each network a loss (so that batches split over processes average correctly), names the validation metric
by which a model is chosen, and turns outputs into predictions.

=================  ==========================  ===========================  =====================
task               target                      loss                         chosen by
=================  ==========================  ===========================  =====================
`Classification`   class index                 cross-entropy                accuracy (highest)
`Regression`       one or more real numbers    squared error, standardised  mse, mae (lowest),
                                                                            r2, kendall (highest)
`Denoising`        the weights without noise   squared error, standardised  mse (lowest)
`Representation`   none; a probe's properties  NT-Xent of random views      probe_mse (lowest)
`Adaptation`       a network that names the    cross-entropy of that        accuracy (highest)
                   classes of other pictures   network
`Editing`          a network that draws an     squared error of what it     mse (lowest)
                   edited picture              draws
`Masking`          which weights may go        squared error of what is     cost (lowest)
                                               computed + kept share
=================  ==========================  ===========================  =====================

A section of a spec builds one (`graphws.spec.TaskSection`); other packages add tasks by entry points.
"""

from graphws.tasks.adaptation import Adaptation as Adaptation
from graphws.tasks.answers import Answers as Answers
from graphws.tasks.classification import Classification as Classification
from graphws.tasks.classification import class_targets as class_targets
from graphws.tasks.classification import several_classes as several_classes
from graphws.tasks.denoising import Denoising as Denoising
from graphws.tasks.editing import Editing as Editing
from graphws.tasks.function_denoising import FunctionDenoising as FunctionDenoising
from graphws.tasks.functional import ChangedNetworks as ChangedNetworks
from graphws.tasks.kendall import KendallTau as KendallTau
from graphws.tasks.mask import Masking as Masking
from graphws.tasks.regression import Regression as Regression
from graphws.tasks.representation import Representation as Representation
from graphws.tasks.representation import probed_targets as probed_targets
from graphws.tasks.task import Figures as Figures
from graphws.tasks.task import Metric as Metric
from graphws.tasks.task import Task as Task
from graphws.tasks.task import TaskData as TaskData
from graphws.tasks.task import Trivial as Trivial
