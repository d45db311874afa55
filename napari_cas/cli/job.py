"""Fine-tuning or predicting a whole data set, which a kill interrupts and does not end.

Images, strokes and checkpoints are in a project; beside them stands a note of which job this is and
how far it has come. The same command finds the note and goes on. A round depends on nothing but the
project, the checkpoint and the settings, so what is learnt in the end is the same. Which tiles are
predicted is noted with the image.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from napari_cas.errors import ProjectFormatError, ProjectLockedError
from napari_cas.store import Project
from napari_cas.store.files import read_json, storing, write_json
from napari_cas.store.models import RECORD, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from napari_cas.config import Config
    from napari_cas.protocol import RoundReport
    from napari_cas.store import ImageEntry

NOTE = "fine-tune.json"
UNFINISHED = ".unfinished.zarr"
"""Ending of the project in which a command works for whose project nobody asked."""


class Job:
    """Work under way, a fine-tuning or else, noted in its project.

    Parameters
    ----------
    path : Path
        The project.
    key : str
        Digest of what the job was asked to do.

    Attributes
    ----------
    images : list of str
        Names of the images that are in the project with all their strokes.
    sources : dict of str to str
        Where images came from, by name.
    rounds : int
        Rounds done.
    ended : bool
        Whether no further round is to follow.
    summary : dict
        What the last round reported.
    checkpoint : str or None
        Model after the last round.
    """

    file = NOTE

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.images: list[str] = []
        self.sources: dict[str, str] = {}
        self.rounds = 0
        self.ended = False
        self.summary: dict[str, Any] = {}
        self.checkpoint: str | None = None
        self._coming: str | None = None
        self._came: list[object] | None = None

    @classmethod
    def recall(cls, path: Path, key: str) -> Self | None:
        """Return the job as it was noted; None if there is none, or another one."""
        try:
            note = read_json(path / cls.file)
            job = cls(path, key)
            job.images = [str(name) for name in note["images"]]
            job.sources = {str(name): str(of) for name, of in note.get("sources", {}).items()}
            job.rounds, job.ended = int(note["rounds"]), bool(note["ended"])
            job.summary, job.checkpoint = dict(note["summary"]), note["checkpoint"]
            job._coming, job._came = note["coming"], note.get("came")
        except (ProjectFormatError, AttributeError, LookupError, TypeError, ValueError):
            return None
        return job if note.get("key") == key else None

    def rewind(self, *, ours: bool) -> None:
        """Bring the project to what was noted: a round or an image may have got further.

        Parameters
        ----------
        ours : bool
            Whether nobody else works with the project. Of somebody's own, only the image that was
            on its way goes, if it is the one that this job has put there: others were added, and
            perhaps painted, in the meantime, one of its name among them.

        Raises
        ------
        ProjectError
            Another process is working on it, or it is damaged.
        """
        with Project.open(self.path) as project:
            for name in project.images:
                if name not in self.images and (ours or self._is_half_taken(project, name)):
                    project.remove_image(name)
            state = project.get_state()
            if state.get("checkpoint") != self.checkpoint:
                project.set_state(state | {"checkpoint": self.checkpoint})

    def _is_half_taken(self, project: Project, name: str) -> bool:
        """Return whether an image is the one that this job was taking when it was killed."""
        if name != self._coming:
            return False
        entry = project.image(name)
        if self._came is not None:
            return self._came == _mark(entry)
        # Killed before it noted which one: then it had not painted, and whoever has is another.
        return not entry.regions.painted_chunks()

    def coming(self, name: str | None) -> None:
        """Note which image is about to be taken, by the name that it will have; None: none."""
        self._coming, self._came = name, None
        self.write()

    def came(self, entry: ImageEntry) -> None:
        """Note that it is in the project, its strokes to follow."""
        self._came = _mark(entry)
        self.write()

    def taken(self, name: str, source: str) -> None:
        """Note that an image is in the project, its strokes on disk, and where it came from."""
        self.images.append(name)
        self.sources[name] = source
        self._coming = self._came = None
        self.write()

    def reported(self, report: RoundReport, most: int) -> None:
        """Note a round.

        Parameters
        ----------
        report : RoundReport
            Of the round; its checkpoint is on disk.
        most : int
            Highest number of rounds.
        """
        if not report.losses:
            return
        self.rounds += 1
        self.ended = report.converged or self.rounds >= most
        self.checkpoint = report.checkpoint
        self.summary = {
            "steps": report.steps,
            "converged": report.converged,
            "channels_used": report.channels_used,
            "regions": report.regions,
            "loss": report.losses[-1].total,
            "device": report.device,
        }
        self.write()

    def write(self) -> None:
        """Write the note, in one step.

        Raises
        ------
        StorageError
            If the file system refuses.
        """
        note = {
            "key": self.key,
            "images": self.images,
            "sources": self.sources,
            "coming": self._coming,
            "came": self._came,
            "rounds": self.rounds,
            "ended": self.ended,
            "checkpoint": self.checkpoint,
            "summary": self.summary,
        }
        write_json(self.path / self.file, note, durable=True)

    def forget(self) -> None:
        """Remove the note: the job is done."""
        with storing(self.path), suppress(FileNotFoundError):
            (self.path / self.file).unlink()


class PredictJob(Job):
    """A prediction of image files under way; neither kind of job removes the other's work."""

    file = "predict.json"


Kind = TypeVar("Kind", bound=Job)


@overload
def begin(path: Path, key: str, *, ours: bool) -> Job: ...
@overload
def begin(path: Path, key: str, *, ours: bool, kind: type[Kind]) -> Kind: ...
def begin(path: Path, key: str, *, ours: bool, kind: type[Job] = Job) -> Job:
    """Make the project of a job, or find the one that an interrupted command has left.

    Parameters
    ----------
    path : Path
        Where it is or will be.
    key : str
        Digest of what the job is asked to do.
    ours : bool
        Whether nobody else works with the project: one left there by another job may go.
    kind : type of Job
        What is to be done.

    Returns
    -------
    Job
        Its project is there, and not open.

    Raises
    ------
    ProjectError
        Something else is in the way, or another process is at work there.
    StorageError
        If the file system refuses.
    """
    found = kind.recall(path, key)
    if ours and (path / kind.file).is_file():
        _refuse_company(path)
        if found is None:
            remove(path)
    if found is not None:
        found.rewind(ours=ours)
        return found
    draft = path.with_name(f".{path.name}.begun")
    with storing(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            Project.create(path)  # refuses, and says what is in the way
        for left in (draft, _aside(path)):  # by a command killed as it began or ended
            shutil.rmtree(left, ignore_errors=True)
        Project.create(draft).close()
        job = kind(draft, key)
        job.write()
        with suppress(FileNotFoundError):
            path.rmdir()
        draft.rename(path)
    job.path = path
    return job


def _refuse_company(path: Path) -> None:
    """Check that no other command is at work in a project that is ours.

    Raises
    ------
    ProjectLockedError
        One is.
    """
    try:
        with suppress(ProjectFormatError):
            Project.open(path).close()
    except ProjectLockedError as error:
        raise error.saying(
            what=f"Another command is at work in {path}",
            todo="Wait until it is done, or choose another --output.",
        ) from error


def remove(path: Path) -> None:
    """Remove a job's project: at once where it was, in whatever time it takes elsewhere."""
    aside = _aside(path)
    shutil.rmtree(aside, ignore_errors=True)
    with storing(path):
        path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.gone")


def key_of_files(pairs: Sequence[tuple[str, str]], config: Config, axes: str | None = None) -> str:
    """Return the digest of a job on image files: their places, sizes and dates, and settings."""
    return _digest([axes, [[_stamp(path) for path in pair] for pair in pairs]], config)


def key_of_prediction(
    images: Sequence[str], model: str, config: Config, axes: str | None = None
) -> str:
    """Return the digest of predicting image files with a saved model."""
    folder = Path(model)
    weights = [_stamp(str(folder / name)) for name in (WEIGHTS, RECORD)]
    return _digest([weights, axes, [_stamp(path) for path in images]], config)


def key_of_project(project: Project, config: Config, *, anew: bool = False) -> str:
    """Return the digest of a job on a project: what is painted in it, and settings.

    Parameters
    ----------
    project : Project
        Open in any mode.
    config : Config
        All settings.
    anew : bool
        Whether the job begins with a new model: it is another one than to go on learning.
    """
    painted: list[list[object]] = [["anew"]] if anew else []
    for name in project.images:
        files = project.image(name).regions.files
        stamps = ((key, files.stamp(key)) for key in sorted(files.keys()))
        painted.append([name, [[*key, *(stamp or ())] for key, stamp in stamps]])
    return _digest(painted, config)


def _mark(entry: ImageEntry) -> list[object]:
    """Return what tells an image in a project from another one of its name."""
    return _stamp(str(entry.folder / "zarr.json"))[1:]  # wherever the project is by now


def _stamp(path: str) -> list[object]:
    """Return what tells whether a file is still the one it was; of a URL, the address."""
    if "://" in path:
        return [path]
    try:
        status = Path(path).stat()
    except OSError:
        return [path]
    return [place(path), status.st_size, status.st_mtime_ns]


def place(path: str) -> str:
    """Return where an image is, whatever the folder in which the command was typed."""
    return path if "://" in path else str(Path(path).resolve())


def unfinished(output: Path) -> Path:
    """Return where a command works whose result goes to `output`."""
    return output.with_name(output.name + UNFINISHED)


def kept_in(path: Path) -> str:
    """Return what is said when the work is done and its result cannot be written."""
    return f"What was done is kept in {path}: typed again, the same command goes on from there."


def _digest(of: object, config: Config) -> str:
    text = json.dumps([of, config.model_dump(mode="json")])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
