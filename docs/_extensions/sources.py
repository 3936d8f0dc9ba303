"""Pages of source, by sphinx.ext.viewcode: links back to the reference where there is an entry, and none elsewhere.

viewcode takes every name of a module to be documented under the package that the first of them was."""

import re

from sphinx.application import Sphinx

BACK = re.compile(r'<a class="viewcode-back" href="[^"#]*#([\w.]+)">[^<]*</a>\n?')


def without_dead_ends(app: Sphinx, pagename: str, template: str, context: dict, doctree: object) -> None:
    if pagename.startswith("_modules/") and "body" in context:
        known = app.env.domains.python_domain.objects
        context["body"] = BACK.sub(lambda link: link[0] if link[1] in known else "", context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", without_dead_ends)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
