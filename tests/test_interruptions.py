"""Work that is interrupted leaves no incomplete result and resumes where it stopped."""

from unittest import mock

import numpy as np
import pytest

from bloodcell.core.config import BloodcellError
from bloodcell.data import catalog, synthetic
from bloodcell.data.pixels import Input, decode_images, load_image


def stop_after(calls, function):
    "The function, until it has been called so often; then Ctrl-C."
    count = iter(range(calls))

    def wrapped(*arguments, **options):
        if next(count, None) is None:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return wrapped


def test_an_interrupted_drawing_leaves_no_data_set(tmp_path):
    with mock.patch("bloodcell.data.synthetic.draw_image", stop_after(5, synthetic.draw_image)), pytest.raises(KeyboardInterrupt):
        synthetic.write_synthetic_dataset(tmp_path / "set", images_per_class=2, slides=2)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(list(synthetic.write_synthetic_dataset(tmp_path / "set", images_per_class=2, slides=2).rglob("*.jpg"))) == 16


@pytest.fixture
def small_set(tmp_path):
    root = synthetic.write_synthetic_dataset(tmp_path / "set", images_per_class=3, slides=3, size=32) / synthetic.LAYOUT_FOLDER
    return catalog.scan_folder(catalog.CATALOG["pbc"], root), root


def test_an_interrupted_cache_decodes_only_what_is_missing(small_set, tmp_path):
    manifest, root = small_set
    whole = decode_images(manifest, root, Input(16), tmp_path / "whole")
    with mock.patch("bloodcell.data.pixels.DECODE_CHUNK", 4):
        with mock.patch("bloodcell.data.pixels.load_image", stop_after(18, load_image)), pytest.raises(KeyboardInterrupt):
            decode_images(manifest, root, Input(16), tmp_path / "broken")
        with mock.patch("bloodcell.data.pixels.load_image", stop_after(8, load_image)):  # 16 of 24 were done
            again = decode_images(manifest, root, Input(16), tmp_path / "broken")
    assert np.array_equal(again[:], whole[:])


def test_an_unwritable_cache_raises_an_error_with_its_path(small_set, tmp_path):
    manifest, root = small_set
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BloodcellError, match="file/cache"):
        decode_images(manifest, root, Input(16), tmp_path / "file/cache")
