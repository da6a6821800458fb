"""Tries again what docs/trust.md claims, and writes the figures into that page.

    python -m scripts.trust PART [--number N] [--jobs J]

Each part is a file here: what it tries, how it counts, and what would be a fault.
"""
