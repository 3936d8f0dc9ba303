"""What CI runs, by name: `nox -s lint types docs tests package`. All of it in the environment that nox itself is in."""

from __future__ import annotations

import shutil
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "docs", "tests", "package"]


def python(session: nox.Session, *words: str) -> None:
    """Runs a module of this environment."""
    session.run(sys.executable, "-m", *words)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    python(session, "ruff", "check", ".")
    python(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types."""
    python(session, "mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, into build/docs; a warning is an error."""
    python(session, "sphinx", "-q", "-W", "--keep-going", "docs", "build/docs")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, or `nox -s tests -- -m "not slow"`."""
    python(session, "pytest", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """What is published, into dist/, and tried elsewhere; `nox -s package -- v1.2.3` refuses another version."""
    shutil.rmtree("dist", ignore_errors=True)
    python(session, "build", "--no-isolation")
    session.run(sys.executable, "tests/published.py", *session.posargs)
