"""Overlapping fields: a planted overlap joins groups, groups can be read from file names, and what is not known is said."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bloodcell.core.config import BloodcellError
from bloodcell.core.runs import open_run
from bloodcell.data import catalog, synthetic
from bloodcell.data.dataset import audit_data, prepare_dataset
from bloodcell.data.overlaps import find_overlaps
from bloodcell.reporting.archive import results_root
from bloodcell.training.predictions import read_predictions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A folder of 96 drawn cells without groups, in which one photograph was taken again with the stage moved."
    lab = (
        synthetic.write_synthetic_dataset(tmp_path_factory.mktemp("own") / "lab", images_per_class=12, slides=12) / synthetic.LAYOUT_FOLDER
    )
    rng = np.random.default_rng(0)
    kind, slide = synthetic.CELL_KINDS[0], synthetic.draw_slide(rng)
    wide = np.concatenate([np.asarray(synthetic.draw_image(kind, slide, rng)) for _ in range(2)], axis=1)
    side = wide.shape[0]
    for name, start in (("monocyte/S01_first.jpg", 0), ("neutrophil/S02_moved.jpg", side // 3)):
        Image.fromarray(wide[:, start : start + side]).save(lab / name, quality=90)
    return lab


def test_a_planted_overlap_is_found_and_never_split(folder, tmp_path):
    dataset = prepare_dataset(open_run(str(folder), "smoke", 0, str(tmp_path / "run")))
    assert dataset.overlapping[["first", "second"]].values.tolist() == [["monocyte/S01_first.jpg", "neutrophil/S02_moved.jpg"]]
    planted = dataset.images[dataset.images["path"].isin(["monocyte/S01_first.jpg", "neutrophil/S02_moved.jpg"])]
    assert planted["group"].nunique() == 1 and planted["split"].nunique() == 1
    assert not dataset.gives_groups


def test_a_study_without_groups_says_so(folder, tmp_path, capsys):
    from bloodcell.reporting.workbench import open_study

    open_study(str(folder), "smoke", out=str(tmp_path / "run"))
    told = capsys.readouterr().out
    assert "names no slide or patient" in told and "--group-from" in told and "joined 2 of its images into 1 groups" in told
    assert "group-disjoint" not in told


def test_groups_are_read_from_file_names(folder, tmp_path):
    found, _ = audit_data(str(folder), r"^(S\d+)_")
    groups = found.images.set_index("path")["group"]
    assert groups["monocyte/S01_first.jpg"] == groups["neutrophil/S02_moved.jpg"] == "S01"
    found.write(tmp_path, folder)
    table = pd.read_csv(tmp_path / "images.csv", keep_default_na=False)
    assert table["group"].ne("").sum() == 2 and catalog.gives_groups(catalog.entry_from_csv(tmp_path / "images.csv"))
    for pattern, message in (("^(nothing_)", "matches no file"), ("(", "invalid regular expression"), ("S", "has no group")):
        with pytest.raises(BloodcellError, match=message):
            audit_data(str(folder), pattern)


def test_a_plain_image_and_a_single_image_overlap_with_nothing(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((100, 100, 3), 230, "uint8")).save(tmp_path / name)
    images = pd.DataFrame({"path": ["a.png", "b.png"], "label": "cell"})
    assert find_overlaps(images, tmp_path).empty and find_overlaps(images.head(1), tmp_path).empty


def test_the_known_overlaps_of_lisc_are_found_again(real_data):
    entry, root = catalog.find_data("lisc")
    manifest = catalog.scan_folder(entry, root)
    usable = manifest[manifest["problem"] == ""]
    known = catalog.read_known_overlaps(entry, usable["path"].tolist())
    found = find_overlaps(usable, root)
    assert len(known) == 25 and set(zip(known["first"], known["second"], strict=True)) == set(
        zip(found["first"], found["second"], strict=True)
    )


def test_pbc_keeps_its_split_without_overlapping_images(real_data, tmp_path):
    dataset = prepare_dataset(open_run("pbc", "full", 0, str(tmp_path / "run")))
    run = next(iter(sorted(results_root().glob("pbc-*/experiments/*/group-disjoint/s0/predictions.csv.xz"))))
    stored, left_out = read_predictions(run), pd.read_csv(results_root() / "overlaps/left_out.csv").query("run == 'pbc-long-s0'")["image"]
    for part in ("validation", "test"):
        now = set(dataset.images.iloc[dataset.rows(part)]["path"])
        assert now == set(stored.loc[stored["split"] == part, "image"]) - set(left_out)
    assert dataset.images.groupby("group")["split"].nunique().max() == 1


def test_stored_groups_follow_the_pairs_that_were_found():
    groups = pd.read_csv(results_root() / "overlaps/groups.csv").set_index("image")["group"]
    for name in ("pbc", "lisc"):
        pairs = catalog.read_known_overlaps(catalog.CATALOG[name])
        assert (groups.reindex(pairs["first"]).to_numpy() == groups.reindex(pairs["second"]).to_numpy()).all()


def test_an_audit_does_not_turn_searched_groups_into_given_ones(folder, tmp_path):
    found, _ = audit_data(str(folder))
    found.write(tmp_path, folder)
    assert not catalog.gives_groups(catalog.entry_from_csv(tmp_path / "images.csv"))
    found, _ = audit_data(str(folder), r"^(?:S(\d+)|MO_(\d+))_")
    assert {"01", "02"} < set(found.images["given"])
