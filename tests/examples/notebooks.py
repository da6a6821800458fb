"""Notebooks of the examples, executed.

As a program it executes the notebooks that it is given, or all, and stores them with their outputs:
``python tests/examples/notebooks.py [examples/NN_NAME.ipynb ...]``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT = 300


def executed(path: Path, folder: Path) -> Any:
    """The notebook after a run of all its cells in a folder; an error of a cell is raised.

    Args:
        path: Of the notebook, which stays as it is.
        folder: Where it runs, and where everything goes that it or its kernel writes.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    work, home = folder / "work", folder / "home"
    for made in (work, home):
        made.mkdir(parents=True, exist_ok=True)
    kept = dict(os.environ)
    os.environ |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",  # `python` in a cell is this one
        "IPYTHONDIR": str(home),
        "JUPYTER_RUNTIME_DIR": str(home),
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTER_DATA_DIR": str(home),
        "COLUMNS": "110",
    }
    try:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(work)}},
        )
        return client.execute()
    finally:
        os.environ.clear()
        os.environ.update(kept)


def stored(notebook: Any) -> Any:
    """A notebook as it is stored: nothing in it of the machine or of the hour, no warnings, cells numbered."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _empty(output)]
    return notebook


def _empty(output: Any) -> bool:
    """Whether an output is what a finished bar leaves behind, or of the moment."""
    bar = output.output_type == "display_data" and not output.data.get("text/html", "x")
    return bar or output.get("name") == "stderr"


def main(paths: list[Path]) -> None:
    """Executes and stores."""
    import nbformat

    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(stored(executed(path, Path(folder))), path)


if __name__ == "__main__":
    main([Path(text) for text in sys.argv[1:]] or sorted(EXAMPLES.glob("*.ipynb")))
