"""How docstrings are shown: what Napoleon would take for a type, and signatures that no reader calls."""

import pydantic
from sphinx.application import Sphinx

# Objects of these are handed out, not made by a reader.
HANDED_OUT = {
    "dipsim.Result",
    "dipsim.Trace",
    "dipsim.results.Headroom",
    "dipsim.results.Explanation",
    "dipsim.plots.Plot",
    "dipsim.evaluation.Evaluation",
}


def keep_colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Napoleon reads `type: text` on the first line of a property; ours are sentences."""
    if what in ("property", "attribute", "data"):
        lines.insert(0, "")


def without_noise(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    """Records are read from files, protocols are implemented: how one would call them says nothing."""
    is_record = isinstance(obj, type) and issubclass(obj, pydantic.BaseModel)
    if is_record or getattr(obj, "_is_protocol", False) or name in HANDED_OUT:
        return "", None
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before Napoleon
    app.connect("autodoc-process-signature", without_noise)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
