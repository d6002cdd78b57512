"""Whole commands: what a person types, what is printed, what is left behind."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import pytest
from conftest import BLOODCELL, REPOSITORY, run_bloodcell


@pytest.mark.parametrize("arguments, message", [
    (["study", "--data", "pcb"], "unknown data set"),
    (["study", "--profile", "fast"], "unknown profile 'fast': choose one of smoke, quick, long, full"),
    (["study", "--seed", "-1"], "the seed must be"),
    (["chapter", "nbs/study/99_none.ipynb"], "there is no notebook"),
    (["report"], "no chapter has run"),
])
def test_a_wrong_request_is_answered_in_one_line(tmp_path, arguments, message):
    done = run_bloodcell(*arguments, "--out", tmp_path / "run")
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr + done.stdout


def test_a_missing_data_root_and_an_unwritable_folder_are_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    missing = run_bloodcell("study", "--data", "pbc", "--out", tmp_path / "run", BLOODCELL_DATA=tmp_path / "nothing")
    assert missing.returncode == 1 and str(tmp_path / "nothing/pbc") in missing.stderr and "BLOODCELL_DATA" in missing.stderr
    blocked = run_bloodcell("study", "--out", tmp_path / "file/run")
    assert blocked.returncode == 1 and str(tmp_path / "file/run") in blocked.stderr


def tables(folder):
    "The bytes of all tables, predictions and histories of a run."
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for kind in ("tables", "predictions", "models") for path in sorted((folder / kind).glob("*.csv"))}


def start_and_interrupt(folder, when):
    "Start a study and press Ctrl-C a little after it prints `when`; the exit code."
    process = subprocess.Popen([str(BLOODCELL), "study", "--profile", "smoke", "--out", str(folder)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a background job is deaf to Ctrl-C
    printed = ""
    for line in process.stdout:
        printed += line
        if when in line:
            time.sleep(6)
            os.killpg(process.pid, signal.SIGINT)
            break
    printed += process.stdout.read()
    return process.wait(timeout=120), printed


def test_an_interrupted_study_goes_on_and_ends_with_the_same_tables(tmp_path):
    whole, broken, log = tmp_path / "whole", tmp_path / "broken", tmp_path / "whole.log"
    with log.open("w") as output:  # beside the one that is disturbed: both use one cache
        undisturbed = subprocess.Popen([str(BLOODCELL), "study", "--profile", "smoke", "--out", str(whole)], stdout=output, stderr=output)
    for when in ("bloodcell: 01_data", "bloodcell: 04_small_cnn"):
        code, printed = start_and_interrupt(broken, when)
        assert code != 0 and not (broken / "report.html").exists()
        assert "Traceback" not in printed.splitlines()[-1]
    done = run_bloodcell("study", "--profile", "smoke", "--out", broken)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bloodcell: 01_data" not in done.stdout  # finished chapters are not run again
    assert undisturbed.wait(timeout=1800) == 0, log.read_text()
    assert log.read_text().strip().splitlines()[-1] == f"bloodcell: done. Open {whole / 'report.html'}"
    assert tables(whole) == tables(broken) and len(tables(whole)) > 10
    assert {"manifest.json", "report.html", "figures", "tables", "predictions", "models", "notebooks"} <= set(os.listdir(broken))
    page = (whole / "report.html").read_text()
    assert "synthetic" in page and "https://colab" not in page and page.count("<details") > 20


def test_a_failed_chapter_leaves_its_notebook_and_its_name_in_the_last_line(tmp_path):
    home = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "nbs/study", home / "nbs/study")
    shutil.copytree(REPOSITORY / "workflow", home / "workflow")
    chapter = home / "nbs/study/01_data.ipynb"
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells.insert(5, nbformat.v4.new_code_cell("1 / 0"))
    nbformat.write(notebook, chapter)
    done = run_bloodcell("study", "--profile", "smoke", "--out", tmp_path / "run", BLOODCELL_HOME=home)
    failed = tmp_path / "run/notebooks/01_data.failed.ipynb"
    assert done.returncode == 1
    assert "01_data" in done.stderr.strip().splitlines()[-1] and str(failed) in done.stderr.strip().splitlines()[-1]
    assert "ZeroDivisionError" in failed.read_text()


def test_a_wheel_works_in_another_folder(tmp_path):
    python = Path(BLOODCELL).parent / "python"
    pip = [python, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, REPOSITORY], check=True)
    wheel = next(tmp_path.glob("bloodcell-*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    program = ("import bloodcell; from bloodcell.config import home; from bloodcell.transfer import frozen, head; "
               "from bloodcell.catalog import CATALOG, originals_table; "
               "print(bloodcell.__file__, home(), len(originals_table(CATALOG['kaggle'])))")
    done = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": str(tmp_path / "site")})
    assert done.stdout.split() == [str(tmp_path / "site/bloodcell/__init__.py"), str(tmp_path), "12444"]
