"""`make bench`: ratios measured in one run, written to runs/bench/bench.csv.

Real images come from BLOODCELL_DATA/pbc; without it the synthetic set is used and the table says so.
Ratios are what to trust; images a second depend on the machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image

from bloodcell.core.config import BloodcellError, cache_root, home
from bloodcell.core.runs import write_table
from bloodcell.data import catalog, dataset, synthetic
from bloodcell.data.pixels import Input, RowView, decode_images
from bloodcell.data.quality import exclude_unusable
from bloodcell.models.augment import RandomAffine
from bloodcell.models.backbones import attach_head, build_head, compute_features, load_frozen_backbone
from bloodcell.papers.registry import ASGHAR_FROZEN, KHALIL
from bloodcell.pretrained import export
from bloodcell.pretrained.commands import DEFAULT_MODEL
from bloodcell.pretrained.facts import draw_test_cells
from bloodcell.pretrained.model import PretrainedModel, load_pretrained
from bloodcell.pretrained.runtimes import Predictor, keras_predictor, load_predictor
from bloodcell.training.loop import fit_network
from bloodcell.training.recipes import Recipe

SIZE, BATCH = 128, 64  # pixels; images
SECONDS = 6.0  # that a rate is measured for
IMAGES = None  # how many images to use; None for all
ROWS = 1_500  # images of the smaller cache
EPOCHS = 150  # of the linear head


def rate(step, n: int) -> float:
    "Items a second of `step`, which handles `n` items a call, over at least `SECONDS`, after one call to warm up."
    step()
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < SECONDS:
        step()
        calls += 1
    return calls * n / (time.perf_counter() - start)


def find_images() -> tuple[str, Path, pd.DataFrame]:
    "What is measured on: name, root and usable images."
    try:
        name, (entry, root) = "pbc", catalog.find_data("pbc")
    except BloodcellError:
        synthetic.make_laboratory("synthetic", cache_root() / catalog.SYNTHETIC_FOLDER)
        name, (entry, root) = "synthetic", catalog.find_data("synthetic")
    usable, _ = exclude_unusable(dataset.read_manifest(entry, root)[0])
    return name, root, dataset.subsample(usable, IMAGES)


def bench_augmentation(root: Path, usable: pd.DataFrame, cache: RowView) -> dict:
    "The augmentation of Khalil and Abu-Naser (2022): from the cache with `RandomAffine`, against ImageDataGenerator from the files."
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    rng, change = np.random.default_rng(0), RandomAffine(**KHALIL.augmentation.affine)
    ours = rate(lambda: change(cache[np.sort(rng.choice(len(cache), BATCH, replace=False))], rng), BATCH)
    generator = ImageDataGenerator(
        rotation_range=30, width_shift_range=0.2, height_shift_range=0.2, horizontal_flip=True, vertical_flip=True
    )
    with tempfile.TemporaryDirectory() as folder:  # links to usable files only: the generator fails on PBC's junk file
        for path in usable["path"]:
            link = Path(folder) / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root / path)
        flow = generator.flow_from_directory(folder, target_size=(SIZE, SIZE), batch_size=BATCH, follow_links=True)
        theirs = rate(lambda: next(flow), BATCH)
    return {
        "what": "augmentation of khalil2022 at 128 px, images a second",
        "ours": ours,
        "other": theirs,
        "other_is": "ImageDataGenerator",
        "ratio": ours / theirs,
        "goal": "at least 10",
        "note": "",
    }


def bench_decoding(root: Path, usable: pd.DataFrame) -> dict:
    "Filling the cache against opening and resizing with Pillow one by one."
    some = usable.sample(min(2000, len(usable)), random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        decode_images(some, root, Input(SIZE), folder)
        ours = len(some) / (time.perf_counter() - start)
    start = time.perf_counter()
    for path in some["path"]:
        np.asarray(Image.open(root / path).convert("RGB").resize((SIZE, SIZE)))
    theirs = len(some) / (time.perf_counter() - start)
    return {
        "what": "decoding to 128 px, images a second",
        "ours": ours,
        "other": theirs,
        "other_is": "Pillow, one by one",
        "ratio": ours / theirs,
        "goal": "",
        "note": "decoded once, not once an epoch",
    }


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    "The recipe with another number of epochs."
    return replace(recipe, schedule=replace(recipe.schedule, epochs=(epochs,)))


def bench_head(usable: pd.DataFrame, cache: RowView, codes: np.ndarray) -> dict:
    "Epochs of head training on cached features against training through the frozen backbone."
    backbone, source = load_frozen_backbone("MobileNetV2", SIZE, weights="imagenet or random")
    train, validation = np.arange(0, len(codes), 2), np.arange(1, len(codes), 20)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        vectors = compute_features(backbone, cache, folder)
        extraction = time.perf_counter() - start
        start = time.perf_counter()
        top, recipe = build_head(1280, int(codes.max()) + 1), with_epochs(ASGHAR_FROZEN[0], EPOCHS)
        fit_network(top, recipe, vectors, codes, train, validation, 0, Path(folder) / "head.npz")
        ours = time.perf_counter() - start
    few = train[:512]  # two epochs over a part: the backbone's time grows with the number of images
    model = attach_head(backbone, build_head(1280, int(codes.max()) + 1))
    with tempfile.TemporaryDirectory() as folder:
        fit_network(model, with_epochs(recipe, 1), cache, codes, few[:128], few[:128], 0, Path(folder) / "warm.npz")
        start = time.perf_counter()
        fit_network(model, with_epochs(recipe, 2), cache, codes, few, few[:1], 0, Path(folder) / "through.npz")
        through = (time.perf_counter() - start) / 2 * len(train) / len(few) * EPOCHS
    return {
        "what": f"{EPOCHS} epochs of a linear head on {len(train):,} images, seconds",
        "ours": ours,
        "other": through,
        "other_is": "through the frozen backbone",
        "ratio": through / ours,
        "goal": "at least 100",
        "note": f"slow side extrapolated from 2 epochs of {len(few)} images; features took {extraction:.0f} s once "
        f"(with them the ratio is {through / (ours + extraction):.0f}); weights: {source}",
    }


def bench_training() -> dict:
    "A training of EfficientNet-Lite0 whose process keeps the memory of freed arrays, against one that gives it back after each step."
    took = []
    for kept in (True, False):
        program = f"""
import tempfile
from dataclasses import replace
import numpy as np
from bloodcell.papers.registry import ABLATION_BASE
from bloodcell.training import loop
{"" if kept else "loop.retain_freed_memory = lambda: False"}
network, sampling = replace(ABLATION_BASE.network, weights="random"), replace(ABLATION_BASE.sampling, images_per_epoch=None)
once = replace(ABLATION_BASE.schedule, epochs=(1,))
recipe = replace(ABLATION_BASE, network=network, sampling=sampling, schedule=replace(once, epochs=(4,)))
pixels, codes = np.random.default_rng(0).integers(0, 255, (256, 64, 64, 3), "uint8"), np.arange(256, dtype="int32") % 8
network, _ = loop.build_network(recipe, 8)
with tempfile.TemporaryDirectory() as folder:
    loop.fit_network(network, replace(recipe, schedule=once), pixels, codes, np.arange(64), np.arange(8), 0, folder + "/warm.npz")
    print(loop.fit_network(network, recipe, pixels, codes, np.arange(256), np.arange(8), 0, folder + "/state.npz")[1])
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        took.append(float(done.stdout.split()[-1]))
    return {
        "what": "training EfficientNet-Lite0 at 64 px, seconds",
        "ours": took[0],
        "other": took[1],
        "other_is": "memory given back",
        "ratio": took[1] / took[0],
        "goal": "",
        "note": "random images; glibc only",
    }


def peak_memory(rows: int) -> float:
    "Peak resident MiB of a process, imports included, that fills and reads a cache of `rows` images."
    program = """
import resource, sys, tempfile, pathlib, numpy as np, pandas as pd
from bloodcell.data.pixels import Input, decode_images
root, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])
names = sorted(root.iterdir())
manifest = pd.DataFrame({"path": [names[n % len(names)].name for n in range(rows)], "sha256": [f"{n:064}" for n in range(rows)]})
with tempfile.TemporaryDirectory(dir=sys.argv[3]) as folder:
    cache = decode_images(manifest, root, Input(128), folder)
    order = np.random.default_rng(0).permutation(rows)
    for start in range(0, rows, 64):
        cache[order[start:start + 64]]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        slide = synthetic.draw_slide(np.random.default_rng(0))
        for number in range(40):
            image = synthetic.draw_image(synthetic.CELL_KINDS[number % len(synthetic.CELL_KINDS)], slide, np.random.default_rng(number))
            Image.fromarray(image).save(pictures / f"{number:02}.jpg")
        done = subprocess.run([sys.executable, "-c", program, str(pictures), str(rows), folder], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def bench_memory() -> dict:
    "Peak memory of filling and reading the cache with 1x and with 10x the images."
    once, tenfold = peak_memory(ROWS), peak_memory(10 * ROWS)
    return {
        "what": f"peak memory of a process with the cache, MiB, {10 * ROWS:,} images",
        "ours": tenfold,
        "other": once,
        "other_is": f"{ROWS:,} images",
        "ratio": tenfold / once,
        "goal": "flat (about 1)",
        "note": "128 px; 737 MB and 74 MB of pixels",
    }


@cache
def exported(to: str) -> tuple[PretrainedModel, Predictor, float]:
    "Return the released model, the answers of its file in another format, and that file's megabytes."
    preset = load_pretrained(DEFAULT_MODEL)
    with tempfile.TemporaryDirectory() as folder:
        file = export.export_pretrained(preset, to, f"{folder}/exported{export.EXPORT_FORMATS[to][0]}")
        return preset, load_predictor(file), file.stat().st_size / 1e6


def bench_format(to: str, batch: int) -> dict:
    "Cells a second that an exported preset names, against Keras."
    (preset, answer, megabytes), cells = exported(to), draw_test_cells(batch).astype("float32")
    slow = keras_predictor(preset.network)
    ours, theirs = rate(lambda: answer(cells), batch), rate(lambda: slow(cells), batch)
    return {
        "what": f"{DEFAULT_MODEL} as {to}, cells a second in batches of {batch}",
        "ours": ours,
        "other": theirs,
        "other_is": "Keras",
        "ratio": ours / theirs,
        "goal": "at most 1.5 ms" if batch == 1 else "at least 1,000",
        "note": f"{megabytes:.1f} MB; {1000 * batch / ours:.1f} ms a batch; with the search for the nucleus",
    }


def bench_start() -> dict:
    "Seconds from the start of `bloodcell predict` to its answer about ten cells, against the same by Keras."
    with tempfile.TemporaryDirectory() as folder:
        for number, cell in enumerate(draw_test_cells(10)):
            Image.fromarray(cell).save(f"{folder}/{number}.png")
        alone = shutil.copy(load_pretrained(DEFAULT_MODEL).file.with_suffix(".keras"), f"{folder}/alone.keras")
        took = []
        for model in (DEFAULT_MODEL, alone):
            start = time.perf_counter()
            command = [Path(sys.executable).parent / "bloodcell", "predict", folder, "--model", model]
            subprocess.run(command, check=True, capture_output=True)
            took.append(time.perf_counter() - start)
    return {
        "what": "bloodcell predict on ten cells from its start, seconds",
        "ours": took[0],
        "other": took[1],
        "other_is": "Keras",
        "ratio": took[1] / took[0],
        "goal": "under 5 s",
        "note": "most of it is imports",
    }


def run_benchmarks() -> pd.DataFrame:
    "Run every benchmark, print its ratio, and write and return the table."
    name, root, usable = find_images()
    cache = decode_images(usable, root, Input(SIZE))
    codes = usable["label"].astype("category").cat.codes.to_numpy("int32")
    print(f"{len(usable):,} images of {name}, {os.cpu_count()} cores, Keras on {keras.config.backend()}", flush=True)
    rows = []
    for bench in (
        bench_memory,
        lambda: bench_decoding(root, usable),
        lambda: bench_augmentation(root, usable, cache),
        lambda: bench_head(usable, cache, codes),
        bench_training,
        *(partial(bench_format, to, batch) for to in export.EXPORT_FORMATS for batch in (1, 64)),
        bench_start,
    ):
        rows.append(bench() | {"data": name})
        print(
            f"{rows[-1]['what']}: {rows[-1]['ours']:.1f} against {rows[-1]['other']:.1f} ({rows[-1]['other_is']}), "
            f"ratio {rows[-1]['ratio']:.1f}",
            flush=True,
        )
    table = pd.DataFrame(rows)
    print(write_table(table, home() / "runs/bench/bench.csv"))
    return table


if __name__ == "__main__":
    run_benchmarks()
