"""The git checkout that the code is run from."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path


def git_commit() -> str | None:
    """Return the commit of the code, with "-dirty" appended if files were changed; None outside a checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():  # an installed package may be inside another repository
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    with suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return None
