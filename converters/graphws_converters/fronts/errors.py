"""What a front end raises where it cannot follow a module."""

from __future__ import annotations


class TraceFailure(Exception):
    """Why a front end gave up; never shown to users by itself, another front end may do better."""
