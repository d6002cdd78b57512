"""A whole study, stopped and killed on its way: it ends as if nothing had happened, and a second call has nothing to do."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import BLOODCELL, REPOSITORY, run_bloodcell

from bloodcell.core.config import get_profile
from bloodcell.core.runs import open_run
from bloodcell.data.dataset import prepare_dataset
from bloodcell.papers.coverage import PAPER_OUTPUTS
from bloodcell.papers.registry import get_recipe
from bloodcell.training.experiment import run_experiment
from bloodcell.training.outcomes import AT_CHANCE, load_outcomes
from bloodcell.training.recipes import scale_recipe


def start_and_stop(folder, when, wait, how):
    "Start a smoke study and send its whole group the signal `how` some seconds after it prints `when`; the exit code and what was printed."
    process = subprocess.Popen(
        [str(BLOODCELL), "study", "--profile", "smoke", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # a background job is deaf to Ctrl-C
    printed = ""
    for line in process.stdout:
        printed += line
        if when in line:
            time.sleep(wait)
            os.killpg(process.pid, how)
            break
    printed += process.stdout.read()
    return process.wait(timeout=120), printed


@pytest.fixture(scope="module")
def smoke_study(tmp_path_factory):
    "A smoke study stopped by Ctrl-C in a training, killed in another, and run to its end: its folder, and what the three calls printed."
    folder = tmp_path_factory.mktemp("smoke") / "a run"  # with a space
    first = start_and_stop(folder, "sravani2023_hybrid_network", 2, signal.SIGINT)
    second = start_and_stop(folder, "khalil2022_scratch", 2, signal.SIGKILL)
    done = run_bloodcell("study", "--profile", "smoke", "--out", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, first, second, done


def test_a_stopped_and_killed_study_ends_with_the_predictions_of_undisturbed_experiments(smoke_study, tmp_path):
    folder, (stopped, words), (killed, _), done = smoke_study
    assert stopped != 0 and killed == -9 and "Traceback" not in words.splitlines()[-1]
    assert done.stdout.strip().splitlines()[-1] == f"bloodcell: done. Open {folder / 'report.html'}"
    assert "colour_baseline" not in done.stdout  # a finished experiment is not run again
    dataset = prepare_dataset(open_run("synthetic", "smoke", 0, str(tmp_path / "run")))
    for name in ("sravani2023_hybrid_network", "khalil2022_scratch", "colour_baseline"):  # in mid training, killed, done before
        undisturbed = run_experiment(scale_recipe(get_recipe(name), get_profile("smoke")), dataset, 0, tmp_path / "run")
        for file in ("predictions.csv", "history.csv"):
            whole, broken = (place / "experiments" / undisturbed.key / file for place in (tmp_path / "run", folder))
            assert whole.exists() == broken.exists() and (not whole.exists() or whole.read_bytes() == broken.read_bytes())


def test_a_study_leaves_everything_where_it_belongs(smoke_study):
    folder, *stopped, done = smoke_study
    earlier = [printed for _, printed in stopped]
    assert {"manifest.json", "plan.json", "report.html", "figures", "tables", "experiments", "notebooks", "logs"} <= set(os.listdir(folder))
    planned = json.loads((folder / "plan.json").read_text())["batches"]["all"]["experiments"]
    records = json.loads((folder / "manifest.json").read_text())["records"]
    assert {f"experiments/{key}" for key in planned} | {path.stem for path in (folder / "notebooks").glob("*.ipynb")} <= set(records)
    page = (folder / "report.html").read_text()
    assert "synthetic" in page and "https://colab" not in page and page.count("<details") > 20 and "object at 0x" not in page
    counted = re.findall(r"^\[ ?(\d+)/(\d+)\] (\S+)", done.stdout, re.M)
    assert [int(number) for number, _, _ in counted] == list(range(1, len(counted) + 1)) and counted[-1][:2] == (str(len(counted)),) * 2
    begun = {name for printed in (*earlier, done.stdout) for name in re.findall(r"^\[.*?\] (\S+/\S+)", printed, re.M)}
    assert begun == set(planned) and [name for *_, name in counted].count("chapter") == 16 and counted[-1][2] == "report"
    claims = pd.read_csv(folder / "tables/claims.csv")
    assert claims["verdict"].notna().all() and len(claims) >= 70


def test_a_study_leaves_every_figure_and_table_of_the_papers(smoke_study):
    untrained = [one for one in load_outcomes(smoke_study[0]) if one.status == AT_CHANCE]  # they have no matrix to show
    without = {name for one in untrained for name in with_substituted(one.recipe)}
    missing = [output.file for output in PAPER_OUTPUTS if not set(output.recipes) & without and not list(smoke_study[0].glob(output.file))]
    assert not missing
    # Two short epochs on top of random weights may leave every backbone at chance.
    assert len({one.recipe.name for one in untrained if "random" not in one.weights or not one.recipe.backbones}) < 4


def with_substituted(recipe):
    "The name of the recipe, and those of the recipes that it is a substitute for: without weights the substitute is all that runs."
    return [recipe.name, *(with_substituted(get_recipe(recipe.paper.substitute_for)) if recipe.paper.substitute_for else [])]


def test_a_second_study_computes_nothing(smoke_study):
    folder = smoke_study[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.csv")}
    again = run_bloodcell("study", "--profile", "smoke", "--out", folder)
    assert again.returncode == 0 and not re.search(r"^\[", again.stdout, re.M)
    changed = [path.name for path, when in before.items() if path.stat().st_mtime_ns != when]
    assert not changed


def test_a_changed_page_has_the_report_written_again_and_nothing_else(smoke_study):
    page = REPOSITORY / "bloodcell/templates/report.html"
    before = page.read_bytes()
    try:
        page.write_bytes(before + b"<!-- another page -->\n")
        again = run_bloodcell("study", "--profile", "smoke", "--out", smoke_study[0])
    finally:
        page.write_bytes(before)
    assert again.returncode == 0 and re.findall(r"^\[.*?\] (\w+)", again.stdout, re.M) == ["report"]


def test_another_augmentation_runs_the_experiments_that_use_it_and_no_other(smoke_study, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(smoke_study[0], folder)
    program = (
        "from dataclasses import replace; from bloodcell.papers import registry; from bloodcell.cli import app\n"
        "from bloodcell.training.recipes import Augmentation\n"
        "changed = replace(registry.HYBRID_NETWORK, augmentation=Augmentation(dict(rotation=90)))\n"
        "for name, recipe in registry.RECIPES.items():\n"
        "    members = tuple(changed if one == registry.HYBRID_NETWORK else one for one in recipe.members)\n"
        "    registry.RECIPES[name] = changed if name == changed.name else replace(recipe, members=members)\n"
        f"app(['experiments', '--profile', 'smoke', '--out', {str(folder)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\[.*?\] (\w+)", done.stdout, re.M) == [
        "sravani2023_hybrid_network",
        *(f"sravani2023_hybrid_{name}" for name in ("knn", "svm", "random_forest")),
    ]
