"""Equations as MathML, which browsers draw themselves: no script, no network. LaTeX as far as docutils knows it."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger
from sphinx.writers.html5 import HTML5Translator


def mathml(node: nodes.Element, as_block: bool) -> str:
    """The equation of a node; what docutils cannot read is a warning that says where."""
    try:
        return tex2mathml(node.astext(), as_block)
    except MathError as error:
        getLogger(__name__).warning("equation: %s", error, location=node)
        return ""


def inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="equation">{mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
