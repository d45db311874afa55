"""Typed errors: each says what was expected, what was got and what to do about it.

Every error a user can cause derives from :class:`CASError`. The user interface shows its text as a
notification and the command line prints it and exits with :attr:`CASError.exit_code`; anything that
is not a :class:`CASError` is a bug of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing import Self


class CASError(Exception):
    """Base of all errors that a person can act on.

    Parameters
    ----------
    what : str
        What went wrong, a short sentence without a full stop.
    expected, got : str, optional
        What the code needed and what it was given.
    todo : str, optional
        What the person can do now, a sentence.
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self, what: str, *, expected: str | None = None, got: str | None = None, todo: str = ""
    ) -> None:
        self.what, self.expected, self.got, self.todo = what, expected, got, todo
        super().__init__(self._compose())

    def _compose(self) -> str:
        """Return the sentence a person reads."""
        found = [
            f"{word} {value}"
            for word, value in (("expected", self.expected), ("got", self.got))
            if value is not None
        ]
        text = f"{self.what}: {', '.join(found)}." if found else f"{self.what}."
        return f"{text} {self.todo}".rstrip()

    def saying(self, *, what: str | None = None, todo: str | None = None) -> Self:
        """Return the same error with another sentence about what went wrong, or what to do."""
        return type(self)(
            self.what if what is None else what,
            expected=self.expected,
            got=self.got,
            todo=self.todo if todo is None else todo,
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, so that errors cross from the worker to the viewer unharmed."""
        fields = (type(self), self.what, self.expected, self.got, self.todo)
        return _rebuild, fields, dict(vars(self))


def _rebuild(
    kind: type[CASError], what: str, expected: str | None, got: str | None, todo: str
) -> CASError:
    return kind(what, expected=expected, got=got, todo=todo)


class InputError(CASError, ValueError):
    """An argument or array of the wrong shape, dtype, device or range."""


class ImageError(InputError):
    """An image that cannot be used: wrong axes, not finite, no pixels, unreadable."""

    @classmethod
    def of_channels(
        cls,
        name: str,
        than: str,
        *,
        wanted: int,
        got: int,
        todo: str = "Keep images of different kinds in different projects.",
    ) -> Self:
        """Return the error of an image with another number of channels than others.

        Parameters
        ----------
        name : str
            Of the image.
        than : str
            Which others, as the end of a sentence.
        wanted, got : int
            Channels of the others, and of this one.
        todo : str
            What the person can do now.
        """
        what = f"Image {name!r} has another number of channels than {than}"
        return cls(what, expected=str(wanted), got=str(got), todo=todo)


class RegionError(InputError):
    """Painted regions that cannot teach anything: none, only one, or on no image."""


class ConfigError(InputError):
    """A setting outside its range or one that contradicts another."""


class ProjectError(CASError):
    """A project that cannot be opened, read or written."""


class ProjectFormatError(ProjectError):
    """Foreign, damaged or newer files where a project's were expected."""


class ProjectLockedError(ProjectError):
    """Another process has the project open for writing."""


class StorageError(ProjectError):
    """The file system refused a write: disk full, read-only, gone."""


class CheckpointError(CASError):
    """A model file that is missing, damaged, foreign or made for another network."""


class WeightsError(CASError):
    """Pretrained weights that could not be found or downloaded."""


class WorkerError(CASError):
    """The worker process died, ran out of memory or could not start.

    Attributes
    ----------
    details : str
        Traceback in the worker, for a bug report; empty when there is none.
    """

    exit_code = 3
    details: str = ""


class WorkerDiedError(WorkerError):
    """The worker process ended in the middle of a job; a new one can take the job."""
