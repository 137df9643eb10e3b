"""Sphinx reads the Markdown pages of this folder: `sphinx-build -W docs docs/_build`."""

project = "Holdfast"
author = "The Holdfast developers"
extensions = ["myst_parser"]
html_theme = "alabaster"
exclude_patterns = ["_build", "examples"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
