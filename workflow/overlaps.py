"""Search the real data sets for overlapping fields and write what was found: the pairs of PBC and LISC into the package, and two tables
beside the stored results (what was found where, and how many planted overlaps are found). Needs BLOODCELL_DATA; about 20 minutes.

    python workflow/overlaps.py
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from bloodcell.core.runs import write_table
from bloodcell.data import catalog, dataset, quality, splits
from bloodcell.data.overlaps import find_overlaps
from bloodcell.reporting.archive import results_root

SHIPPED = ("pbc", "lisc")  # data sets whose pairs are in the package
SIDE, PBC_SIDE = 363, 160  # pixels of a planted image, before and after it is brought to the size of PBC's copies
SHARES, EACH = (0.25, 0.5, 0.75), 90


def search(name: str) -> dict:
    "Return what the search finds in a data set, and write its pairs where the package has them."
    entry, root = catalog.find_data(name)
    manifest, _, pairs = dataset.read_manifest(replace(entry, overlaps={}), root)
    usable, _ = quality.exclude_unusable(manifest)
    if name in SHIPPED:
        write_table(pairs, catalog.PACKAGE_FOLDER / "data" / f"{name}_overlaps.csv")
        print(name, catalog.hash_paths(usable["path"].tolist()))
    before, place = splits.hold_out(usable.assign(group=usable["picture"])), usable.set_index("path")["picture"]
    after = dataset.draw_group_disjoint(entry, usable, 0)
    sizes = usable.groupby("group").size()[lambda sizes: sizes > 1] if not catalog.gives_groups(entry) else None
    part = before.set_index("path")["split"]
    return {
        "data": name,
        "images": len(usable),
        "pairs": len(pairs),
        "pairs_of_two_classes": int((pairs["first_label"] != pairs["second_label"]).sum()),
        "pairs_of_two_groups": int((pairs["first"].map(place) != pairs["second"].map(place)).sum()),
        "pairs_across_the_split_before": int((pairs["first"].map(part) != pairs["second"].map(part)).sum()),
        "groups_across_the_split_now": int((after.groupby("group")["split"].nunique() > 1).sum()),
        "left_out_now": len(usable) - len(after),
        "fields_of_several_images": pd.NA if sizes is None else len(sizes),
        "images_in_them": pd.NA if sizes is None else int(sizes.sum()),
        "largest_field": pd.NA if sizes is None else int(sizes.max()),
    }


def plant(folder: Path) -> pd.DataFrame:
    "Write PBC's images (as links) and pairs of crops of BCCD's photographs that share a known part; return their table."
    _, root = catalog.find_data("pbc")
    paths = [path.relative_to(root) for path in sorted(root.glob("*/*.jpg")) if not path.name.startswith(".")]
    for path in paths:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).symlink_to(root / path)
    table = pd.read_csv(catalog.PACKAGE_FOLDER / "data/kaggle_photographs.csv")
    rng, alone = np.random.default_rng(0), table[~table["group"].duplicated(keep=False)]["path"]
    (folder / "planted").mkdir()
    _, photographs = catalog.find_data("bccd")
    for number, name in enumerate(rng.permutation(alone)[: EACH * len(SHARES)]):
        share = SHARES[number // EACH]
        image, shift = Image.open(photographs / name).convert("RGB"), round(SIDE * (1 - share))
        left, top = rng.integers(0, image.width - SIDE - shift + 1), rng.integers(0, image.height - SIDE + 1)
        for part, start in (("a", left), ("b", left + shift)):
            crop = image.crop((start, top, start + SIDE, top + SIDE)).resize((PBC_SIDE, PBC_SIDE), Image.Resampling.LANCZOS)
            crop.save(folder / f"planted/{share:.2f}_{number:03d}{part}.jpg", quality=90)
    paths += sorted(path.relative_to(folder) for path in (folder / "planted").iterdir())
    return pd.DataFrame({"path": [path.as_posix() for path in paths], "label": [path.parent.name for path in paths]})


def measure_recall() -> pd.DataFrame:
    "Return, for each share of the area, how many planted overlaps are found among PBC's images, and how many wrong pairs there are."
    with tempfile.TemporaryDirectory() as place:
        images = plant(Path(place))
        pairs = find_overlaps(images, place)
    planted = images[images["label"] == "planted"]["path"]
    pairs = pairs[pairs["first"].isin(planted) | pairs["second"].isin(planted)]
    right = pairs["first"].str.slice(0, -5) == pairs["second"].str.slice(0, -5)
    rows = []
    for share in SHARES:
        name = f"planted/{share:.2f}_"
        rows.append(
            {
                "share": share,
                "planted": int(planted.str.startswith(name).sum()) // 2,
                "found": int((right & pairs["first"].str.startswith(name)).sum()),
                "wrong_pairs": int((~right & (pairs["first"].str.startswith(name) | pairs["second"].str.startswith(name))).sum()),
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_table(
        pd.DataFrame([search(name) for name in ("pbc", "lisc", "bccd", "raabin", "deepapl")]), results_root() / "overlaps/found.csv"
    )
    write_table(measure_recall(), results_root() / "overlaps/planted.csv")
