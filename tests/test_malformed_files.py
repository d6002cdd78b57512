"""Malformed, misnamed and adversarial files are excluded with a reason; none stops the study with a stack trace."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bloodcell.core.config import BloodcellError
from bloodcell.core.runs import open_run
from bloodcell.data import synthetic
from bloodcell.data.audit import audit_images
from bloodcell.data.catalog import entry_from_folder, scan_folder
from bloodcell.data.dataset import prepare_dataset
from bloodcell.data.pixels import Input, decode_images
from bloodcell.data.quality import UnreadableImage, exclude_unusable, inspect_images, open_image


def encoded(form, mode="RGB", **options):
    "A small cell as bytes of the given format and mode."
    picture = Image.fromarray(
        synthetic.draw_image(synthetic.CELL_KINDS[0], synthetic.draw_slide(np.random.default_rng(0)), np.random.default_rng(0), 48)
    )
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def bomb():
    "A PNG of a few bytes that claims 60,000 x 60,000 pixels."

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


JPEG = encoded("JPEG")


@given(st.integers(0, len(JPEG) - 1))
@settings(max_examples=150, deadline=None)
def test_a_jpeg_cut_anywhere_is_read_or_refused(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "cut.jpg"
    path.write_bytes(JPEG[:length])
    try:
        image = np.asarray(open_image(path))
    except UnreadableImage as error:
        assert str(path) in str(error)
    else:
        assert image.shape == (48, 48, 3)
        assert length > len(JPEG) - 4  # only the end marker may be missing


@given(st.sampled_from(["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP"]), st.data())
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_are_read_or_refused(tmp_path_factory, form, data):
    content = bytearray(encoded(form))
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("flipped") / "flipped.jpg"
    path.write_bytes(bytes(content))
    try:
        image = np.asarray(open_image(path))
    except UnreadableImage as error:
        assert str(path) in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@pytest.fixture
def laboratory(tmp_path):
    "A folder of two classes with 12 good images each."
    for label in ("blast", "lymphocyte"):
        (tmp_path / "lab" / label).mkdir(parents=True)
        for number in range(12):
            picture = synthetic.draw_image(
                synthetic.CELL_KINDS[number % 5],
                synthetic.draw_slide(np.random.default_rng(number)),
                np.random.default_rng([number, len(label)]),
                48,
            )
            Image.fromarray(picture).save(tmp_path / "lab" / label / f"{number}.png")
    return tmp_path / "lab"


READABLE = {
    "cmyk.jpg": encoded("JPEG", "CMYK"),
    "grey.jpg": encoded("JPEG", "L"),
    "palette.gif": encoded("GIF", "P"),
    "alpha.png": encoded("PNG", "RGBA"),
    "png named.jpg": encoded("PNG"),
    "細胞 ö.jpg": JPEG,
    "l" * 240 + ".jpg": JPEG,
    "no extension": JPEG,
}
UNREADABLE = {
    "empty.jpg": b"",
    "text.jpg": b"no image",
    "cut.jpg": JPEG[: len(JPEG) // 2],
    "bomb.png": bomb(),
    ".DS_1.jpg": b"\0" * 90,
    "float.tif": encoded("TIFF", "F"),
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
}


def test_malformed_files_are_excluded_and_the_rest_is_cached(laboratory, tmp_path):
    for name, content in (READABLE | UNREADABLE).items():
        (laboratory / "blast" / name).write_bytes(content)
    (laboratory / "blast/folder.jpg").mkdir()
    (laboratory / "blast/broken.jpg").symlink_to(laboratory / "nowhere.jpg")
    usable, excluded = exclude_unusable(inspect_images(scan_folder(entry_from_folder(laboratory), laboratory), laboratory))
    expected = {f"blast/{name}" for name in [*UNREADABLE, "folder.jpg", "broken.jpg"]}
    assert set(excluded["path"]) == expected
    assert (excluded["problem"] != "").all() and not excluded["problem"].str.contains("Traceback|0x").any()
    assert len(usable) == 24 + len(READABLE)
    cache = decode_images(usable, laboratory, Input(32), tmp_path / "cache")
    assert cache[:].shape == (len(usable), 32, 32, 3)


def test_an_exif_rotation_is_applied(tmp_path):
    upright = Image.fromarray(np.arange(40 * 20 * 3, dtype="uint8").reshape(40, 20, 3))
    turned = Image.Exif()
    turned[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=turned)
    assert np.array_equal(open_image(tmp_path / "turned.png"), np.asarray(upright))


def test_a_hundred_thousand_files_in_one_folder(tmp_path):
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
    for source in ("a", "b"):  # a file may have at most 65,000 names
        (tmp_path / f"two/{source}.png").write_bytes(encoded("PNG"))
        for number in range(50_000):
            os.link(tmp_path / f"two/{source}.png", tmp_path / f"one/{source}{number}.png")
    manifest = scan_folder(entry_from_folder(tmp_path), tmp_path)
    assert len(manifest) == 100_002 and manifest["group"].nunique() == 1


def test_a_named_pipe_among_the_images_is_excluded_and_not_waited_for(laboratory):
    os.mkfifo(laboratory / "blast/pipe.jpg")
    _, excluded = exclude_unusable(inspect_images(scan_folder(entry_from_folder(laboratory), laboratory), laboratory))
    assert excluded["path"].tolist() == ["blast/pipe.jpg"] and "a pipe" in excluded["problem"].iloc[0]


def test_threads_leave_the_warning_filters_of_the_process_alone(laboratory, tmp_path):
    before = list(warnings.filters)
    for _ in range(5):
        usable, _ = exclude_unusable(inspect_images(scan_folder(entry_from_folder(laboratory), laboratory), laboratory))
    decode_images(usable, laboratory, Input(8), tmp_path / "cache")
    assert warnings.filters == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_excluded(laboratory):
    (laboratory / "blast/0.png").chmod(0)
    _, excluded = exclude_unusable(inspect_images(scan_folder(entry_from_folder(laboratory), laboratory), laboratory))
    assert excluded["path"].tolist() == ["blast/0.png"] and "ermission" in excluded["problem"].iloc[0]


def test_a_jpeg_cut_at_each_of_its_markers_is_refused(tmp_path):
    markers = [place for place in range(2, len(JPEG) - 2) if JPEG[place] == 0xFF and JPEG[place + 1] not in (0x00, 0xFF)]
    assert len(markers) > 5  # tables, frame, scan
    for place in markers:
        path = tmp_path / f"cut_at_{place}.jpg"
        path.write_bytes(JPEG[: place + 2])
        with pytest.raises(UnreadableImage, match=path.name):
            open_image(path)


@given(st.lists(st.sampled_from(sorted(READABLE | UNREADABLE)), unique=True), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_scan_audit_and_cache_handle_any_mixture_of_files(tmp_path_factory, names, seed):
    place, rng = tmp_path_factory.mktemp("mixture"), np.random.default_rng(seed)
    for label in ("blast", "lymphocyte"):
        (place / label).mkdir()
        for number in range(5):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype="uint8")).save(place / label / f"good {number}.png")
    for name in names:
        (place / ("blast", "lymphocyte")[rng.integers(2)] / name).write_bytes((READABLE | UNREADABLE)[name])
    usable, excluded = exclude_unusable(inspect_images(scan_folder(entry_from_folder(place), place), place))
    assert {Path(path).name for path in excluded["path"]} == set(names) & set(UNREADABLE)
    report = audit_images(usable, excluded, place)
    assert set(excluded["path"]) <= set(report.exclusions["path"])
    assert not any("good" in path for path in [*report.pairs["first"], *report.pairs["second"]])
    assert decode_images(usable, place, Input(16), place / "cache")[:].shape == (10 + len(set(names) & set(READABLE)), 16, 16, 3)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda lab: [path.unlink() for path in (lab / "blast").iterdir()], "is empty"),
        (lambda lab: [path.write_bytes(b"") for path in (lab / "blast").iterdir()], "no usable image of blast"),
        (lambda lab: [path.unlink() for path in list((lab / "blast").iterdir())[1:]], "single group"),
        (lambda lab: [path.rename(lab / path.name) for path in (lab / "blast").iterdir()] + [(lab / "blast").rmdir()], "1 class folder"),
    ],
)
def test_an_unusable_folder_raises_an_error_with_the_reason(laboratory, own_home, damage, message):
    damage(laboratory)
    with pytest.raises(BloodcellError, match=message):
        prepare_dataset(open_run(str(laboratory), "smoke", 0, str(own_home / "run")))


def test_identical_images_of_two_labels_stay_together(laboratory, own_home):
    for number in range(12):
        (laboratory / f"lymphocyte/copy{number}.png").write_bytes((laboratory / f"blast/{number}.png").read_bytes())
    split = prepare_dataset(open_run(str(laboratory), "smoke", 0, str(own_home / "run"))).images
    sides = split.groupby("sha256")["split"].nunique()
    assert len(split) == 36 and (sides == 1).all()


def test_a_missing_data_root_is_named(own_home, monkeypatch):
    monkeypatch.setenv("BLOODCELL_DATA", str(Path(own_home) / "nothing"))
    with pytest.raises(BloodcellError, match="BLOODCELL_DATA"):
        prepare_dataset(open_run("pbc", "smoke", 0, str(own_home / "run")))
