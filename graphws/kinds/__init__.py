"""Kinds of operations: one closed table of what a network's steps read, compute and do to axes."""

from graphws.kinds.attributes import Attribute as Attribute
from graphws.kinds.kind import Axes as Axes
from graphws.kinds.kind import Kind as Kind
from graphws.kinds.kind import Operand as Operand
from graphws.kinds.parts import Part as Part
from graphws.kinds.table import kind as kind
from graphws.kinds.table import names as names
from graphws.kinds.table import spelled as spelled
