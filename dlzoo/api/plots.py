"""The plots of a run, which show themselves in a notebook."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from dlzoo.core.errors import UserError, did_you_mean


class Plots(Mapping[str, Path]):
    """Name of a plot -> its PNG file. As the last value of a notebook's cell, the plots are shown.

    Args:
        run: the run directory, for errors.
        files: name -> file.
    """

    def __init__(self, run: Path, files: Mapping[str, Path]) -> None:
        self._run, self._files = run, dict(files)

    def __getitem__(self, name: str) -> Path:
        """Return the file of a plot.

        Raises:
            UserError: if the run has no such plot.
        """
        if name not in self._files:
            raise UserError(f"{self._run} has no plot {name!r}; {did_you_mean(name, self._files)}")
        return self._files[name]

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"Plots({self._files!r})"

    def _repr_html_(self) -> str:
        if not self._files:
            return f"<p>{escape(str(self._run))} has no plots.</p>"
        return "\n".join(_figure(name, path) for name, path in self._files.items())


def _figure(name: str, path: Path) -> str:
    """Return a plot with its name; the image is part of the text, so that a saved notebook needs no other file."""
    data = b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img style="max-width: 640px" alt="{escape(name)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )
