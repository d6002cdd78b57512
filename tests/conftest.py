"""What several tests need: real images where they are at hand, the command line as a person runs it, and one whole smoke study."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
BLOODCELL = Path(sys.executable).parent / "bloodcell"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def run_bloodcell(*arguments, timeout=900, **variables):
    "The command `bloodcell` with these arguments and environment variables, run to its end."
    return subprocess.run([str(BLOODCELL), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          env=os.environ | {name: str(value) for name, value in variables.items()})


def start_and_stop(folder, when, wait, how):
    "Start a smoke study and send its whole group the signal `how` some seconds after it prints `when`; the exit code and what was printed."
    process = subprocess.Popen([str(BLOODCELL), "study", "--profile", "smoke", "--out", str(folder)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a background job is deaf to Ctrl-C
    printed = ""
    for line in process.stdout:
        printed += line
        if when in line:
            time.sleep(wait)
            os.killpg(process.pid, how)
            break
    printed += process.stdout.read()
    return process.wait(timeout=120), printed


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory):
    "A smoke study stopped by Ctrl-C in a training, killed in another, and run to its end: its folder, and what the three calls printed."
    folder = tmp_path_factory.mktemp("smoke") / "run"
    first = start_and_stop(folder, "sravani2023_hybrid_network", 2, signal.SIGINT)
    second = start_and_stop(folder, "khalil2022_scratch", 2, signal.SIGKILL)
    done = run_bloodcell("study", "--profile", "smoke", "--out", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, first, second, done


@pytest.fixture
def real_data():
    "The folder of real images; the test is skipped where there is none."
    folder = os.environ.get("BLOODCELL_DATA")
    if not folder or not (Path(folder) / "pbc").is_dir():
        pytest.skip("needs real images: set BLOODCELL_DATA to the folder that holds pbc/")
    return Path(folder)


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    "A home of its own, so that a test's caches touch nobody else's."
    monkeypatch.setenv("BLOODCELL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
