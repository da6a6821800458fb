"""Checks for your own layers and graphs: the ones that this project's tests use."""

from graphws.testing.commutant import commutant as commutant
from graphws.testing.equivariance import Equivariance as Equivariance
from graphws.testing.equivariance import act as act
from graphws.testing.equivariance import check_equivariance as check_equivariance
from graphws.testing.equivariance import random_features as random_features
from graphws.testing.equivariance import random_weights as random_weights
from graphws.testing.layer_tests import GradedLayerTests as GradedLayerTests
from graphws.testing.layer_tests import LayerTests as LayerTests
from graphws.testing.layer_tests import LinearLayerTests as LinearLayerTests
from graphws.testing.states import random_state as random_state
