"""The claims about real images that are cheap to check; skipped where there are none."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bloodcell.data import catalog, quality
from bloodcell.data.dataset import subsample
from bloodcell.data.pixels import Input, decode_images
from bloodcell.data.splits import apply_published_split, check_split, hold_out
from bloodcell.models.backbones import compute_features, load_frozen_backbone


def usable_images(name):
    entry, root = catalog.find_data(name)
    return entry, root, *quality.exclude_unusable(quality.inspect_images(catalog.scan_folder(entry, root), root))


def test_pbc_has_one_file_that_is_not_an_image(real_data):
    entry, root, usable, excluded = usable_images("pbc")
    assert excluded["path"].tolist() == ["neutrophil/.DS_169665.jpg"] and len(usable) == 13_666
    assert set(usable["label"]) == set(catalog.CLASSES)
    ig = usable[usable["label"] == "ig"]["subclass"].value_counts()
    assert ig[["myelocyte", "metamyelocyte", "promyelocyte"]].tolist() == [910, 831, 450]
    check_split(hold_out(usable))


def test_kaggle_is_split_as_published(real_data):
    entry, root, usable, excluded = usable_images("kaggle")
    assert len(usable) == 9_957 + 2_487 and len(excluded) == 71
    split = check_split(apply_published_split(usable, entry.test_part))
    assert split["split"].value_counts()["test"] == 2_487 and len(split) == 9_957 + 2_487 - 526  # 526 show a field that TEST shows too


def test_the_published_hash_covers_the_published_files(real_data):
    entry, root = catalog.find_data("kaggle")
    manifest = catalog.scan_folder(entry, root)
    assert len(manifest) == 12_515  # the files the hash of the full download is made of
    whole = catalog.content_hash(manifest) == catalog.PUBLISHED_HASHES["kaggle"]
    assert whole == (quality.open_image(root / manifest["path"][0]).size == (320, 240))  # smaller copies have another hash


def test_lisc_excludes_mixed_fields(real_data):
    entry, root, usable, excluded = usable_images("lisc")
    assert len(usable) == 242 and len(excluded) == 8 and set(usable["label"]) == set(catalog.WHITE_CELLS)


def test_imagenet_features_separate_the_classes(real_data, tmp_path, own_home):
    from bloodcell.models.weights import BACKBONES, find_weights_file

    if find_weights_file(BACKBONES["MobileNetV2"]) is None:
        import pytest

        pytest.skip("needs MobileNetV2's ImageNet weights in BLOODCELL_DATA/weights")
    entry, root, usable, _ = usable_images("pbc")
    split = check_split(hold_out(subsample(usable, 800)))
    cache = decode_images(split, root, Input(128), tmp_path)
    vectors = compute_features(load_frozen_backbone("MobileNetV2", 128)[0], cache, tmp_path)[:]
    train, test = split["split"] == "train", split["split"] == "test"
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.01)).fit(vectors[train], split["label"][train])
    assert probe.score(vectors[test], split["label"][test]) > 0.75  # one in eight by chance; all images reach 0.9
