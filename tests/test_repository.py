"""The rules of the house: chapters, exports and README fit together."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "workflow"))
LIBRARY = sorted((REPOSITORY / "nbs").glob("[0-9]*.ipynb"))
STUDY = sorted((REPOSITORY / "nbs/study").glob("*.ipynb"))


@pytest.mark.parametrize("path", STUDY, ids=lambda path: path.stem)
def test_a_study_chapter_opens_anywhere(path):
    notebook = nbformat.read(path, as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert set(papermill.inspect_notebook(str(path))) == {"data", "profile", "seed", "seeds", "out"}
    assert f"blob/main/nbs/study/{path.name})" in notebook.cells[0].source
    assert 'if "google.colab" in sys.modules or' in notebook.cells[2].source
    assert not any(cell.source.startswith("#| export") for cell in notebook.cells)
    assert path.stem in (REPOSITORY / "workflow/Snakefile").read_text()


def test_a_lower_chapter_imports_no_higher_one():
    numbers = {}
    for path in LIBRARY:
        if "#| default_exp" in path.read_text():
            numbers[path.stem[3:]] = int(path.stem[:2])
    assert len(numbers) == len(LIBRARY) - 1  # the findings export nothing
    for name, number in numbers.items():
        source = (REPOSITORY / "bloodcell" / f"{name}.py").read_text()
        used = set(re.findall(r"^from (?:bloodcell)?\.(\w+) import", source, re.M))
        for line in re.findall(r"^from (?:bloodcell|\.) import (.+)$", source, re.M):
            used |= {part.strip() for part in line.split(",")}
        higher = {other for other in used if numbers.get(other, -1) >= number}
        assert not higher, f"{name} imports {higher}"


ODD_WORDS = re.compile(r"set aside|dealt out|deals? out|\bhonest\b|\bclues?\b|colour floor|by heart|spoke for|paper [KSJA]\b"
                       r"|in the place of|keeps? silent|moves the bars|asked about|(?:one|a) (?:row|line|column|table|panel) an? \w", re.I)


@pytest.mark.parametrize("path", [*LIBRARY, *STUDY], ids=lambda path: path.stem)
def test_terms_are_those_of_the_field(path):
    notebook = nbformat.read(path, as_version=4)
    found = [match[0] for cell in notebook.cells for match in ODD_WORDS.finditer(cell.source)]
    assert not found, f"{path.name} says {', '.join(sorted(set(found)))}"


def test_study_chapters_hold_no_logic():
    for path in STUDY:
        source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        assert not re.search(r"^\s*(def|class) ", source, re.M), f"{path.name} defines something: move it into the library"
        assert not re.search(r"\b_\w+\(", source), f"{path.name} calls a private helper"


def test_the_export_is_clean(tmp_path):
    for name in ("settings.ini", "pyproject.toml", "nbs", "bloodcell"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / "README.md").write_text("")
    subprocess.run([Path(sys.executable).parent / "nbdev_export"], cwd=tmp_path, check=True, capture_output=True)
    for path in sorted((REPOSITORY / "bloodcell").glob("*.py")):
        assert (tmp_path / "bloodcell" / path.name).read_text() == path.read_text(), f"{path.name} is not what its notebook exports"


def test_the_readme_is_made_from_the_index():
    import refresh

    assert (REPOSITORY / "README.md").read_text() == refresh.readme()


def test_make_results_computes_the_readme_and_the_tables_again(tmp_path):
    for name in ("nbs", "results", "workflow"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("tables", "figures", "report.html"))
    subprocess.run([sys.executable, "workflow/refresh.py", "results"], cwd=tmp_path, check=True, capture_output=True,
                   env=os.environ | {"BLOODCELL_HOME": str(tmp_path), "BLOODCELL_DATA": str(tmp_path / "no-images")})
    assert (tmp_path / "README.md").read_text() == (REPOSITORY / "README.md").read_text()
    tables = sorted(path.name for path in (REPOSITORY / "results/tables").glob("*.csv"))
    assert tables == sorted(path.name for path in (tmp_path / "results/tables").glob("*.csv"))
    for name in tables:
        assert (tmp_path / "results/tables" / name).read_bytes() == (REPOSITORY / "results/tables" / name).read_bytes(), name
    for source in sorted((REPOSITORY / "nbs/study").glob("*.ipynb")):  # their boxes on real cells
        assert nbformat.read(tmp_path / "nbs/study" / source.name, as_version=4) == nbformat.read(source, as_version=4), source.name
    assert (tmp_path / "results/report.html").stat().st_size < 4_000_000


def prose(text):
    "Markdown without code, pictures, tables and the addresses of links."
    rules = {r"(?s)```.*?```": "", r"!\[[^\]]*\]\([^)]*\)": "", r"\[([^\]]*)\]\([^)]*\)": r"\1", r"(?m)^\|.*$": "", r"`[^`]*`": "code"}
    for pattern, words in rules.items():
        text = re.sub(pattern, words, text)
    return text


def sentences(text):
    for paragraph in re.split(r"\n\s*\n|\n(?=[-*>#]|\d+\. )", prose(text)):
        yield from re.split(r"(?<=[.!?:])\s+(?=[A-Z*\"'(])", paragraph.strip("-> \n").replace("\n", " "))


def introduction(path):
    "The prose of a chapter before its first heading of the second order."
    cells = nbformat.read(path, as_version=4).cells
    until = next((n for n, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")), len(cells))
    return "\n\n".join(cell.source for cell in cells[:until] if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", [REPOSITORY / "README.md", *LIBRARY, *STUDY], ids=lambda path: path.stem)
def test_what_is_read_first_is_easy_to_read(path):
    text = path.read_text() if path.suffix == ".md" else introduction(path)
    assert not [sentence for sentence in sentences(text) if len(sentence.split()) > 30]


def test_the_readme_is_short():
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.split()) < 900 and sum(line.startswith("|") for line in text.splitlines()) <= 20


def test_words_are_spelt_rightly(tmp_path):
    for path in [*LIBRARY, *STUDY, *(REPOSITORY / "nbs").glob("[a-z]*.ipynb")]:
        (tmp_path / f"{path.stem}.txt").write_text("\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells))
    written = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests", "workflow")]
    done = subprocess.run([Path(sys.executable).parent / "codespell", *written, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_stored_outputs_are_free_of_errors_and_of_one_machine():
    size = 0
    for path in [*LIBRARY, *STUDY]:
        notebook = nbformat.read(path, as_version=4)
        text = path.read_text()
        size += len(text)
        assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", [])), path
        for cell in notebook.cells:
            shown = {output.output_type for output in cell.get("outputs", []) if "image/png" in output.get("data", {})}
            assert len(shown) < 2, f"{path.name} shows a figure twice: end its cell with a semicolon"
        assert str(REPOSITORY) not in text and not re.search(r"/(home|root|Users)/\w", text), path
        assert "widgets" not in notebook.metadata, path  # the state of progress bars, which no reader sees
    assert size < 10_000_000


def test_the_findings_show_every_figure_and_no_table_without_rows():
    for cell in nbformat.read(REPOSITORY / "nbs/52_findings.ipynb", as_version=4).cells:
        shown = [output.data for output in cell.get("outputs", []) if "data" in output]
        assert "save_figure(" not in cell.source or any("image/png" in data for data in shown), cell.source
        assert all(data["text/html"].count("<tr") > 1 for data in shown if "text/html" in data), cell.source
