"""The page in a browser predicts as Python does and contacts only its own server. Skipped where there is no Chromium or no npm."""

import http.server
import io
import json
import re
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest
from browser import needs_browser
from conftest import run_bloodcell
from PIL import Image

from bloodcell.data import synthetic
from bloodcell.data.nucleus import INPUT_SIDE
from bloodcell.pretrained.model import classify_cells, load_pretrained
from bloodcell.pretrained.suggest import write_suggestion

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "page"
    made = run_bloodcell("export", "--to", "web", "--out", folder)
    if "npm is missing" in made.stderr:
        pytest.skip(made.stderr[-300:])
    assert made.returncode == 0, made.stderr
    rng = np.random.default_rng(3)
    (folder / "cells").mkdir()
    for number in range(20):
        kind = synthetic.CELL_KINDS[number % len(synthetic.CELL_KINDS)]
        Image.fromarray(synthetic.draw_image(kind, synthetic.draw_slide(rng), rng, INPUT_SIDE)).save(folder / f"cells/{number:02}.png")
    Image.new("RGB", (INPUT_SIDE, INPUT_SIDE), (230, 225, 228)).save(folder / "cells/blank.png")
    (folder / "cells/bad.png").write_text("no picture")
    return folder


@pytest.fixture
def server(page):
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form, *words):
            asked.append(self.command + " " + self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(page))) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}", asked
        serving.shutdown()


def test_the_browser_predicts_as_python_does_and_sends_nothing(page, server, tab):
    address, asked = server
    names = sorted(path.name for path in (page / "cells").iterdir())
    opened = tab(f"{address}/index.html#{','.join(f'cells/{name}' for name in names)}")
    opened.wait("document.body.dataset.done")
    found = opened.value(
        "JSON.stringify([...document.querySelectorAll('.cell')].map((cell) => "
        "({...JSON.parse(cell.dataset.answer), heading: cell.querySelector('h2').textContent})))"
    )
    answers = {one["file"]: one for one in json.loads(found)}
    assert {one["heading"].split(",")[0] for one in answers.values() if one["name"] == "ig"} == {"immature granulocyte"}
    assert sorted(answers) == [name for name in names if name != "bad.png"]
    assert "bad.png cannot be used" in opened.value("document.getElementById('problems').textContent")
    preset = load_pretrained("blood8")
    expected = classify_cells(preset, [np.asarray(Image.open(page / "cells" / name)) for name in sorted(answers)])
    for (name, found), row in zip(sorted(answers.items()), expected.itertuples(), strict=True):
        assert found["name"] == expected["class"][row.Index] and abs(found["ood_score"] - row.ood_score) < 1e-3
        assert found["in_distribution"] == row.in_distribution
        if row.note:
            assert name == "blank.png" and found["heading"] == row.note and found["probability"] is None
            continue
        probabilities = expected.loc[row.Index, [f"p_{label}" for label in preset.classes]].to_numpy(float)
        assert np.abs(np.array(found["probabilities"]) - probabilities).max() < 1e-4, name
    opened.value("document.querySelector('.cell button').click()")
    assert opened.value("Math.max(...[...document.querySelectorAll('.cell canvas')].map((one) => -one.width))") == -preset.facts["size"]
    assert all(line.startswith("GET ") for line in asked)  # nothing is sent
    assert {line.split()[1].split("?")[0] for line in asked} <= {"/", *(f"/{path.relative_to(page)}" for path in page.rglob("*"))}


def test_the_content_security_policy_allows_only_its_own_server(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', (page / "index.html").read_text())[1]
    assert "default-src 'self'" in policy and "connect-src 'self'" in policy and "http" not in policy
    for path in page.glob("*.js"):
        if not path.name.startswith("ort"):
            assert not re.search(r"https?://", path.read_text()), path.name


def test_cells_are_labelled_by_key_and_taken_back(tmp_path, tab):
    rng = np.random.default_rng(5)
    for number in range(6):
        kind = synthetic.CELL_KINDS[number % len(synthetic.CELL_KINDS)]
        Image.fromarray(synthetic.draw_image(kind, synthetic.draw_slide(rng), rng, INPUT_SIDE)).save(tmp_path / f"slide, {number}.png")
    picked, _ = write_suggestion(load_pretrained("blood8"), sorted(map(str, tmp_path.glob("*.png"))), 4, tmp_path / "chosen", r"(\d)\.png")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "chosen"))
    ) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        opened = tab(f"http://127.0.0.1:{serving.server_port}/label.html")
        opened.wait("document.getElementById('keys').children.length === 9")
        for key in ("1", "2", "x", "0", "Backspace", "8"):
            opened.value(f"dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}' }}))")
        assert opened.value("document.getElementById('progress').textContent") == "Cell 4 of 4"
        rows = pd.read_csv(io.StringIO(opened.value("table()")), dtype=str)
        assert rows["label"].tolist() == ["basophil", "eosinophil", "platelet"]
        assert rows["path"].tolist() == picked["path"].tolist()[:3] and rows["group"].tolist() == picked["group"].tolist()[:3]
        opened.value("document.getElementById('keys').children[8].click()")
        assert opened.value("document.getElementById('cell').hidden") and "save them" in opened.value(
            "document.getElementById('progress').textContent"
        )
        serving.shutdown()
