"""One nucleus finder: NumPy for training and the graph for deployment find the same nucleus and cut out the same pixels."""

import numpy as np
import pytest
from conftest import REPOSITORY  # noqa: F401  # sets the environment before Keras is imported

from bloodcell.core.config import BloodcellError
from bloodcell.data import catalog, synthetic
from bloodcell.data.nucleus import INPUT_SIDE, crop_nucleus, find_nucleus
from bloodcell.data.pixels import Input, crop_cells
from bloodcell.data.quality import exclude_unusable, inspect_images, open_image
from bloodcell.models.layers import NucleusCrop

SIZE = 128
REAL = ("pbc", "bccd", "lisc", "raabin", "deepapl")


def in_both(pictures):
    "Row, column and diameter (pixels) and the crops, by NumPy and by the graph."
    nuclei = [find_nucleus(picture) for picture in pictures]
    places = np.array([(one.row, one.column, one.diameter) if one else (INPUT_SIDE / 2, INPUT_SIDE / 2, 0) for one in nuclei])
    crops = np.stack([crop_nucleus(picture, one, SIZE, 2.0) for picture, one in zip(pictures, nuclei, strict=True)])
    found, places_of_graph = (np.asarray(value) for value in NucleusCrop(SIZE, 2.0)(np.stack(pictures).astype("float32")))
    return places, crops, places_of_graph * INPUT_SIDE, found


def check(pictures):
    places, crops, places_of_graph, crops_of_graph = in_both(pictures)
    assert np.abs(places - places_of_graph).max() < 0.01, "centre and diameter, in pixels"
    assert np.abs(crops - crops_of_graph).max() < 0.1, "of 255 grey levels"


def extremes():
    side, rng = INPUT_SIDE, np.random.default_rng(0)
    chess = (np.indices((side, side)).sum(axis=0) // 4 % 2 * 255)[..., None].repeat(3, axis=2)
    return [np.full((side, side, 3), value, "uint8") for value in (0, 128, 255)] + [
        chess.astype("uint8"),
        rng.integers(0, 256, (side, side, 3), "uint8"),
    ]


def test_synthetic_cells_and_extreme_pixels():
    rng = np.random.default_rng(0)
    drawn = [
        synthetic.draw_image(kind, synthetic.draw_slide(rng), rng, INPUT_SIDE) for kind in (*synthetic.CELL_KINDS, None) for _ in range(4)
    ]
    check(drawn + extremes())


@pytest.mark.parametrize("name", REAL)
def test_real_cells(real_data, name):
    try:
        entry, root = catalog.find_data(name)
    except BloodcellError:
        pytest.skip(f"{name} is not in BLOODCELL_DATA")
    images = catalog.scan_folder(entry, root)
    images = exclude_unusable(inspect_images(images.iloc[:: max(len(images) // 60, 1)], root))[0]
    pixels = Input(INPUT_SIDE, "picture", anywhere=bool(entry.preparation.get("anywhere")))
    check(
        [
            pixels.read(root / row.path, root / catalog.mask_path(entry, row.path) if getattr(row, "mask", "") else None)
            for row in images.itertuples()
        ]
    )


def test_a_picture_without_a_nucleus_has_none():
    side = INPUT_SIDE
    red_cells = np.full((side, side, 3), 230, "uint8")
    for row, column in ((30, 40), (70, 90), (120, 50)):
        red_cells[np.hypot(*(np.indices((side, side)) - np.array([[[row]], [[column]]]))) < 18] = (210, 150, 140)
    places = np.asarray(NucleusCrop(SIZE)(np.stack([red_cells, *extremes()[:3]]).astype("float32"))[1])
    assert (places[:, 2] == 0).all() and all(find_nucleus(picture) is None for picture in (red_cells, *extremes()[:3]))


def test_every_cell_of_a_photograph_with_two_is_mostly_found(real_data):
    entry, root = catalog.find_data("bccd")
    if not (root / "labels.csv").is_file():
        pytest.skip("no labels.csv beside the photographs")
    import pandas as pd

    table = pd.read_csv(root / "labels.csv").dropna(subset=["Category"])
    two = table[table["Category"].str.contains(",")]
    found = [len(crop_cells(open_image(root / f"JPEGImages/BloodImage_{number:05d}.jpg"))) for number in two["Image"].astype(int)]
    assert len(two) == 15 and sum(count == 2 for count in found) >= 9, found
