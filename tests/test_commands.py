"""Commands: their arguments, messages and the files that they write."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import nbformat
import pandas as pd
import pytest
import typer
from conftest import BLOODCELL, REPOSITORY, call_bloodcell, run_bloodcell
from PIL import Image
from typer.testing import CliRunner

from bloodcell.cli import app
from bloodcell.core.config import BloodcellError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["study", "--data", "pcb"], "unknown data set"),
        (["study", "--profile", "fast"], "unknown profile 'fast': choose one of smoke, quick, long, full"),
        (["study", "--seed", "-1"], "the seed must be"),
        (["study", "--seeds", "-1"], "the number of seeds must be"),
        (["chapter", "nbs/study/99_none.ipynb"], "there is no notebook"),
        (["experiment", "sravani2023_ccn"], "unknown recipe"),
        (["experiment", "sravani2023_cnn", "--protocol", "jarjees2022"], "has no protocol 'jarjees2022'"),
        (["experiment", "sravani2023_cnn", "--protocol", "fold-last"], "has no protocol 'fold-last' on synthetic: choose one of"),
        (["report"], "no chapter has run"),
    ],
)
def test_a_wrong_request_is_answered_in_one_line(tmp_path, arguments, message):
    done = call_bloodcell(*arguments, "--out", tmp_path / "run")
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr + done.stdout
    assert "report" in arguments or not (tmp_path / "run").exists()  # a request that cannot be meant leaves nothing behind


def test_a_missing_data_root_and_an_unwritable_folder_are_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    missing = call_bloodcell("study", "--data", "pbc", "--out", tmp_path / "run", BLOODCELL_DATA=tmp_path / "nothing")
    assert missing.returncode == 1 and str(tmp_path / "nothing/pbc") in missing.stderr and "BLOODCELL_DATA" in missing.stderr
    blocked = call_bloodcell("study", "--out", tmp_path / "file/run")
    assert blocked.returncode == 1 and str(tmp_path / "file/run") in blocked.stderr


def test_results_about_own_images_go_below_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bloodcell.pretrained.evaluate.evaluate_pretrained", "bloodcell.pretrained.model.load_pretrained"):
        monkeypatch.setattr(name, mock.Mock())
    page, run = (mock.Mock(side_effect=BloodcellError) for _ in range(2))
    monkeypatch.setattr("bloodcell.pretrained.evaluate.write_evaluation", page)
    monkeypatch.setattr("bloodcell.core.runs.open_run", run)
    CliRunner().invoke(app, ["evaluate", "blood8", "slides/lab"])
    CliRunner().invoke(app, ["preset", "--data", "slides/lab", "--profile", "smoke"])
    assert Path(page.call_args.args[1]).absolute() == tmp_path / "runs/evaluation-lab"
    assert Path(run.call_args.args[3]).absolute() == tmp_path / "runs/pretrained-lab"
    audited = CliRunner().invoke(app, ["audit", "synthetic"])
    assert audited.exit_code == 0 and (tmp_path / "runs/audit-synthetic/DATASHEET.md").is_file(), audited.output


def test_a_refused_data_set_leaves_its_folder_free(tmp_path):
    for name in ("first", "second"):
        for label in ("lymphocyte", "neutrophil"):  # one image of each class is too few
            (tmp_path / name / label).mkdir(parents=True)
            Image.new("RGB", (32, 32), "purple").save(tmp_path / name / label / "1.png")
        refused = call_bloodcell("study", "--data", tmp_path / name, "--profile", "smoke", "--out", tmp_path / "run")
        assert refused.returncode == 1 and "holds a run of" not in refused.stderr, refused.stderr


def test_every_command_has_a_help_text():
    told = call_bloodcell("--help").stdout
    for command in typer.main.get_command(app).commands:
        explained = CliRunner().invoke(app, [command, "--help"])
        assert re.search(rf"\b{command}\b", told) and explained.exit_code == 0 and "Usage" in explained.output
    assert CliRunner().invoke(app, ["--version"]).output.startswith("bloodcell ")


def test_stored_results_are_compared_and_reported_without_images(tmp_path):
    kept = REPOSITORY / "results/kaggle-long-s0/experiments/sravani2023_cnn"
    compared = call_bloodcell("compare", kept, "--out", tmp_path, BLOODCELL_DATA=tmp_path / "no-images")
    assert compared.returncode == 0, compared.stderr
    assert len(pd.read_csv(tmp_path / "compare.csv")) == 3 and (tmp_path / "compare.png").is_file()
    reported = call_bloodcell("checklist", kept / "group-disjoint", "--out", tmp_path / "checklist.csv")
    items = pd.read_csv(tmp_path / "checklist.csv")
    assert reported.returncode == 0 and set(items["checklist"]) == {"CLAIM 2024", "TRIPOD+AI", "REFORMS"}
    assert items["answer"].str.startswith("Open: ").eq(~items["answered"]).all()
    members = call_bloodcell("checklist", REPOSITORY / "results/lisc-long-s0/experiments/sravani2023_hybrid_knn")
    assert members.returncode == 0 and "members: sravani2023_hybrid_network." in members.stdout, members.stderr
    for command in ("compare", "checklist"):
        wrong = call_bloodcell(command, tmp_path)
        assert wrong.returncode == 1 and "holds no finished experiment" in wrong.stderr


@pytest.mark.parametrize("cluster", [False, True])
def test_snakemake_plans_one_batch_here_and_one_job_per_experiment_on_a_cluster(tmp_path, cluster):
    options = ["--executor", "local"] if cluster else []  # any executor that is named gets one experiment a job
    done = call_bloodcell("study", "--profile", "smoke", "--cores", "1", "--out", tmp_path / "run", "--", *options, "--dry-run")
    log = (tmp_path / "run/logs/snakemake.log").read_text()
    assert done.returncode == 0, done.stderr
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", done.stdout + log, re.M))
    batches = json.loads((tmp_path / "run/plan.json").read_text())["batches"]
    assert counts["batch"] == str(len(batches)) and counts["chapter"] == "16"
    assert all(len(batch["experiments"]) == 1 for batch in batches.values()) == cluster == (len(batches) > 1)


def test_snakemake_runs_from_a_path_with_a_space_and_marks_no_batch_that_lacks_an_experiment(tmp_path):
    checkout, folder = tmp_path / "a checkout", tmp_path / "a run"
    for name in ("nbs/study", "workflow"):
        shutil.copytree(REPOSITORY / name, checkout / name)
    (checkout / ".venv").symlink_to(Path(sys.executable).parent.parent)
    program = "from bloodcell.cli import main; main()"
    mark, record = "batches/colour_baseline/group-disjoint/s0.done", folder / "experiments/colour_baseline/group-disjoint/s0/record.json"
    arguments = ["study", "--profile", "smoke", "--out", folder, "--", "--executor", "local", mark]

    def lines():
        done = subprocess.run(
            [checkout / ".venv/bin/python", "-c", program, *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"BLOODCELL_HOME": str(checkout), "PYTHONPATH": str(REPOSITORY)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^\[.*", done.stdout, re.M)

    assert len(lines()) == 1 and record.is_file() and (folder / mark).is_file() and lines() == []
    record.unlink()
    assert len(lines()) == 1 and record.is_file()


def test_a_failed_chapter_leaves_its_notebook_and_its_name_in_the_last_line(tmp_path):
    home = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "nbs/study", home / "nbs/study")
    shutil.copytree(REPOSITORY / "workflow", home / "workflow")
    chapter = home / "nbs/study/01_data.ipynb"
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells.insert(5, nbformat.v4.new_code_cell("1 / 0"))
    nbformat.write(notebook, chapter)
    done = run_bloodcell("chapter", "01_data", "--profile", "smoke", "--out", tmp_path / "run", BLOODCELL_HOME=home)
    failed = tmp_path / "run/notebooks/01_data.failed.ipynb"
    assert done.returncode == 1
    assert "01_data" in done.stderr and str(failed) in done.stderr.strip().splitlines()[-1]
    assert "ZeroDivisionError" in failed.read_text()


def test_a_chapter_alone_runs_the_experiments_it_shows(tmp_path):
    import papermill

    source = REPOSITORY / "nbs/study/11_results.ipynb"
    parameters = {"out": str(tmp_path / "run"), "profile": "smoke", "seeds": 2}
    papermill.execute_notebook(
        str(source), str(tmp_path / "out.ipynb"), parameters, kernel_name="python3", cwd=str(tmp_path), progress_bar=False
    )
    table = pd.read_csv(tmp_path / "run/tables/results_by_seed.csv")
    assert table[["recipe", "seed"]].to_numpy().tolist() == [["colour_baseline", 0], ["colour_baseline", 1]]


WHEEL = """
import bloodcell
from bloodcell.core.config import home
from bloodcell.core.runs import describe_environment, write_html
from bloodcell.data.catalog import CATALOG, read_originals
from bloodcell.models.backbones import build_head
from bloodcell.pretrained.model import PRETRAINED_FOLDER, load_pretrained
from bloodcell.pretrained.facts import draw_test_cells

assert load_pretrained("blood8").answer(draw_test_cells(2))["probabilities"].shape == (2, 8)
pages = write_html("page.html", "base.html", title="a page").is_file()
web = sorted(path.name for path in (PRETRAINED_FOLDER.parent / "web").iterdir())
print(bloodcell.__file__, home(), len(read_originals(CATALOG["kaggle"])), describe_environment()["git_commit"], pages, *web)
"""


def test_a_wheel_works_in_another_folder(tmp_path):
    python = Path(BLOODCELL).parent / "python"
    pip = [python, "-m", "pip", "--quiet"]
    shutil.copytree(REPOSITORY / "bloodcell", tmp_path / "source/bloodcell")  # the build writes beside its source
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-MODELS"):
        shutil.copy(REPOSITORY / name, tmp_path / "source")
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, tmp_path / "source"], check=True)
    wheel = next(tmp_path.glob("bloodcell-*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)  # a repository that happens to surround it
    done = subprocess.run(
        [python, "-c", WHEEL], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    )
    assert done.returncode == 0, done.stderr
    file, place, originals, commit, page, *web = done.stdout.split()
    assert [file, place] == [str(tmp_path / "site/bloodcell/__init__.py"), str(tmp_path)]
    assert [originals, commit, page] == ["12444", "None", "True"]
    assert web == sorted(path.name for path in (REPOSITORY / "bloodcell/pretrained/web").iterdir())


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ([], 0, "make study"),
        (["help"], 0, "make bench"),
        (["-n", "study"], 0, "bloodcell study"),
        (["-n", "test"], 0, "pytest"),
        (["-n", "lab"], 0, "jupyter lab"),
        (["-n", "bench"], 0, "workflow/bench.py"),
        (["-n", "docs"], 0, "build_site.py"),
        (["-n", "notebooks"], 0, "refresh.py"),
        (["-n", "web"], 0, "export --to web"),
        (["-n", "lock"], 0, "uv pip compile"),
        (["-n", "clean"], 0, "rm -rf"),
        (["-n", "study", "PROFLE=quick"], 2, "PROFLE"),
    ],
)
def test_the_targets_of_the_makefile(arguments, code, words):
    done = subprocess.run(["make", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == code and words in done.stdout + done.stderr


def test_the_benchmarks_run(tmp_path, monkeypatch):
    sys.path.insert(0, str(REPOSITORY / "workflow"))
    import bench

    monkeypatch.setenv("BLOODCELL_DATA", str(tmp_path))  # without real images
    for name, value in {"SECONDS": 0, "IMAGES": 80, "ROWS": 8, "EPOCHS": 2, "SIZE": 32, "BATCH": 8}.items():
        monkeypatch.setattr(bench, name, value)
    preset = bench.load_pretrained(bench.DEFAULT_MODEL)
    monkeypatch.setattr(bench.export, "EXPORT_FORMATS", {"onnx": bench.export.EXPORT_FORMATS["onnx"]})
    cells = bench.draw_test_cells(2)
    monkeypatch.setattr(bench, "draw_test_cells", lambda count: cells)
    monkeypatch.setattr(bench, "exported", lambda to: (preset, preset.answer, 1.0))  # its chapter exports it
    training = {"what": "training", "ours": 1.0, "other": 1.0, "other_is": "", "ratio": 1.0}
    monkeypatch.setattr(bench, "bench_training", lambda: training)  # two trainings take half a minute
    monkeypatch.setattr(bench, "write_table", lambda table, path: table)
    rows = bench.run_benchmarks()
    assert len(rows) == 8
    assert rows["ratio"].gt(0).all()
