"""The kinds of ``zoo.source`` that graphws has itself."""

from __future__ import annotations

from graphws.spec.classifiers import ClassifiersSource
from graphws.spec.kinds import Kinds
from graphws.spec.sources import PICTURE_SOURCES, SineSource
from graphws.spec.zoo_source import ZooSource

SOURCES = Kinds("graphws.sources", ZooSource, *PICTURE_SOURCES.own, SineSource, ClassifiersSource)
