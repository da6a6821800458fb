"""The primitives that rules are made of: what operations demand of the axes that meet in them."""

from __future__ import annotations
