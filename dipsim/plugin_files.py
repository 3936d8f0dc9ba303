"""Which files of the user's are loaded as plug-ins, and which code is the user's own."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

from dipsim.documents import read_text
from dipsim.errors import DipsimError
from dipsim.registry import INSTALLED, told_of

_PREFIX = "dipsim_plugin_"
_texts: dict[str, str] = {}  # of the files that were loaded, by the name of the module


def load(path: str | Path) -> ModuleType:
    """Runs a file of Python, so that what it registers is found by name; once, as long as its content stays the same.

    Only what a user types comes here: never a path that a trace, a spec, a profile or a result names.

    Raises:
        DipsimError: it is no file of UTF-8, no Python, or raises something.
    """
    where = f"plugin '{path}'"
    place = Path(path).absolute()
    text = read_text(place, where)
    # The same file has the same name in every process, so that what it defines is the same.
    name = f"{_PREFIX}{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"
    if _texts.get(name) == text:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(place)
    sys.modules[name], _texts[name] = module, text  # a dataclass looks its module up
    try:
        exec(compile(text, str(place), "exec", dont_inherit=True), vars(module))  # noqa: S102 - what `--plugin` is for
    except BaseException as error:
        del sys.modules[name], _texts[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise DipsimError(f"{where}: {_told(error)}") from error
    return module


def _told(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    return str(error) if isinstance(error, DipsimError) else told_of(error)


def text_of(module: str) -> str | None:
    """What the file said when it was loaded; None of a module that is no plug-in file."""
    return _texts.get(module)


def is_users_own(module: str) -> bool:
    """Whether it is neither dipsim's, nor Python's, nor of an installed package: a script, a notebook, a plug-in file,
    a module on the user's path."""
    top = module.partition(".")[0]
    if top in ("", "dipsim") or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not file.startswith(INSTALLED)
