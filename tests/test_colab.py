"""A chapter opened alone on Colab: its set-up cell installs the package and leaves what is installed as it is, and every cell runs.

It changes the environment it is tried in, so it is run only where BLOODCELL_COLAB names the Python of an environment made for it, with the
packages of `.github/workflows/colab.yml`.
"""

import os
import subprocess

import nbformat
import pytest
from conftest import REPOSITORY

PYTHON = os.environ.get("BLOODCELL_COLAB")
CHAPTERS = ("01_data", "04_sravani_cnn", "06_khalil_vgg16", "12_claims")
RUN = """
import nbclient, nbformat, sys
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


def versions():
    listed = subprocess.run([PYTHON, "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True, check=True).stdout
    return dict(line.split("==") for line in listed.splitlines() if "==" in line)


@pytest.mark.skipif(not PYTHON, reason="needs an environment like Colab's: set BLOODCELL_COLAB to its Python")
def test_a_chapter_runs_alone_on_colab(tmp_path):
    (tmp_path / "packages/google/colab").mkdir(parents=True)
    (tmp_path / "packages/google/colab/__init__.py").write_text("")
    variables = {
        "PYTHONPATH": str(tmp_path / "packages"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_VALUE_0": "https://github.com/bloodcell/bloodcell",
        "GIT_CONFIG_KEY_0": f"url.file://{REPOSITORY}.insteadOf",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BLOODCELL_") and name != "PYTHONPATH"}
    subprocess.run([PYTHON, "-m", "pip", "uninstall", "-qy", "bloodcell"], check=True)  # an earlier test's
    before = versions()
    for name in CHAPTERS:
        notebook = nbformat.read(REPOSITORY / f"nbs/study/{name}.ipynb", as_version=4)
        notebook.cells.insert(0, nbformat.v4.new_code_cell("import google.colab"))
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = cell.source.replace('profile = "quick"', 'profile = "smoke"')
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
        done = subprocess.run([PYTHON, "-c", RUN, f"{name}.ipynb"], cwd=tmp_path, env=kept | variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        text = (tmp_path / f"{name}.ipynb").read_text()
        assert "Installing bloodcell" in text and "What we found" in text
    after = versions()
    assert {name: after.get(name) for name in before} == before
    assert (tmp_path / "bloodcell-study/runs/synthetic-smoke-s0/manifest.json").is_file()
