"""Without TensorFlow, on JAX, everything up to the predictions works."""

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
import keras, numpy as np
from bloodcell import augment, catalog, cnn, figures, images, metrics, prepare, quality, recipes, splits, synthetic, train, transfer
assert keras.config.backend() == "jax" and "tensorflow" not in sys.modules
rng, codes = np.random.default_rng(0), np.arange(64, dtype="int32") % 2
pictures = rng.integers(0, 120, (64, 60, 60, 3), "uint8")
pictures[codes == 1, :, :, 0] += 120
with tempfile.TemporaryDirectory() as folder:
    histories = []
    for epochs in ([4], [2, 4]):  # in one go, and in two
        place = tempfile.mkdtemp(dir=folder)
        for until in epochs:
            train.set_seed(0)
            history = train.fit(cnn.sravani_cnn(2), recipes.SRAVANI_CNN, pictures, codes, np.arange(48), np.arange(48, 64), until, 0,
                                place, augment.augmentation("khalil"))
        histories.append(history)
assert histories[0].equals(histories[1]), histories
assert len(history) == 4 and history["val_loss"].iloc[-1] < history["val_loss"].iloc[0]
with tempfile.TemporaryDirectory() as folder:
    train.set_seed(0)
    history = train.fit(cnn.khalil_scratch(2, 60), recipes.KHALIL_SCRATCH, pictures, codes, np.arange(48), np.arange(48, 64), 2, 0, folder)
    assert history[["f1_score", "val_f1_score"]].to_numpy().min() > 0, history  # paper K's metric
larger = rng.integers(0, 255, (4, 64, 64, 3), "uint8")
vectors = transfer.frozen("MobileNetV2", 64, weights="random")[0].predict(larger, verbose=0)
assert vectors.shape == (4, 1280) and np.isfinite(vectors).all()
print("trained on jax")
"""


def test_jax_alone_trains_the_networks():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=600,
                          env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "trained on jax"
