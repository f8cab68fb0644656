"""Runs the notebooks from top to bottom and stores them: `make notebooks`."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
# A cell with this tag shows photos that are not ours to give away.
PHOTO = "photo"
LEFT_OUT = (
    "The picture is not stored: the licence of its photo is unknown. Run the cell."
)


def execute(path: Path) -> nbformat.NotebookNode:
    """Runs a notebook in a process of its own, as Jupyter does.

    Args:
        path: of the notebook, in this folder.

    Returns:
        The notebook with its new outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    how = {"timeout": 900, "record_timing": False, "coalesce_streams": True}
    NotebookClient(notebook, resources=where, **how).execute()
    return notebook


def storable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without pictures of photos, and without what changes by itself."""
    for cell in notebook.cells:
        if PHOTO in cell.metadata.get("tags", ()):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output["data"] = {"text/plain": LEFT_OUT}
    language = {"name": "python"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": language}
    return notebook


def main() -> None:
    """Executes and stores the notebooks that the command line names, or all."""
    for path in map(Path, sys.argv[1:] or sorted(HERE.glob("*.ipynb"))):
        nbformat.write(storable(execute(path)), path)
        print(f"{path.name}: {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
