"""Names of the kinds that a network has found, given afterwards.

Nobody names anything in order to paint. Once the network tells kinds apart, each may be given a
name, and kinds that were given the same name are one: wherever a prediction is shown, split into
objects or exported, they have the lowest of their labels. What is stored stays as the network said
it, so that another name parts them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAST_LABEL = 254
"""Labels of a prediction are 1 to 254."""

LONGEST = 64
"""Characters of a name, at most."""


class Naming:
    """Names of labels, and which labels are one by them.

    Parameters
    ----------
    names : mapping
        Name by label, as read from a file; what is no label or no name is left out.

    Attributes
    ----------
    names : dict of int to str
        Name by label.
    """

    def __init__(self, names: object = None) -> None:
        self.names: dict[int, str] = {}
        self._shown = np.arange(256, dtype=np.uint8)
        self._merges = False
        self.set(_understood(names))

    def set(self, names: Mapping[int, str]) -> None:
        """Replace all names.

        Parameters
        ----------
        names : mapping of int to str
            Name by label; an empty name is none.

        Raises
        ------
        InputError
            If a label cannot be one of a prediction or a name cannot be used.
        """
        _check_kinds(names)
        tidy = {check_label(label): tidy_name(name) for label, name in sorted(names.items())}
        self.names = {label: name for label, name in tidy.items() if name}
        first: dict[str, int] = {}
        shown = np.arange(256, dtype=np.uint8)
        for label, name in self.names.items():
            shown[label] = first.setdefault(name, label)
        self._shown = shown  # in one step: others may be reading, in threads of their own
        self._merges = len(first) < len(self.names)

    def shown(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return labels as they are shown: of kinds with one name, the lowest.

        Parameters
        ----------
        labels : ndarray
            uint8, 0 to 255; returned as it is where no two kinds have one name.
        """
        return self._shown[labels] if self._merges else labels

    def one(self, label: int) -> int:
        """Return the label that a label is shown as: its own, or the lowest of its name."""
        return int(self._shown[label]) if 0 <= label < self._shown.size else label

    def name(self, label: int) -> str:
        """Return the name of a label, "" if it has none."""
        return self.names.get(label, "")

    def as_json(self) -> dict[str, str]:
        """Return the names as JSON has them: labels as text."""
        return {str(label): name for label, name in self.names.items()}


def _check_kinds(names: object) -> None:
    """Raise where these are no labels with names: whoever has a notebook may give anything."""
    pairs = names.items() if isinstance(names, Mapping) else [(None, None)]
    for label, name in pairs:
        if not isinstance(label, int | np.integer) or not isinstance(name, str):
            raise InputError(
                "These are no names of kinds",
                expected="a dictionary such as {1: 'nucleus'}",
                got=repr(names)[:LONGEST],
            )


def check_label(label: int) -> int:
    """Return a label of a prediction.

    Raises
    ------
    InputError
        If it is none.
    """
    if not 1 <= label <= LAST_LABEL:
        raise InputError("No label of a prediction", expected=f"1 to {LAST_LABEL}", got=str(label))
    return int(label)


def tidy_name(name: str) -> str:
    """Return a name without surrounding or repeated white space.

    Raises
    ------
    InputError
        If it is too long or holds what cannot be printed.
    """
    tidy = " ".join(name.split())
    if len(tidy) > LONGEST or not tidy.isprintable():
        raise InputError(
            "The name cannot be used",
            expected=f"at most {LONGEST} printable characters",
            got=f"{len(tidy)}: {tidy[:LONGEST]!r}",
        )
    return tidy


def _understood(names: object) -> dict[int, str]:
    """Return what can be used of names that were read from a file; nobody vouches for them."""
    found: dict[int, str] = {}
    for label, name in names.items() if isinstance(names, dict) else ():
        try:
            found[check_label(int(label))] = tidy_name(str(name))
        except (InputError, TypeError, ValueError):
            continue
    return found
