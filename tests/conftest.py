"""What several tests need: real images where they are at hand, and the command line as a person runs it."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

REPOSITORY = Path(__file__).parent.parent
BLOODCELL = Path(sys.executable).parent / "bloodcell"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_modifyitems(items):
    "The file that takes longest comes first, so that two processes, which get one file at a time, end together."
    items.sort(key=lambda item: item.path.name != "test_study.py")


def run_bloodcell(*arguments, timeout=900, typed=None, **variables):
    "The command `bloodcell` in a process of its own, with these arguments, standard input and environment variables."
    return subprocess.run(
        [str(BLOODCELL), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        input=typed,
        env=os.environ | {name: str(value) for name, value in variables.items()},
    )


def call_bloodcell(*arguments, **variables):
    "The command in this process, where the libraries are loaded already: for requests that a message or a small file answers."
    from bloodcell.cli import main

    out, error, code = io.StringIO(), io.StringIO(), 0
    command = ["bloodcell", *map(str, arguments)]
    values = {name: str(value) for name, value in variables.items()}
    with mock.patch.dict(os.environ, values), mock.patch.object(sys, "argv", command):
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
    return subprocess.CompletedProcess(command, code, out.getvalue(), error.getvalue())


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


@pytest.fixture
def tab(tmp_path):
    "Opens an address in headless Chromium; for tests marked `browser.needs_browser`."
    from browser import Tab

    opened = []

    def open_tab(address):
        opened.append(Tab(address, tmp_path / "profile"))
        return opened[-1]

    yield open_tab
    for one in opened:
        one.close()
