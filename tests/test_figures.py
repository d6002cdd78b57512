"""Every figure of the library's chapters: no text over another, no pale words on white, no empty panel."""

import itertools
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from conftest import REPOSITORY
from matplotlib.colors import to_rgb

from bloodcell.plots import charts

CHAPTERS = ("plots/00_charts", "plots/01_comparisons", "evaluation/05_compare")


def outside(axis):
    "The labels of ticks that lie beyond the axis, which are never drawn."
    low, high = sorted(axis.get_view_interval())
    slack = 1e-6 * (high - low)
    gone = [tick for tick in axis.get_major_ticks() if not low - slack <= tick.get_loc() <= high + slack]
    return {label for tick in gone for label in (tick.label1, tick.label2)}


def words(figure):
    "The texts that are drawn."
    figure.canvas.draw()
    hidden = set().union(*(outside(axis) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)))
    off = {text for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(mpl.text.Text)}
    return [text for text in figure.findobj(mpl.text.Text) if text.get_visible() and text.get_text().strip() and text not in hidden | off]


def overlaps(figure):
    "Pairs of texts whose boxes share more than a sixth of the smaller one."
    boxes = [(text.get_text(), text.get_window_extent()) for text in words(figure) if not text.get_rotation() % 90]
    for (first, one), (second, other) in itertools.combinations(boxes, 2):
        width, height = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        if width > 0 and height > 0 and width * height > min(one.width * one.height, other.width * other.height) / 6:
            yield first, second


def luminance(colour):
    values = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(colour)]
    return 0.2126 * values[0] + 0.7152 * values[1] + 0.0722 * values[2]


def pale(figure):
    "Words on white, outside the panels, with a contrast below 4.5 to 1 (WCAG 2)."
    inside = {text for axes in figure.axes for text in axes.texts}
    return [text.get_text() for text in words(figure) if text not in inside and 1.05 / (luminance(text.get_color()) + 0.05) < 4.5]


def empty(figure):
    "Panels with a frame and nothing in them."
    return [
        axes
        for axes in figure.axes
        if axes.axison
        and any(spine.get_visible() for spine in axes.spines.values())
        and not any((axes.lines, axes.collections, axes.patches, axes.images, axes.texts))
    ]


@pytest.mark.parametrize("name", CHAPTERS)
def test_figures_can_be_read(name, monkeypatch):
    monkeypatch.setattr(plt, "close", lambda *which: None)
    monkeypatch.chdir((REPOSITORY / f"nbs/{name}").parent)
    drawn, space = [], {}
    for cell in nbformat.read(REPOSITORY / f"nbs/{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(re.sub(r"^#\|.*$", "", cell.source, flags=re.M), name, "exec"), space)
        drawn += [plt.figure(number) for number in plt.get_fignums() if plt.figure(number) not in drawn]
    problems = {charts.describe_figure(figure): found for figure in drawn if (found := [*overlaps(figure), *pale(figure), *empty(figure)])}
    monkeypatch.undo()
    plt.close("all")
    assert drawn and not problems


def test_the_figure_checks_find_overlaps_pale_text_and_empty_panels():
    figure, axes = plt.subplots(1, 2)
    axes[0].text(0.5, 0.5, "one word")
    axes[0].text(0.51, 0.5, "another")
    axes[1].set_xlabel("pale", color="#E69F00")
    assert list(overlaps(figure)) == [("one word", "another")] and pale(figure) == ["pale"] and empty(figure) == [axes[1]]
    plt.close(figure)


def test_each_class_has_its_own_colour():
    colours = np.array([to_rgb(charts.class_colour(label)) for label in charts.CLASS_COLOURS])
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert distances[~np.eye(len(colours), dtype=bool)].min() > 0.2
