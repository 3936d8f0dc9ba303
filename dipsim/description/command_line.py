"""How is an option typed in a shell?"""

from __future__ import annotations

import json
import shlex
from typing import Any

from dipsim.description.fields import flag_of


def typed(name: str, value: Any) -> list[str]:
    """An option with its value as words of a command line: a flag for yes or no, a pair for each of several."""
    flag = flag_of(name)
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, dict):
        return [f"--{flag} {shlex.quote(f'{key}={json.dumps(own)}')}" for key, own in value.items()]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{flag} {shlex.quote(str(own))}" for own in values]
