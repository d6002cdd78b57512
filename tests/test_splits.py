"""Whatever the data look like, a split keeps groups whole, loses no image, and a leak is found."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloodcell.core.config import BloodcellError
from bloodcell.data.splits import SPLITS, apply_published_split, check_split, hold_out, split_hash


@st.composite
def manifests(draw):
    "Two to five classes of 10 to 60 images, in groups of one to six images, some groups across classes."
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes, largest = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    labels = np.concatenate([[f"class {place}"] * draw(st.integers(10, 60)) for place in range(classes)])
    groups = [f"g{number}" for number in rng.integers(0, max(len(labels) // largest, 4 * classes), len(labels))]
    return pd.DataFrame(
        {
            "path": [f"{n}.png" for n in range(len(labels))],
            "label": labels,
            "group": groups,
            "part": "",
            "sha256": [f"{n:064x}" for n in range(len(labels))],
        }
    )


@given(manifests(), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_groups_stay_whole(manifest, seed):
    split = hold_out(manifest, seed=seed)
    assert split["path"].tolist() == manifest["path"].tolist()
    assert (split.groupby("group")["split"].nunique() == 1).all()
    assert set(split["split"]) <= set(SPLITS)
    assert split_hash(split) == split_hash(hold_out(manifest, seed=seed))


@given(manifests(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_leak_is_found(manifest, data):
    split = hold_out(manifest)
    group = data.draw(st.sampled_from(sorted(split.loc[split["group"].duplicated(), "group"].unique()) or ["none"]))
    rows = split.index[split["group"] == group]
    if len(rows) < 2:
        return
    split.loc[rows[0], "split"] = "test" if split.loc[rows[1], "split"] != "test" else "train"
    with pytest.raises(BloodcellError, match="leaks"):
        check_split(split)


def test_an_empty_or_complete_test_part_is_refused():
    manifest = pd.DataFrame({"path": ["a", "b"], "label": "x", "group": ["a", "b"], "part": "TRAIN", "sha256": ["a", "b"]})
    for part in ("TEST", "TRAIN"):
        with pytest.raises(BloodcellError, match="cannot be the test part"):
            apply_published_split(manifest, part)
