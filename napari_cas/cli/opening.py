"""What several commands begin with: the project that was named, and where its jobs run."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.cli import files, options
from napari_cas.config import ClusterSettings
from napari_cas.errors import InputError, ProjectLockedError, StorageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from napari_cas.cli.console import Console
    from napari_cas.jobs import Executor
    from napari_cas.session import Session


@contextmanager
def project(console: Console, path: str, arguments: argparse.Namespace) -> Iterator[Session]:
    """Open a project for writing.

    Raises
    ------
    ProjectError
        It is damaged, in use, or cannot be written.
    """
    with console.session(executor=executor(arguments)) as session:
        to_write(session, path)
        yield session


def to_write(session: Session, path: str | Path) -> None:
    """Open a project in a session that is to change it.

    Raises
    ------
    ProjectError
        It is damaged.
    ProjectLockedError
        It is in use.
    StorageError
        It cannot be written.
    """
    session.open_project(path)
    if session.writable:
        return
    if not os.access(path, os.W_OK):
        raise StorageError(
            f"{path} cannot be written, and this command keeps its results there",
            todo="Ask for write permission, or work on a copy.",
        )
    raise ProjectLockedError(f"{path} is in use", todo="Close it elsewhere and try again.")


def executor(arguments: argparse.Namespace) -> Executor | None:
    """Return the cluster that was asked for, or None: a worker of this machine."""
    cluster = options.cluster(arguments)
    if not cluster.scheduler:
        if cluster != ClusterSettings():
            raise InputError("Which cluster?", expected="--scheduler ADDRESS")
        return None
    from napari_cas.jobs.dask import connect

    return connect(cluster)


def named_project(paths: Sequence[str]) -> str | None:
    """Return the project that was named, or None: these are images.

    Raises
    ------
    InputError
        Nothing is there, or more is named beside a project.
    """
    if len(paths) == 1:
        if files.is_project(paths[0]):
            return paths[0]
        if "://" not in paths[0] and not Path(paths[0]).exists():
            raise InputError("No such image or project", expected="a path", got=paths[0])
        return None
    projects = [path for path in paths if files.is_project(path)]
    if projects:
        raise InputError(
            "One project at a time, and no images beside it", got=", ".join(projects[:3])
        )
    return None


def refuse(why: str, **given: object) -> None:
    """Refuse options that would have no effect here.

    Parameters
    ----------
    why : str
        What they are for, as the end of a sentence about them.
    **given : object
        Values by the option's name; those not given are empty.

    Raises
    ------
    InputError
        One is not empty.
    """
    wrong = ["--" + name.replace("_", "-") for name, value in given.items() if value]
    if wrong:
        raise InputError(f"{' and '.join(wrong)} {why}", todo="Leave it out.")
