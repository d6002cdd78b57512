"""The claims about real images that are cheap to check; skipped where there are none."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bloodcell import datasets, images, quality
from bloodcell.dataset import subsample
from bloodcell.splits import check, hold_out, published
from bloodcell.transfer import features, frozen


def usable_images(name):
    entry, root = datasets.find(name)
    return entry, root, *quality.exclude(quality.inspect(datasets.scan(entry, root), root))


def test_pbc_has_one_file_that_is_no_image(real_data):
    entry, root, usable, excluded = usable_images("pbc")
    assert excluded["path"].tolist() == ["neutrophil/.DS_169665.jpg"] and len(usable) == 13_666
    assert set(usable["label"]) == set(datasets.CLASSES)
    ig = usable[usable["label"] == "ig"]["subclass"].value_counts()
    assert ig[["myelocyte", "metamyelocyte", "promyelocyte"]].tolist() == [910, 831, 450]
    check(hold_out(usable))


def test_kaggle_keeps_its_published_parts(real_data):
    entry, root, usable, excluded = usable_images("kaggle")
    assert len(usable) == 9_957 + 2_487 and len(excluded) == 71
    split = check(published(usable, entry.test_part))
    assert split["split"].value_counts()["test"] == 2_487 and len(split) == 9_957 + 2_487 - 200  # 200 show a field that TEST shows too


def test_the_published_hash_covers_the_published_files(real_data):
    entry, root = datasets.find("kaggle")
    manifest = datasets.scan(entry, root)
    assert len(manifest) == 12_515  # the files the hash of the full download is made of
    whole = datasets.content_hash(manifest) == datasets.CONTENT_HASH["kaggle"]
    assert whole == (quality.read_image(root / manifest["path"][0]).shape == (240, 320, 3))  # smaller copies have another hash


def test_lisc_excludes_mixed_fields(real_data):
    entry, root, usable, excluded = usable_images("lisc")
    assert len(usable) == 242 and len(excluded) == 8 and set(usable["label"]) == set(datasets.WHITE_CELLS)


def test_imagenet_features_tell_the_cells_apart(real_data, tmp_path, own_home):
    from bloodcell.recipes import BACKBONES, weights_file

    if weights_file(BACKBONES["MobileNetV2"]) is None:
        import pytest

        pytest.skip("needs MobileNetV2's ImageNet weights in BLOODCELL_DATA/weights")
    entry, root, usable, _ = usable_images("pbc")
    split = check(hold_out(subsample(usable, 800)))
    cache = images.build(split, root, images.Pixels(128), tmp_path)
    vectors = features(frozen("MobileNetV2", 128)[0], cache, tmp_path)[:]
    train, test = split["split"] == "train", split["split"] == "test"
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.01)).fit(vectors[train], split["label"][train])
    assert probe.score(vectors[test], split["label"][test]) > 0.75  # one in eight by chance; all images reach 0.9
