"""Tables for people and for programs: Markdown, CSV, and means with their spread over seeds."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NO_DATA = "not run: data not available"
NO_GPU = "not run: needs a GPU"

Cell = str | float | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    key : str
        Its name in the CSV file.
    title : str
        Its heading in Markdown; empty: only in the CSV file.
    digits : int
        Decimals of its numbers.
    """

    key: str
    title: str = ""
    digits: int = 3


@dataclass
class Table:
    """Rows with what has to be known to read them."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: list[dict[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    picture: str | None = None

    def markdown(self) -> str:
        """Return the table with title, picture and notes."""
        shown = [c for c in self.columns if c.title]
        lines = [f"# {self.title}", ""]
        if self.picture is not None:
            lines += [f"![{self.title}]({self.picture})", ""]
        lines.append("| " + " | ".join(c.title for c in shown) + " |")
        lines.append("|" + "---|" * len(shown))
        lines += [
            "| " + " | ".join(_text(row.get(c.key), c.digits) for c in shown) + " |"
            for row in self.rows
        ]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``NAME.md`` and ``NAME.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(self.markdown(), encoding="utf-8")
        with (folder / f"{self.name}.csv").open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow([c.key for c in self.columns])
            for row in self.rows:
                writer.writerow([_plain(row.get(c.key), c.digits) for c in self.columns])


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean, and ± the standard deviation over seeds where there are several."""
    mean = f"{fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {stdev(values):.{digits}f}"


def _text(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def _plain(value: Cell, digits: int) -> str:
    return "" if value is None else _text(value, digits + 1)
