"""Store the outputs of the synthetic study and of the library chapters in nbs/, and make README.md from the index.

`make notebooks` runs the study with the parameters that its chapters show. Figures are reduced to 256 colours so that the repository stays
small. `make results` runs the notebooks that show the stored results, writes their tables, README.md and results/report.html,
and runs the cells of the study's chapters that are tagged `stored`, which show the results on real images.
"""

import argparse
import ast
import base64
import io
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import papermill
from execnb.shell import CaptureShell
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor, ExecutePreprocessor
from nbformat.v4.rwbase import rejoin_lines
from PIL import Image

from bloodcell.core.config import home
from bloodcell.core.runs import run_folder
from bloodcell.reporting.report import WIDGET_MIME, list_chapters, write_report_page

NBS = home() / "nbs"
APPENDICES = ("docs/appendix_papers.ipynb", "docs/appendix_laboratories.ipynb")  # which write the tables
OVERVIEWS = ("docs/findings.ipynb", "index.ipynb")  # which read them


def small_png(text: str) -> str:
    "A base64 PNG with at most 256 colours."
    image = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    buffer = io.BytesIO()
    # Pillow's median cut merges rare colours, and so the points of several classes.
    image.quantize(256, Image.Quantize.MAXCOVERAGE).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def keep_readable(cell) -> list:
    "A cell's outputs without progress bars and TensorFlow's notes, figures made small, home's path left out."
    cell, _ = CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
    kept = [output for output in cell.outputs if output.get("name") != "stderr" and WIDGET_MIME not in output.get("data", {})]
    for output in kept:
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = small_png(data["image/png"])
        for kind in ("text/plain", "text/html"):
            if kind in data:
                data[kind] = re.sub(r" at 0x[0-9a-f]+>", ">", data[kind].replace(f"{home()}/", ""))
        if "text" in output:
            output["text"] = output["text"].replace(f"{home()}/", "")
    return kept


def visible_parameters(source: Path) -> dict:
    "The values in a chapter's `parameters` cell, by name."
    return {name: ast.literal_eval(found["default"]) for name, found in papermill.inspect_notebook(str(source)).items()}


def run_study() -> Path:
    "Run the study anew with the parameters that its chapters show, the same in all of them; return the folder of the run."
    first, *others = map(visible_parameters, list_chapters())
    assert all(shown == first for shown in others), "the chapters show different parameters"
    folder = run_folder(first["data"], first["profile"], first["seed"], first["out"])
    shutil.rmtree(folder, ignore_errors=True)
    options = [f"--{name}={value}" for name, value in first.items() if name != "fetch"]
    subprocess.run([sys.executable, "-c", "from bloodcell.cli import main; main()", "study", *options], check=True)
    return folder


def refresh_study(folder: Path) -> None:
    "Copy the outputs of a run's chapters into their sources, cell by cell, and say which parameters gave them."
    for source in list_chapters():
        notebook, shown = nbformat.read(source, as_version=4), visible_parameters(source)
        ran = nbformat.read(folder / "notebooks" / source.name, as_version=4)
        used = shown | {"out": str(folder)}
        used.pop("fetch")  # of no use where the data are drawn
        assert ran.metadata["papermill"]["parameters"] == used, f"{source.name} ran with other parameters than it shows"
        cells = [cell for cell in ran.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        for cell, done in zip(notebook.cells, cells, strict=True):
            assert cell.source == done.source, f"{source.name} has changed since the study ran: run it again"
            if cell.cell_type == "code":
                cell.outputs = keep_readable(done)
        notebook.metadata["bloodcell"] = {"parameters": shown}
        nbformat.write(notebook, source)


def execute(source: Path) -> None:
    "Run a notebook in place and store what a reader wants of its outputs."
    notebook = nbformat.read(source, as_version=4)
    ExecutePreprocessor(timeout=600, kernel_name="python3", store_widget_state=False).preprocess(notebook, {"metadata": {"path": str(NBS)}})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = keep_readable(cell)
    nbformat.write(notebook, source)


def refresh_stored(source: Path) -> None:
    "Run the cells of a chapter that are tagged `stored`: they need the stored results and nothing else of the chapter."
    notebook, shell = nbformat.read(source, as_version=4), CaptureShell(mpl_format="png")
    for cell in notebook.cells:
        if "stored" in cell.metadata.get("tags", []):
            cell.outputs = [nbformat.from_dict(output) for output in shell.run(cell.source)]
            if shell.exc:
                raise RuntimeError(f"{source.name}, cell {cell.id}: {shell.exc}")
            rejoin_lines(notebook)
            cell.outputs = keep_readable(cell)
    nbformat.write(notebook, source)


def refresh_results() -> None:
    "Run the notebooks and cells of the stored results; write README.md and results/report.html."
    for names in (APPENDICES, OVERVIEWS):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(execute, [NBS / name for name in names]))
    for source in list_chapters():
        refresh_stored(source)
    (home() / "README.md").write_text(readme(), encoding="utf-8")
    write_report_page(home() / "results/report.html", "results on real cells", [NBS / name for name in (OVERVIEWS[0], *APPENDICES)])


def readme() -> str:
    "README.md: the index as Markdown, its links made relative to the repository."
    exporter = MarkdownExporter(exclude_input=True)
    text, _ = exporter.from_filename(NBS / "index.ipynb")
    text = re.sub(r"\]\((?!https?:|\.\./|#)([^)]+)\)", r"](nbs/\1)", text)
    return re.sub(r"\n{3,}", "\n\n", text.replace("](../", "](")).strip() + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["results"], help="only the stored results; by default the study's chapters too")
    if not parser.parse_args().what:
        refresh_study(run_study())
        library = {path for path in NBS.rglob("*.ipynb") if path.parent.name not in ("study", ".ipynb_checkpoints")}
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(execute, sorted(library - {NBS / name for name in (*APPENDICES, *OVERVIEWS)})))
    refresh_results()
