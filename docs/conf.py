"""How the documentation is built: Sphinx, MyST, docstrings; nothing is fetched from a network."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "dipsim"
author = "The dipsim authors"
release = metadata.version("dipsim")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "commands",
    "docstrings",
    "mathml",
    "sources",
]
exclude_patterns = ["_extensions"]
language = "en"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks show the outputs that they were kept with; tests run them
smartquotes_action = "D"  # quotes stay as they are typed
html_math_renderer = "mathml"

copybutton_selector = "div:not(.output) > div.highlight pre"

default_role = "py:obj"  # docstrings set names in single backticks
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
# Arrays keep the names that the code gives them.
autodoc_type_aliases = {
    name: name
    for name in ("BoolArray", "Float32Array", "Float64Array", "Int32Array", "Int64Array", "Uint16Array", "Overlap")
}
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_title = f"dipsim {release}"
html_static_path = ["_static"]
html_css_files = ["dipsim.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
