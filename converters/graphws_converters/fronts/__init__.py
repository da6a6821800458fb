"""Front ends: ways to see what a module computes, each giving a `graphws_converters.analysis.ir.Program`."""

from __future__ import annotations

from graphws_converters.fronts.choose import Front as Front
from graphws_converters.fronts.choose import trace as trace
