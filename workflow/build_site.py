"""Build the site from the notebooks into _docs/: `make docs`. Nothing is run; the chapters hold their outputs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd

from bloodcell.core.config import home
from bloodcell.pretrained.model import PRETRAINED_FOLDER
from bloodcell.reporting.archive import results_root

HERE, NOTEBOOKS = Path(__file__).parent, home() / "nbs"
PACKAGES = ("core", "data", "models", "training", "evaluation", "plots", "papers", "pretrained", "reporting")
CONTENTS = {
    "The study": ["study/*"],
    "Results": ["docs/findings", "docs/appendix_papers", "docs/appendix_laboratories", "figures", "blood8"],
    "How to": ["docs/guide", "contributing", "changelog"],
    **{f"bloodcell.{name}": [f"{name}/*"] for name in PACKAGES},
    "Reference": ["cli", "api"],
}
PAGES = ("index", "findings", "appendix_papers", "appendix_laboratories")  # what they say counts, not how it was computed
LINKS = {  # from a notebook to a file beside `nbs/`: where the site has it
    r"\((?:\.\./)+CONTRIBUTING\.md\)": "({}contributing.md)",
    r"\((?:\.\./)+results\)": "({}figures.md)",
    r"\((?:\.\./)+results/": "({}results/",
}


def readable(notebook: nbformat.NotebookNode, depth: str) -> nbformat.NotebookNode:
    "A notebook for readers: without nbdev's marks and the cells that are for it alone; `depth` leads to the top."
    cells = []
    for cell in notebook.cells:
        cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip("\n")
        for link, place in LINKS.items():
            cell.source = re.sub(link, place.format(depth), cell.source)
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        cells += [cell] if cell.source else []
        for output in cell.get("outputs", []):
            if text := output.get("data", {}).get("text/markdown"):
                output["data"]["text/markdown"] = re.sub(r"\((?:\.\./)+results/", f"({depth}results/", text)
    notebook.cells = cells
    return notebook


def contents(source: Path) -> str:
    "The tables of contents, as cells of the first page."
    blocks = []
    for caption, patterns in CONTENTS.items():
        pages = [page for pattern in patterns for page in sorted(source.glob(f"{pattern}.*")) if page.suffix in (".ipynb", ".md")]
        lines = "\n".join(str(page.relative_to(source).with_suffix("")) for page in pages)
        blocks.append(f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n:hidden:\n\n{lines}\n```")
    return "\n\n".join(blocks)


def api(source: Path) -> str:
    "A page with every public function and class, from their docstrings."
    package = home() / "bloodcell"
    modules = sorted(".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("[a-z]*.py"))
    blocks = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: bloodcell.{name}\n   :members:\n```" for name in modules]
    about = "Shapes, units, ranges and errors stand in the docstrings; the chapter of the same name explains and tests each."
    return "\n\n".join(["# API", about, *blocks])


def outputs_page() -> str:
    "A page with every figure and table of the papers, and what regenerates it."
    table = pd.read_csv(results_root() / "tables/figures_and_tables.csv", keep_default_na=False)
    table["file"] = "`" + table["file"] + "`"
    rows = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False))
    about = "Which chapter makes each of them again, and what it was made with on the paper's data."
    head = "| " + " | ".join(table.columns) + " |\n|" + " --- |" * len(table.columns)
    return f"# Figures and tables of the papers\n\n{about}\n\n{head}\n{rows}\n"


def collect(source: Path) -> None:
    "Write everything that Sphinx reads into a folder."
    shutil.rmtree(source, ignore_errors=True)
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        place = source / path.relative_to(NOTEBOOKS)
        place.parent.mkdir(parents=True, exist_ok=True)
        notebook = readable(nbformat.read(path, as_version=4), "../" if place.parent != source else "")
        for cell in notebook.cells if path.stem in PAGES else ():
            cell.metadata["tags"] = ["remove-input"]
        nbformat.write(notebook, place)
    tables = shutil.ignore_patterns("*.csv*", "*.json", "*.html", "experiments", "tables")
    shutil.copytree(results_root(), source / "results", ignore=tables)
    card = (PRETRAINED_FOLDER / "blood8.md").read_text(encoding="utf-8")
    (source / "blood8.md").write_text(card.split("---\n", 2)[2], encoding="utf-8")  # without its front matter
    for name in ("CONTRIBUTING", "CHANGELOG"):
        shutil.copy(home() / f"{name}.md", source / f"{name.lower()}.md")
    (source / "api.md").write_text(api(source))
    (source / "figures.md").write_text(outputs_page())
    first = nbformat.read(source / "index.ipynb", as_version=4)
    first.cells.append(nbformat.v4.new_markdown_cell(contents(source), id="contents"))
    nbformat.write(first, source / "index.ipynb")


def build(folder: Path) -> int:
    "Build the site into a folder; a warning is an error."
    collect(folder / "source")
    options = ["-b", "html", "-W", "--keep-going", "-q", "-c", HERE / "site"]
    return subprocess.run([sys.executable, "-m", "sphinx", *options, folder / "source", folder / "html"]).returncode


if __name__ == "__main__":
    made = Path(sys.argv[1]) if len(sys.argv) > 1 else home() / "_docs"
    if failed := build(made):
        sys.exit(failed)
    print(f"bloodcell: {made}/html/index.html")
