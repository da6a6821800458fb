"""graphws in a notebook: HTML of objects, and progress.

Objects show themselves: the last line of a cell is enough (`graphws.shown`, `graphws.notebook.views`).  What takes long
takes a reporter:

>>> from graphws import Run                                                             # doctest: +SKIP
>>> from graphws.notebook import NotebookReporter                                       # doctest: +SKIP
>>> Run.load("runs/digits", reporter=NotebookReporter())                                # doctest: +SKIP
"""

from graphws.notebook.progress import NotebookReporter as NotebookReporter
