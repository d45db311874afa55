"""What the commands do: each answers with an exit code and fills the report."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.cli import files, job, learning, options, tally
from napari_cas.config import ClusterSettings, Config
from napari_cas.errors import ImageError, InputError, ProjectError
from napari_cas.store import Project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from napari_cas.cli.console import Console
    from napari_cas.jobs import Executor
    from napari_cas.session import Session


def fine_tune(arguments: argparse.Namespace, console: Console) -> int:
    """Fine-tune on a project, or on image files and their region maps."""
    paths = arguments.paths
    if len(paths) == 1 and files.is_project(paths[0]):
        if arguments.regions:
            raise InputError("A project has its own regions", todo="Leave --regions out.")
        with _project(console, paths[0], arguments) as session:
            config = options.apply(session.config, arguments)
            learning.configure(session, console, config, anew=arguments.anew)
            made = learning.continued(session, anew=arguments.anew)
            _learn(session, console, made, arguments.output)
        return 0
    if arguments.anew:
        raise InputError("--anew is for a project, whose model it replaces", todo="Leave it out.")
    if not arguments.regions:
        files.refuse_url(paths, "An image by URL is learnt from with --regions.")
        raise InputError("What has been painted?", expected="--regions with one map an image")
    if not arguments.output and not arguments.project:
        raise InputError("Where does the model go?", expected="--output DIR or --project DIR")
    pairs = files.pair(files.find_images(paths), files.find_images(arguments.regions))
    config = options.apply(Config(), arguments)
    where = Path(arguments.project or arguments.output).resolve()
    if not arguments.project:
        where = where.with_name(where.name + job.UNFINISHED)
    made = job.begin(where, job.key_of_files(pairs, config), ours=not arguments.project)
    resumed = bool(made.images)
    try:
        with console.session(config, _executor(arguments)) as session:
            session.open_project(where)
            session.config = config
            learning.take(session, console, made, pairs, refer=not arguments.project)
            _learn(session, console, made, arguments.output)
    except InputError:
        if not resumed:  # what was given cannot be learnt from: nothing to go on with
            job.remove(where)
        raise
    if not arguments.project:
        job.remove(where)
    return 0


def predict(arguments: argparse.Namespace, console: Console) -> int:
    """Predict in a project, or image files with a saved model."""
    options.refuse_training(arguments)
    paths = arguments.paths
    if len(paths) == 1 and files.is_project(paths[0]):
        with _project(console, paths[0], arguments) as session:
            if arguments.model:
                # Used once; a project that has learnt nothing takes it up as its own.
                session.remembers = session.checkpoint is None
                session.load_model(arguments.model)
            session.remembers = False
            session.config = options.apply(session.config, arguments)
            if session.image is None:
                raise ProjectError("The project has no images")
            images = session.images if arguments.all else tuple(arguments.image or ())
            return _predict(session, console, images or (session.image.name,), arguments)
    if not arguments.model or not arguments.output:
        files.refuse_url(paths, "An image by URL is predicted with --model and --output.")
        raise InputError(
            "Which model, and where to?", expected="--model DIR and --output DIR for image files"
        )
    with _new_project(console, arguments) as session:
        for image in files.find_images(paths):
            session.add_images([files.as_new_image(image, refer=not arguments.project)])
        session.load_model(arguments.model)
        return _predict(session, console, session.images, arguments)


def export(arguments: argparse.Namespace, console: Console) -> int:
    """Write a project as an OME-Zarr data set."""
    from napari_cas.store.export import export as write

    with Project.open(arguments.project, mode="r") as project:
        written = write(
            project,
            arguments.output,
            images=arguments.image or None,
            include=arguments.include,
            overwrite=arguments.overwrite,
            progress=lambda done, total: console.bar(done, total, "Exporting"),
        )
        count = len(arguments.image or project.images)
    console.report["export"] = str(written)
    console.result(f"{count} images exported to {written}")
    return 0


def validate(arguments: argparse.Namespace, console: Console) -> int:
    """Check OME-Zarr data sets; exit with 1 when something is wrong."""
    from napari_cas.store.validate import validate as check

    problems = {path: [str(p) for p in check(path)] for path in arguments.paths}
    console.report["problems"] = problems
    for path, found in problems.items():
        console.result(f"{path}: {'valid' if not found else f'{len(found)} problems'}")
        for problem in found:
            console.result(f"  {problem}")
    return int(any(problems.values()))


def info(arguments: argparse.Namespace, console: Console) -> int:
    """Say what is in a project."""
    with Project.open(arguments.project, mode="r") as project:
        state = project.get_state()
        images = {}
        for name in project.images:
            entry = project.image(name)
            images[name] = told = files.describe(entry)
            console.result(
                f"{name}: {entry.axes} {'×'.join(map(str, entry.shape))} {entry.dtype}, "
                f"{told['regions']} regions on {told['painted_planes']} planes"
            )
        checkpoint = state.get("checkpoint")
        console.result(f"model: {checkpoint or 'none yet'}")
        for problem in project.problems:
            console.result(f"problem: {problem}")
        console.report |= {
            "project": str(project.path),
            "images": images,
            "checkpoint": checkpoint,
            "models": list(project.models),
            "problems": list(project.problems),
        }
    return 0


@contextmanager
def _project(console: Console, path: str, arguments: argparse.Namespace) -> Iterator[Session]:
    """Open a project for writing."""
    with console.session(executor=_executor(arguments)) as session:
        session.open_project(path)
        if not session.writable:
            raise ProjectError(
                f"{path} is in use or cannot be written", todo="Close it elsewhere and try again."
            )
        yield session


@contextmanager
def _new_project(console: Console, arguments: argparse.Namespace) -> Iterator[Session]:
    """Make a project to work in: the one asked for, or one that is gone afterwards."""
    config = options.apply(Config(), arguments)
    with (
        tempfile.TemporaryDirectory(prefix="napari-cas-", ignore_cleanup_errors=True) as temporary,
        console.session(config, _executor(arguments)) as session,
    ):
        session.create_project(arguments.project or Path(temporary) / "project.zarr")
        yield session


def _executor(arguments: argparse.Namespace) -> Executor | None:
    """Return the cluster that was asked for, or None: a worker of this machine."""
    cluster = options.cluster(arguments)
    if not cluster.scheduler:
        if cluster != ClusterSettings():
            raise InputError("Which cluster?", expected="--scheduler ADDRESS")
        return None
    from napari_cas.jobs.dask import connect

    return connect(cluster)


def _learn(session: Session, console: Console, made: job.Job, output: str | None) -> None:
    """Train what is left to train, keep the model, and forget the job."""
    learning.run(session, console, made)
    _keep_model(session, console, output)
    made.forget()


def _keep_model(session: Session, console: Console, output: str | None) -> None:
    """Say where the model is, after writing it where it was asked for."""
    if output:
        where = session.save_model(output)
        console.report["model"] = str(where)
        console.result(f"Model: {where}")
    else:
        console.result(f"Model: {session.checkpoint} in the project")


def _predict(
    session: Session, console: Console, images: tuple[str, ...], arguments: argparse.Namespace
) -> int:
    """Predict images of a project to the end, and write label files if asked for."""
    from napari_cas.store.label_files import export_labels

    session.probabilities = arguments.probabilities
    errors = tally.predict(session, console, images).errors
    images = tuple(name for name in images if name not in errors)
    console.report["predicted"] = list(images)
    project = session.project
    assert project is not None  # noqa: S101 - opened by the caller
    if arguments.output and images:
        kind = arguments.format
        if kind is None:
            flat = all(not project.image(name).planes_shape for name in images)
            kind = "png" if flat else "tiff"
        written = export_labels(project, arguments.output, images=images, kind=kind)
        console.report["files"] = [str(path) for path in written]
        for path in written:
            console.result(str(path))
    return ImageError.exit_code if errors else 0
