"""The rules, one file a family of operations; importing this package fills the table."""

from __future__ import annotations

from graphws_converters.rules import attention as attention
from graphws_converters.rules import convolutions as convolutions
from graphws_converters.rules import creation as creation
from graphws_converters.rules import indexing as indexing
from graphws_converters.rules import norms as norms
from graphws_converters.rules import pointwise as pointwise
from graphws_converters.rules import products as products
from graphws_converters.rules import recurrent as recurrent
from graphws_converters.rules import reductions as reductions
from graphws_converters.rules import sorting as sorting
from graphws_converters.rules import spatial as spatial
from graphws_converters.rules import spectra as spectra
from graphws_converters.rules import strided as strided
from graphws_converters.rules import views as views
from graphws_converters.rules import writes as writes
from graphws_converters.rules.registry import RULES as RULES
