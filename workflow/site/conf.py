"""Sphinx's settings for the site: `make docs`."""

from bloodcell import __version__

project = "bloodcell"
author = "The bloodcell authors"
copyright = "2026 onwards, the bloodcell authors"  # noqa: A001  # Sphinx's name for it
release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
nb_execution_mode = "off"  # the chapters hold their outputs
nb_merge_streams = True
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
html_theme = "furo"
html_title = "bloodcell"
html_static_path = ["static"]
html_css_files = ["bloodcell.css"]
html_js_files = ["bloodcell.js"]
html_show_sourcelink = False
autodoc_inherit_docstrings = False
