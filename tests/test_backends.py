"""Without TensorFlow, on JAX, an experiment runs from images to its record."""

import os
import subprocess
import sys

PROGRAM = """
import importlib.abc, sys
class NoTensorFlow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
sys.meta_path.insert(0, NoTensorFlow())
import tempfile
from dataclasses import replace
import numpy as np
from bloodcell.core.runs import open_run
from bloodcell.data.dataset import prepare_dataset
from bloodcell.models.backbones import load_frozen_backbone
from bloodcell.papers.registry import SRAVANI
from bloodcell.training.experiment import run_experiment
from bloodcell.training.recipes import Augmentation, Sampling
with tempfile.TemporaryDirectory() as folder:
    dataset = prepare_dataset(open_run("synthetic", "smoke", 0, folder))
    schedule = replace(SRAVANI.schedule, epochs=(2,), metrics=("accuracy", "f1_score"))
    changes = Augmentation({"rotation": 30, "shift": (0.1, 0.1)})
    recipe = replace(SRAVANI, schedule=schedule, sampling=Sampling(images=96), augmentation=changes)
    whole = run_experiment(recipe, dataset, 0, folder + "/whole")
    import keras
    assert keras.config.backend() == "jax" and "tensorflow" not in sys.modules
    for epochs in ((1,), (2,)):  # in two pieces
        broken = run_experiment(replace(recipe, schedule=replace(schedule, epochs=epochs)), dataset, 0, folder + "/broken")
    assert whole.predictions.equals(broken.predictions) and whole.history.equals(broken.history)
    assert whole.record["environment"]["keras_backend"] == "jax" and {"f1_score", "val_f1_score"} <= set(whole.history)
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), "uint8")
    vectors = load_frozen_backbone("MobileNetV2", 64, weights="random")[0].predict(noise, verbose=0)
    assert vectors.shape == (4, 1280) and np.isfinite(vectors).all()
print("ran on jax")
"""


def test_jax_alone_runs_experiments(tmp_path):
    variables = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    variables["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path)  # the three trainings compile the same network
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "ran on jax"
