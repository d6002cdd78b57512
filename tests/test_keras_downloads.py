"""Where Keras can download its weights, nothing else is needed: its own download code, against a server on this machine.

The files served are in Keras's format and hold random weights: what is tested is the way, not what a backbone knows."""

import hashlib
import http.server
import threading
from functools import partial

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from keras.src.utils import file_utils

from bloodcell.models.backbones import load_backbone, load_frozen_backbone
from bloodcell.models.weights import NoWeights

SIZE = 80  # pixels; InceptionV3 takes no less than 75


@pytest.fixture
def server(tmp_path, monkeypatch):
    "A folder that a local server hands out under the names Keras asks for, in place of Keras's own address; what was asked for."
    for name in ("served", "no weights", "keras"):  # a cache folder that is not there is not made: Keras takes another
        (tmp_path / name).mkdir()
    monkeypatch.setenv("BLOODCELL_WEIGHTS", str(tmp_path / "no weights"))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    asked, download = [], file_utils.get_file
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()

        def local(name, origin, **options):
            asked.append(name)
            there = tmp_path / "served" / name
            digest = hashlib.md5(there.read_bytes()).hexdigest() if there.is_file() else None
            options |= {"cache_dir": str(tmp_path / "keras"), "file_hash": digest}
            return download(name, f"http://127.0.0.1:{running.server_port}/{name}", **options)

        monkeypatch.setattr(file_utils, "get_file", local)
        yield tmp_path / "served", asked
        running.shutdown()


KERNELS = "weights_tf_dim_ordering_tf_kernels"
FILES = {
    name: f"{start}_{KERNELS}_{end}.h5"
    for name, start, end in (
        ("VGG19", "vgg19", "notop"),
        ("ResNet101", "resnet101", "notop"),
        ("ResNet152", "resnet152", "notop"),
        ("InceptionV3", "inception_v3", "notop"),
        ("DenseNet201", "densenet201", "notop"),
        ("MobileNetV2", "mobilenet_v2", "1.0_224_no_top"),
    )
}


@pytest.mark.parametrize("name", FILES)
def test_a_backbone_runs_with_the_weights_that_keras_downloads(server, name):
    served, asked = server
    keras.utils.set_random_seed(1)
    source = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3))
    with h5py.File(served / FILES[name], "w") as file:
        save_weights_to_hdf5_group(file, source)
    network, weights = load_backbone(name, SIZE)
    assert weights == "keras.applications" and asked == [FILES[name]]
    assert all(np.array_equal(one, two) for one, two in zip(network.get_weights(), source.get_weights(), strict=True))


def test_a_download_that_fails_says_what_to_do(server):
    with pytest.raises(NoWeights, match="connect to the internet once.*vgg19_\\*notop.h5"):
        load_frozen_backbone("VGG19", SIZE)
