"""The pretrained model and its commands: images of every kind, malformed model files, and real cells."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import call_bloodcell, run_bloodcell
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bloodcell.core.config import BloodcellError
from bloodcell.data import synthetic
from bloodcell.data.nucleus import INPUT_SIDE, SEARCH_GRID
from bloodcell.data.pixels import pad_to_square
from bloodcell.evaluation.calibration import apply_class_prior
from bloodcell.models.layers import NucleusCrop
from bloodcell.pretrained import export
from bloodcell.pretrained.model import PRETRAINED_FOLDER, _quick, classify_cells, load_pretrained, read_cell_image
from bloodcell.pretrained.runtimes import keras_predictor, load_predictor
from bloodcell.pretrained.transductive import refine_transductively


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    for number, kind in enumerate(synthetic.CELL_KINDS[:4]):
        Image.fromarray(synthetic.draw_image(kind, synthetic.draw_slide(rng), rng, 160)).save(folder / f"cell{number}.png")
    return folder


@settings(max_examples=30, deadline=None)
@given(st.integers(64, 700), st.integers(64, 700), st.integers(0, 255))
def test_any_picture_becomes_a_square_without_distortion(width, height, grey):
    pixels = np.full((height, width, 3), 230, "uint8")
    pixels[height // 2 - 16 : height // 2 + 16, width // 2 - 16 : width // 2 + 16] = grey
    square = pad_to_square(Image.fromarray(pixels))
    assert square.shape == (INPUT_SIDE, INPUT_SIDE, 3)
    if max(width, height) > 1.02 * min(width, height) and grey < 200:
        dark = square[..., 0].astype(float) < (grey + 230) / 2
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        assert abs(len(rows) - len(columns)) <= 2


@settings(max_examples=20, deadline=None)
@given(st.floats(0.25, 0.75), st.floats(0.25, 0.75), st.floats(0.1, 0.4))
def test_the_graph_finds_a_lone_nucleus(row, column, diameter):
    at = np.arange(160) / 160
    image = np.full((1, 160, 160, 3), 230, "float32")
    image[0, (at[:, None] - row) ** 2 + (at[None] - column) ** 2 < (diameter / 2) ** 2] = (90, 50, 140)
    found = np.asarray(NucleusCrop(64)(image)[1])[0]
    assert abs(found[0] - row) < 0.03 and abs(found[1] - column) < 0.03
    assert abs(found[2] - diameter) < diameter / 4 + 0.5 / SEARCH_GRID  # the grid knows no finer steps


def test_a_prediction_writes_no_telemetry(cells, tmp_path, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    done = run_bloodcell("predict", cells, HOME=tmp_path, XDG_CACHE_HOME=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name in (".onnxruntime", "deviceid")]


def test_each_bad_file_gets_one_line_and_the_others_an_answer(cells, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    Image.new("RGB", (20, 20)).save(tmp_path / "tiny.png")
    whole = (cells / "cell0.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((100, 100), "uint8")).save(tmp_path / "grey.png")
    found = run_bloodcell("predict", cells, tmp_path, tmp_path / "missing.jpg", "--format", "json")
    answers = json.loads(found.stdout)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert [Path(one["image"]).name for one in answers] == [*(f"cell{number}.png" for number in range(4)), "grey.png"]
    told = [line for line in found.stderr.splitlines() if line.startswith("bloodcell:")]
    bad = ("text.jpg", "empty.png", "tiny.png", "half.png", "missing.jpg")
    assert len(told) == 5 and all(sum(name in line for line in told) == 1 for name in bad)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any))
def test_probabilities_follow_the_known_class_counts(seed, count):
    classes = ("lymphocyte", "monocyte", "neutrophil")
    given_before = np.random.default_rng(seed).dirichlet([0.3, 1, 3], 60)
    told = apply_class_prior(given_before, classes, dict(zip(classes, count, strict=True)))
    wanted = np.maximum(np.array(count) / sum(count), 0.5 / 60)
    assert np.allclose(told.sum(axis=1), 1) and np.allclose(told.mean(axis=0), wanted / wanted.sum(), atol=0.01)
    ratio = (told[:, 0] / told[:, 1]) / (given_before.clip(1e-6)[:, 0] / given_before.clip(1e-6)[:, 1])
    assert np.allclose(ratio, ratio[0], rtol=1e-6)  # one factor a class, the same for all cells


def test_invalid_class_counts_are_refused(cells):
    wrong = {
        "neutrophil": "is invalid",
        "blast=3": "names blast",
        "neutrophil=-1,monocyte=2": "from 0 on",
        "neutrophil=nan": "from 0 on",
        "neutrophil=6,monocyte=4": "needs at least 20 cells, got 4",
    }
    for count, words in wrong.items():
        found = call_bloodcell("predict", cells, "--count", count)
        assert found.returncode == 1 and words in found.stderr and not found.stdout, found.stderr
        assert "Traceback" not in found.stderr


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(40, 80))
def test_transductive_refinement_ignores_the_order_and_keeps_zeros(seed, count):
    rng = np.random.default_rng(seed)
    before, features = rng.dirichlet([0.3, 1, 3], count), rng.random((count, 5))
    before[:, 0] *= rng.random(count) < 0.5
    features[0] = 0  # a picture that says nothing
    before /= before.sum(axis=1, keepdims=True)
    after, order = refine_transductively(before, features), rng.permutation(count)
    assert np.allclose(after.sum(axis=1), 1) and (after[before == 0] == 0).all() and np.allclose(after[0], before[0])
    assert np.allclose(refine_transductively(before[order], features[order]), after[order])
    assert np.allclose(
        refine_transductively(before, features * rng.uniform(1, 9, (count, 1))), after
    )  # only the direction of features counts


def test_transductive_refinement_needs_enough_cells(cells):
    found = call_bloodcell("predict", cells, "--together")
    assert found.returncode == 1 and "too few cells for transductive refinement: 4" in found.stderr
    assert not found.stdout and "Traceback" not in found.stderr


def test_an_exported_model_refines_predictions_as_the_model_does(cells, tmp_path):
    shutil.copy(PRETRAINED_FOLDER / "blood8.onnx", tmp_path / "blood8.onnx")
    (tmp_path / "blood8.json").write_text(json.dumps(load_pretrained("blood8").facts))
    squares = [pad_to_square(read_cell_image(str(cells / f"cell{number % 4}.png"))) for number in range(40)]
    one, other = (classify_cells(load_pretrained(model), squares, together=True) for model in (tmp_path / "blood8.onnx", "blood8"))
    assert len(one) == 40 and np.allclose(one.filter(like="p_"), other.filter(like="p_"), equal_nan=True)


def test_paths_are_read_from_standard_input(cells):
    found = run_bloodcell("predict", "-", "--format", "csv", typed=f"{cells / 'cell1.png'}\n\n{cells / 'cell0.png'}\n")
    assert found.returncode == 0, found.stderr
    assert [line.split(",")[0] for line in found.stdout.splitlines()[1:]] == [str(cells / "cell1.png"), str(cells / "cell0.png")]


def test_the_released_model_is_small_and_its_two_files_agree():
    preset = load_pretrained("blood8")
    files = preset.file, preset.file.with_suffix(".onnx")
    assert sum(file.stat().st_size for file in files) < 10e6
    pixels = np.concatenate([export.make_synthetic_cells(12), export.extreme_pixels()])
    quick, slow = preset.answer(pixels), keras_predictor(preset.network)(pixels)
    assert all(np.abs(quick[name] - slow[name]).max() < 1e-4 for name in ("probabilities", "nucleus"))
    assert all(np.allclose(quick[name], slow[name], atol=1e-3, rtol=1e-3) for name in ("ood_score", "features"))


def test_predictions_are_equal_with_and_without_keras(cells, tmp_path):
    asked = """
import sys
from bloodcell.cli import main
sys.argv = ["bloodcell", "predict", *sys.argv[1:]]
try:
    main()
finally:
    print("keras" in sys.modules)
"""
    shutil.copy(load_pretrained("blood8").file, tmp_path / "alone.keras")
    said = {}
    for model, imported in (("blood8", "False"), (str(tmp_path / "alone.keras"), "True")):
        found = subprocess.run([sys.executable, "-c", asked, str(cells), "--model", model], capture_output=True, text=True, cwd=tmp_path)
        *said[model], last = found.stdout.splitlines()
        assert last == imported, found.stderr
    first, second = said.values()
    assert first == second and len(first) == 5  # a heading and four cells


def test_an_onnx_file_of_another_identity_is_ignored(tmp_path):
    source = load_pretrained("blood8").file
    shutil.copy(source, tmp_path / "mine.keras")
    (tmp_path / "mine.onnx").write_bytes(source.with_suffix(".onnx").read_bytes())
    assert _quick(tmp_path / "mine.keras", "0123") is None
    (tmp_path / "mine.onnx").write_bytes(b"damaged")
    assert _quick(tmp_path / "mine.keras", load_pretrained("blood8").facts["identity"]) is None


def test_an_exported_file_predicts_as_the_model_does(cells, tmp_path):
    preset, mine = load_pretrained("blood8"), tmp_path / "mine.onnx"
    shutil.copy(preset.file.with_suffix(".onnx"), mine)
    found = call_bloodcell("predict", cells, "--model", mine)
    assert found.returncode != 0 and "mine.json" in found.stderr  # what names its classes is missing
    (tmp_path / "mine.json").write_text(json.dumps(preset.facts))
    found = [call_bloodcell("predict", cells, "--model", model, "--format", "csv") for model in (mine, "blood8")]
    assert found[0].returncode == 0 and found[0].stdout == found[1].stdout, found[0].stderr
    refused = call_bloodcell("predict", cells, "--model", mine, "--explain", tmp_path / "why")
    assert refused.returncode != 0 and ".keras" in refused.stderr and "Traceback" not in refused.stderr
    for damage in (b"damaged", b"", mine.read_bytes()[:100_000]):
        mine.write_bytes(damage)
        refused = call_bloodcell("predict", cells, "--model", mine)
        assert refused.returncode != 0 and "mine.onnx" in refused.stderr and "Traceback" not in refused.stderr
    for text, said in (("{}", "without classes"), ("5", "mine.json"), ("{", "mine.json")):
        (tmp_path / "mine.json").write_text(text)
        with pytest.raises(BloodcellError, match=said):
            load_pretrained(mine)


def test_an_onnx_file_of_another_network_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 2]) for name in ("given", "said")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["given"], ["said"])], "other", value[:1], value[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8), tmp_path / "other.onnx")
    with pytest.raises(BloodcellError, match=r"other\.onnx.*no probabilities"):
        load_predictor(tmp_path / "other.onnx")


def test_a_page_without_npm_says_what_is_missing(tmp_path):
    found = call_bloodcell("export", "--to", "web", "--out", tmp_path / "page", PATH=tmp_path)
    assert found.returncode != 0 and "npm is missing" in found.stderr and "Traceback" not in found.stderr
    assert not list((tmp_path / "page").iterdir())


def test_a_malicious_model_file_is_refused_before_it_runs_code(tmp_path):
    source = load_pretrained("blood8").file
    for name, change in (
        ("lambda.keras", lambda text: text.replace('"GlobalAveragePooling2D"', '"Lambda"')),
        ("module.keras", lambda text: text.replace('"keras.layers"', '"os"')),
    ):
        with zipfile.ZipFile(source) as archive, zipfile.ZipFile(tmp_path / name, "w") as changed:
            for member in archive.namelist():
                content = archive.read(member)
                changed.writestr(member, change(content.decode()) if member == "config.json" else content)
        with pytest.raises(BloodcellError, match=name):
            load_pretrained(tmp_path / name).network  # noqa: B018
    (tmp_path / "cut.keras").write_bytes(source.read_bytes()[:100_000])
    with pytest.raises(BloodcellError, match=r"cut\.keras"):
        load_pretrained(tmp_path / "cut.keras")
    with zipfile.ZipFile(tmp_path / "away.keras", "w") as archive:
        archive.writestr("../../away.txt", "x")
    with pytest.raises(BloodcellError, match=r"away\.keras"):
        load_pretrained(tmp_path / "away.keras")
    assert not list(tmp_path.parent.glob("**/away.txt"))


def test_labels_without_a_class_need_a_map_option(cells, tmp_path):
    for label in ("Neutrophils", "weird"):
        (tmp_path / "lab" / label).mkdir(parents=True)
        for number in range(4):
            shutil.copy(cells / f"cell{number}.png", tmp_path / "lab" / label / f"{label}{number}.png")
    found = call_bloodcell("evaluate", "blood8", tmp_path / "lab", "--out", tmp_path / "page")
    assert found.returncode != 0 and "--map weird=<class>" in found.stderr and not (tmp_path / "page").exists()
    found = call_bloodcell("evaluate", "blood8", tmp_path / "empty")
    assert found.returncode != 0 and "Traceback" not in found.stderr


def test_kinds_outside_the_classes_are_evaluated_apart(cells, tmp_path):
    place = tmp_path / "data/deepapl"
    place.mkdir(parents=True)
    rows = [(f"{kind}{number}.png", kind, number) for kind in ("neutrophil", "lymphocyte", "blast") for number in range(4)]
    for name, _, number in rows:
        shutil.copy(cells / f"cell{number}.png", place / name)
    pd.DataFrame(rows, columns=["path", "label", "group"]).to_csv(place / "images.csv", index=False)
    found = run_bloodcell("evaluate", "blood8", "deepapl", "--out", tmp_path / "page", BLOODCELL_DATA=tmp_path / "data")
    assert found.returncode == 0, found.stderr
    assert "4 cells of kinds that are none of the model's classes" in found.stdout and "labels: blast is unknown" in found.stdout
    assert "absl" not in found.stderr and "cuda" not in found.stderr, "what TensorFlow says of itself when it is loaded is no news"
    assert pd.read_csv(tmp_path / "page/kinds.csv")["kind"].tolist() == ["blast"]
    assert len(pd.read_csv(tmp_path / "page/predictions.csv")) == 8


def test_a_laboratory_adapts_the_model_to_its_own_cells_and_classes(tmp_path):
    rng, kinds = np.random.default_rng(0), {"BNE": "neutrophil", "LY": "lymphocyte", "EO": "our own kind"}
    drawn = {kind.prefix: kind for kind in synthetic.CELL_KINDS}
    slides = [synthetic.draw_slide(rng) for _ in range(4)]
    for prefix, label in kinds.items():
        (tmp_path / "slides" / label).mkdir(parents=True)
        for number in range(24):
            pixels = synthetic.draw_image(drawn[prefix], slides[number % 4], rng, 160)
            Image.fromarray(pixels).save(tmp_path / f"slides/{label}/{number:02}.png")
    found = call_bloodcell("preset", "--start", "blood8", "--data", tmp_path / "slides", "--out", tmp_path / "own")
    assert found.returncode == 0, found.stderr
    test = pd.read_csv(tmp_path / "own/predictions.csv").query("split == 'test'")
    assert (test.filter(like="p_").idxmax(axis=1).str[2:] == test["label"]).mean() > 0.8
    fresh = [synthetic.draw_image(drawn["EO"], slides[0], rng, 160) for _ in range(5)]
    own, shipped = load_pretrained(tmp_path / "own/model.keras"), load_pretrained("blood8")
    assert (classify_cells(own, fresh)["class"] == "our own kind").mean() > 0.5
    before, after = (one.inner.layers[0].get_weights() for one in (shipped, own))
    assert all((a == b).all() for a, b in zip(before, after, strict=True)), "the convolutions are those of the shipped preset"


@pytest.mark.parametrize(("start", "kinds", "told"), [("blood9", 2, "blood8"), ("blood8", 1, "two or more")])
def test_adaptation_without_a_model_or_classes_is_refused(start, kinds, told, cells, tmp_path):
    for kind in range(kinds):
        (tmp_path / f"slides/kind{kind}").mkdir(parents=True)
        for number in range(8):
            rng = np.random.default_rng([kind, number])
            pixels = synthetic.draw_image(synthetic.CELL_KINDS[0], synthetic.draw_slide(rng), rng, 160)
            Image.fromarray(pixels).save(tmp_path / f"slides/kind{kind}/{number}.png")
    found = call_bloodcell("preset", "--start", start, "--data", tmp_path / "slides", "--out", tmp_path / "own")
    assert found.returncode == 1 and told in found.stderr and "Traceback" not in found.stderr
    assert not (tmp_path / "own/model.keras").exists()


def test_the_released_model_classifies_real_cells(real_data, tmp_path):
    root = real_data / "samples/pbc-original/PBC_dataset_normal_DIB"
    if not root.is_dir():
        pytest.skip("needs real images: no samples/pbc-original in BLOODCELL_DATA")
    chosen = [path for folder in sorted(root.iterdir()) if folder.is_dir() for path in sorted(folder.glob("[!.]*.jpg"))[:6]]
    found = run_bloodcell("predict", *chosen, "--out", tmp_path / "named.csv")
    assert found.returncode == 0, found.stderr
    named = pd.read_csv(tmp_path / "named.csv")
    assert (named["class"] == [path.parent.name for path in chosen]).mean() > 0.9 and named["in_distribution"].mean() > 0.7


def test_the_int8_model_agrees_on_real_cells(real_data, tmp_path):
    root = real_data / "samples/pbc-original/PBC_dataset_normal_DIB"
    if not root.is_dir():
        pytest.skip("needs real images: no samples/pbc-original in BLOODCELL_DATA")
    pytest.importorskip("tf2onnx")
    found = run_bloodcell("export", "blood8", "--to", "onnx-int8", "--out", tmp_path / "small.onnx", "--cells", f"{root}/*/[!.]*.jpg")
    assert found.returncode == 0, found.stderr  # it fails where more than one cell in 200 gets another class
    cells = sorted(str(path) for path in root.glob("*/[!.]*.jpg"))[:40]
    said = [run_bloodcell("predict", *cells, "--format", "csv", "--model", model) for model in ("blood8", tmp_path / "small.onnx")]
    one, other = (pd.read_csv(io.StringIO(each.stdout)) for each in said)
    assert (one["class"] == other["class"]).mean() > 0.95 and (one["probability"] - other["probability"]).abs().max() < 0.3
