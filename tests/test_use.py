"""The pretrained model and its commands: images of every kind, malformed model files, and real cells."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
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
from bloodcell.pretrained.facts import draw_test_cells
from bloodcell.pretrained.head import replace_head
from bloodcell.pretrained.model import PRETRAINED_FOLDER, classify_cells, load_pretrained, read_cell_image
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
    found = call_bloodcell("predict", cells, "--transductive")
    assert found.returncode == 1 and "too few cells for transductive refinement: 4" in found.stderr
    assert not found.stdout and "Traceback" not in found.stderr


def test_an_exported_model_refines_predictions_as_the_model_does(cells, tmp_path):
    shutil.copy(PRETRAINED_FOLDER / "blood8.onnx", tmp_path / "blood8.onnx")
    squares = [pad_to_square(read_cell_image(str(cells / f"cell{number % 4}.png"))) for number in range(40)]
    one, other = (classify_cells(load_pretrained(model), squares, transductive=True) for model in (tmp_path / "blood8.onnx", "blood8"))
    assert len(one) == 40 and np.allclose(one.filter(like="p_"), other.filter(like="p_"), equal_nan=True)


def test_paths_are_read_from_standard_input(cells):
    found = run_bloodcell("predict", "-", "--format", "csv", typed=f"{cells / 'cell1.png'}\n\n{cells / 'cell0.png'}\n")
    assert found.returncode == 0, found.stderr
    assert [line.split(",")[0] for line in found.stdout.splitlines()[1:]] == [str(cells / "cell1.png"), str(cells / "cell0.png")]


def test_the_released_model_is_small_and_its_two_files_agree():
    preset = load_pretrained("blood8")
    files = preset.file, preset.file.with_suffix(".keras")
    assert all(file.stat().st_size <= 5e6 for file in files)
    pixels = np.concatenate([draw_test_cells(12).astype("float32"), export.extreme_pixels()])
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
    shutil.copy(load_pretrained("blood8").file.with_suffix(".keras"), tmp_path / "alone.keras")
    said = {}
    for model, imported in (("blood8", "False"), (str(tmp_path / "alone.keras"), "True")):
        found = subprocess.run([sys.executable, "-c", asked, str(cells), "--model", model], capture_output=True, text=True, cwd=tmp_path)
        *said[model], last = found.stdout.splitlines()
        assert last == imported, found.stderr
    first, second = said.values()
    assert first == second and len(first) == 5  # a heading and four cells


def test_a_model_whose_keras_file_is_anothers_says_so(tmp_path):
    source = load_pretrained("blood8").file
    shutil.copy(source, tmp_path / "mine.onnx")
    model = onnx.load(str(source))
    facts = load_pretrained("blood8").facts | {"identity": "0123456789abcdef"}
    onnx.helper.set_model_props(model, {"bloodcell": json.dumps(facts)})
    onnx.save(model, str(tmp_path / "mine.onnx"))
    shutil.copy(source.with_suffix(".keras"), tmp_path / "mine.keras")
    with pytest.raises(BloodcellError, match="Keras network of this model is missing"):
        load_pretrained(tmp_path / "mine.onnx").network  # noqa: B018


def test_an_exported_file_predicts_as_the_model_does(cells, tmp_path):
    preset, mine = load_pretrained("blood8"), tmp_path / "mine.onnx"
    shutil.copy(preset.file, mine)
    found = [call_bloodcell("predict", cells, "--model", model, "--format", "csv") for model in (mine, "blood8")]
    assert found[0].returncode == 0 and found[0].stdout == found[1].stdout, found[0].stderr
    for damage in (b"damaged", b"", mine.read_bytes()[:100_000]):
        mine.write_bytes(damage)
        refused = call_bloodcell("predict", cells, "--model", mine)
        assert refused.returncode != 0 and "mine.onnx" in refused.stderr and "Traceback" not in refused.stderr


CHANGED_FACTS = {
    "schema": 1,
    "classes": "neutrophil",
    "temperature": -1,
    "ood_limit": "high",
    "version": "<script>",
    "seen": {"sharpness": [1]},
    "test": {},
    "training_hashes": "\x00",
    "set_threshold": float("nan"),
}


@pytest.mark.parametrize(("name", "value"), CHANGED_FACTS.items())
def test_facts_that_the_schema_does_not_allow_are_refused(name, value, cells, tmp_path):
    preset, mine = load_pretrained("blood8"), tmp_path / "mine.onnx"
    model = onnx.load(str(preset.file))
    onnx.helper.set_model_props(model, {"bloodcell": json.dumps(preset.facts | {name: value})})
    onnx.save(model, str(mine))
    with pytest.raises(BloodcellError, match=r"mine\.onnx"):
        load_pretrained(mine)


def test_a_model_whose_weights_were_changed_fails_its_own_test(cells, tmp_path):
    preset, mine = load_pretrained("blood8"), tmp_path / "mine.onnx"
    model = onnx.load(str(preset.file))
    replace_head(model, replace(preset.head, bias=preset.head.bias[::-1].copy()))
    onnx.save(model, str(mine))
    found = call_bloodcell("predict", cells, "--model", mine)
    assert found.returncode != 0 and "fails the test inside it" in found.stderr and not found.stdout


def test_an_onnx_file_of_another_network_is_refused(tmp_path):
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
    source = load_pretrained("blood8").file.with_suffix(".keras")
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


def write_laboratory(folder: Path, prefixes: dict[str, str], count: int) -> Path:
    "Draw a small laboratory, class by class, from four slides."
    rng, drawn = np.random.default_rng(0), {kind.prefix: kind for kind in synthetic.CELL_KINDS}
    slides = [synthetic.draw_slide(rng) for _ in range(4)]
    for prefix, label in prefixes.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = synthetic.draw_image(drawn[prefix], slides[number % 4], rng, 160)
            Image.fromarray(pixels).save(folder / label / f"slide{number % 4}_{number:02}.png")
    return folder


def test_a_laboratory_adapts_the_model_to_its_own_cells(tmp_path):
    slides = write_laboratory(tmp_path / "slides", {"BNE": "neutrophil", "LY": "Lymphocytes", "EO": "eos"}, 24)
    found = call_bloodcell("adapt", "blood8", slides, "--out", tmp_path / "own")
    assert found.returncode == 0 and "labels: Lymphocytes is lymphocyte" in found.stdout, found.stderr
    record = json.loads((tmp_path / "own/record.json").read_text())
    assert record["after"]["accuracy"] > max(0.8, record["before"]["accuracy"])
    own, shipped = load_pretrained(tmp_path / "own/model.onnx"), load_pretrained("blood8")
    pictures = sorted(slides.rglob("*.png"))
    squares = np.stack([pad_to_square(read_cell_image(path)) for path in pictures])
    one, other = own.answer(squares), shipped.answer(squares)
    assert np.array_equal(one["features"], other["features"]), "the convolutions are those of the shipped model"
    assert own.facts["base"] == shipped.facts["identity"] != own.facts["identity"]
    again = call_bloodcell("adapt", "blood8", slides, "--out", tmp_path / "again")
    assert again.returncode == 0 and (tmp_path / "again/model.onnx").read_bytes() == own.file.read_bytes()
    further = call_bloodcell("adapt", own.file, slides, "--out", tmp_path / "further")
    assert further.returncode == 1 and "learned from 72 of these cells" in further.stderr and not (tmp_path / "further").exists()


def test_rare_and_few_labels_are_accepted_with_a_warning(tmp_path):
    slides = write_laboratory(tmp_path / "slides", {"BNE": "neutrophil", "LY": "lymphocyte"}, 6)
    (rare := slides / "basophil").mkdir()
    shutil.copy(next((slides / "neutrophil").iterdir()), rare / "one.png")
    found = call_bloodcell("adapt", "blood8", slides, "--out", tmp_path / "own")
    assert found.returncode != 0 and "the same picture has two labels" in found.stderr and not (tmp_path / "own").exists()
    drawn = synthetic.draw_image(synthetic.CELL_KINDS[0], synthetic.draw_slide(np.random.default_rng(9)), np.random.default_rng(9), 160)
    Image.fromarray(drawn).save(rare / "one.png")
    (slides / "neutrophil/torn.png").write_bytes(b"no picture")
    found = call_bloodcell("adapt", "blood8", slides, "--out", tmp_path / "own")
    assert found.returncode == 0 and "basophil (1)" in found.stdout, found.stderr


WRONG_LABELS = {  # classes and cells of each: what is said
    ("blood9", "neutrophil", "lymphocyte"): "blood8",
    ("blood8", "neutrophil"): "two or more",
    ("blood8", "kind1", "kind2"): "--map kind1=<class>",
}


@pytest.mark.parametrize(("given", "told"), WRONG_LABELS.items())
def test_adaptation_without_a_model_or_classes_is_refused(given, told, tmp_path):
    model, *labels = given
    slides = write_laboratory(tmp_path / "slides", dict(zip(("BNE", "LY"), labels, strict=False)), 8)
    found = call_bloodcell("adapt", model, slides, "--out", tmp_path / "own")
    assert found.returncode == 1 and told in found.stderr and "Traceback" not in found.stderr
    assert not (tmp_path / "own").exists()


def test_suggested_cells_lie_in_one_offline_page(tmp_path):
    slides = write_laboratory(tmp_path / "slides", {"BNE": "neutrophil", "LY": "lymphocyte", "EO": "eosinophil"}, 8)
    (slides / "neutrophil/slide0_torn.png").write_bytes(b"no picture")
    found = call_bloodcell("suggest", "blood8", slides, "--n", 10, "--group-from", r"(slide\d)", "--out", tmp_path / "chosen")
    assert found.returncode == 1 and "torn.png" in found.stderr and "10 cells of 4 groups" in found.stdout, found.stderr
    page, chosen = (tmp_path / "chosen/label.html").read_text(), pd.read_csv(tmp_path / "chosen/suggested.csv")
    assert page.count("data:image/jpeg;base64,") == len(chosen) == 10 and "http" not in page.replace("http-equiv", "")
    assert set(chosen["group"]) == {f"slide{number}" for number in range(4)}
    rows = chosen.assign(label=[Path(path).parent.name for path in chosen["path"]])[["path", "label", "group"]]
    rows.to_csv(tmp_path / "labels.csv", index=False)
    found = call_bloodcell("adapt", "blood8", tmp_path / "labels.csv", "--out", tmp_path / "own")
    assert found.returncode == 0, found.stderr


def test_the_model_commands_need_no_training_framework(tmp_path):
    for name in ("keras", "tensorflow", "tf2onnx", "snakemake", "papermill"):
        (tmp_path / f"blocked/{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / f"blocked/{name}.py").write_text(f"raise ImportError('{name} is not installed')\n")
    slides = write_laboratory(tmp_path / "slides", {"BNE": "neutrophil", "LY": "lymphocyte"}, 8)
    for arguments in (
        ("predict", slides, "--explain", tmp_path / "why"),
        ("evaluate", "blood8", slides, "--out", tmp_path / "page"),
        ("suggest", "blood8", slides, "--n", 5, "--out", tmp_path / "chosen"),
        ("adapt", "blood8", slides, "--out", tmp_path / "own"),
        ("--version",),
    ):
        found = run_bloodcell(*arguments, PYTHONPATH=tmp_path / "blocked")
        assert found.returncode == 0, found.stderr
    refused = run_bloodcell("export", "blood8", "--to", "litert", "--out", tmp_path / "a.tflite", PYTHONPATH=tmp_path / "blocked")
    assert refused.returncode == 1 and "pip install 'bloodcell[study]'" in refused.stderr and "Traceback" not in refused.stderr


def test_a_fhir_report_is_valid(cells, tmp_path):
    reports = pytest.importorskip("fhir.resources.R4B.diagnosticreport", reason="fhir.resources is not installed")
    found = call_bloodcell("predict", cells, "--report", "differential", "--fhir", "--out", tmp_path / "count")
    assert found.returncode == 0, found.stderr
    (file,) = (tmp_path / "count").glob("*.fhir.json")
    report = reports.DiagnosticReport.model_validate_json(file.read_text())
    assert report.status == "preliminary" and len(report.contained) == len(report.result) >= 5


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
    found = run_bloodcell("export", "blood8", "--to", "onnx-int8", "--out", tmp_path / "small.onnx", "--cells", f"{root}/*/[!.]*.jpg")
    assert found.returncode == 0, found.stderr  # it fails where more than one cell in 200 gets another class
    cells = sorted(str(path) for path in root.glob("*/[!.]*.jpg"))[:40]
    said = [run_bloodcell("predict", *cells, "--format", "csv", "--model", model) for model in ("blood8", tmp_path / "small.onnx")]
    one, other = (pd.read_csv(io.StringIO(each.stdout)) for each in said)
    assert (one["class"] == other["class"]).mean() > 0.95 and (one["probability"] - other["probability"]).abs().max() < 0.3
