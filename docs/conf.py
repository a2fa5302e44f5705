"""Sphinx configuration."""

from hybrid_attention.ablation import COLUMNS as ABLATION_COLUMNS
from hybrid_attention.study import COLUMNS as STUDY_COLUMNS

project = "hybrid-attention"
author = "The hybrid-attention authors"
copyright = "2026, the hybrid-attention authors"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_heading_anchors = 2
myst_enable_extensions = ["dollarmath", "colon_fence", "substitution"]


def _columns(columns: dict) -> str:
    """A table of columns as Markdown."""
    lines = [f"| `{name}` | {'' if c.unit == '1' else c.unit} | {c.meaning} |" for name, c in columns.items()]
    return "\n".join(["| column | unit | |", "|---|---|---|", *lines])


myst_substitutions = {"study_columns": _columns(STUDY_COLUMNS), "ablation_columns": _columns(ABLATION_COLUMNS)}
nb_execution_mode = "off"
html_theme = "furo"
html_title = "hybrid-attention"
exclude_patterns = ["_build", "jupyter_execute"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_rtype = False


def _bars_are_bars(app, what, name, obj, options, lines):
    """Absolute values and kets in docstrings are not reStructuredText substitutions."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", _bars_are_bars)
