"""Training, evaluation and run folders.

Data flow one way: a zoo becomes `Data`; a spec becomes a `Comparison` of contenders; each contender is trained in
`Trial`s, which Lightning carries out; the best epochs are scored into `Results`; the run folder keeps all of it and
shows it as a report.
"""

from __future__ import annotations
