"""Augmented images have the moments of Keras's own layers, and do not depend on the number of threads."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from bloodcell.core.config import rng_for
from bloodcell.data import synthetic
from bloodcell.models import augment

COUNT = 2000


@pytest.fixture(scope="module")
def copies():
    "One synthetic cell, many times."
    cell = synthetic.draw_image(synthetic.CELL_KINDS[9], synthetic.draw_slide(np.random.default_rng(4)), np.random.default_rng(2), 48)
    return np.stack([cell] * COUNT)


def moments(images):
    "For each image the mean, the standard deviation, the mean difference of neighbours, and means of its quarters and its centre."
    pixels = images.astype("float64")
    quarters = pixels.reshape(len(pixels), 2, 24, 2, 24, 3).mean(axis=(2, 4, 5)).reshape(-1, 4)
    return np.column_stack(
        [
            pixels.mean(axis=(1, 2, 3)),
            pixels.std(axis=(1, 2, 3)),
            np.abs(np.diff(pixels, axis=1)).mean(axis=(1, 2, 3)),
            quarters,
            pixels[:, 20:28, 20:28].mean(axis=(1, 2, 3)),
        ]
    )


def assert_same_distribution(one, other):
    "Means and variances differ by less than four standard errors."
    one, other = moments(one), moments(other)
    for power in (1, 2):
        first, second = ((values - values.mean(axis=0) * (power - 1)) ** power for values in (one, other))
        error = np.sqrt((first.var(axis=0) + second.var(axis=0)) / COUNT) + 0.02  # rounding to bytes
        assert (np.abs(first.mean(axis=0) - second.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize("fill_mode", augment.BORDERS)
@pytest.mark.parametrize(
    "ours, layer",
    [
        (dict(rotation=30), lambda **options: keras.layers.RandomRotation(30 / 360, **options)),
        (dict(shift=(0.2, 0.1)), lambda **options: keras.layers.RandomTranslation(0.2, 0.1, **options)),
        (dict(flip=(False, True)), lambda fill_mode, seed: keras.layers.RandomFlip("horizontal", seed=seed)),
        (dict(flip=(True, False)), lambda fill_mode, seed: keras.layers.RandomFlip("vertical", seed=seed)),
    ],
)
def test_each_step_has_the_moments_of_its_keras_layer(copies, ours, layer, fill_mode):
    changed = augment.RandomAffine(**ours, fill_mode=fill_mode)(copies, rng_for(0, "moments"))
    expected = keras.ops.convert_to_numpy(layer(fill_mode=fill_mode, seed=1)(copies.astype("float32"), training=True))
    assert_same_distribution(changed, expected)


def test_the_matrices_have_the_ranges_of_their_arguments():
    affine = augment.RandomAffine(rotation=180, shift=(0.1, 0.2), flip=(True, False), scale=(0.8, 1.3))
    matrices = affine.matrices(rng_for(0, "matrices"), 20000, 100, 50)
    scale = np.abs(np.linalg.det(matrices[:, :, :2])) ** -0.5
    shift = (matrices @ [24.5, 49.5, 1] - [24.5, 49.5]) / [50, 100]  # of the centre
    assert 0.8 <= scale.min() and scale.max() <= 1.3
    assert abs(scale.mean() - 1.05) < 0.005 and abs(scale.std() - 0.5 / 12**0.5) < 0.005
    assert np.allclose(np.abs(shift).max(axis=0), [0.2, 0.1], atol=0.001)
    assert np.allclose(shift.std(axis=0), np.array([0.2, 0.1]) / 3**0.5, atol=0.002)
    assert abs((np.linalg.det(matrices[:, :, :2]) < 0).mean() - 0.5) < 0.02
    assert np.abs((matrices[:, 0, 0] * scale).mean()) < 0.02 and abs((matrices[:, 0, 0] * scale).var() - 0.5) < 0.02  # all angles


@pytest.mark.parametrize(
    "change",
    [augment.RandomAffine(30, (0.2, 0.2), (True, True)), augment.StainJitter(0.3, 0.2, 0.15, 0.05), augment.CameraJitter(2.0, 0.05, 0.2)],
)
def test_the_number_of_threads_changes_nothing(copies, change, monkeypatch):
    batch = copies[:40]
    usual = change(batch, rng_for(0, "threads"))
    with ThreadPoolExecutor(1) as single:
        monkeypatch.setattr(augment, "_pool", lambda: single)
        assert np.array_equal(change(batch, rng_for(0, "threads")), usual)
