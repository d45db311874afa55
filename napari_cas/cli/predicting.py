"""The command predict: in a project, or image files with a saved model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.cli import files, job, opening, options, outputs, tally
from napari_cas.config import Config
from napari_cas.errors import (
    CASError,
    CheckpointError,
    ImageError,
    InputError,
    ProjectError,
    ProjectFormatError,
    ProjectLockedError,
    StorageError,
)
from napari_cas.session import NewImage, models, projects
from napari_cas.store import Project
from napari_cas.store.files import safe_name
from napari_cas.store.root import local_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from napari_cas.cli.console import Console
    from napari_cas.session import Session


def predict(arguments: argparse.Namespace, console: Console) -> int:
    """Predict in a project, or image files with a saved model."""
    options.refuse_training(arguments)
    path = opening.named_project(arguments.paths)
    if not arguments.output:
        opening.refuse("says how --output is written", format=arguments.format)
    if path is not None:
        return _in_project(path, arguments, console)
    if not arguments.model or not arguments.output:
        files.refuse_lone_url(
            arguments.paths, "An image by URL is predicted with --model and --output."
        )
        raise InputError(
            "Which model, and where to? These are images and no project",
            expected="--model DIR and --output DIR for image files",
        )
    chooses = "chooses among the images of a project, and these are image files"
    opening.refuse(chooses, all=arguments.all, image=arguments.image)
    if not arguments.project:
        kept = "writes into a project, which goes with --project DIR only"
        opening.refuse(kept, probabilities=arguments.probabilities)
    return _files(arguments, console)


def _in_project(path: str, arguments: argparse.Namespace, console: Console) -> int:
    """Predict images of a project; its model and settings stay as they are."""
    opening.refuse("makes a project of image files", project=arguments.project)
    opening.refuse("says how image files are read", axes=arguments.axes)
    output = outputs.check_folder(arguments.output) if arguments.output else None
    if arguments.model and not _is_its_own(path, arguments.model):
        return _beside(path, output, arguments, console)
    with opening.project(console, path, arguments) as session:
        project = session.project
        if session.image is None or project is None:
            raise ProjectError("The project has no images that can be opened")
        chosen = _chosen(project, session.image.name, arguments)
        sources = {name: str(project.image(name).folder) for name in chosen}
        if output is not None:
            outputs.refuse_others(output, sources)
        if arguments.model:  # a project that has learnt nothing takes it up as its own
            session.load_model(arguments.model)
        session.remembers = False
        session.config = options.apply(session.config, arguments)
        return _predict(session, console, sources, arguments, _damaged(project, arguments))


def _is_its_own(path: str, model: str) -> bool:
    """Return whether a project has learnt nothing yet, or just what a saved model is."""
    with Project.open(path, mode="r") as project:
        own = projects.restore(project, lambda _: None).checkpoint
        return own is None or models.is_own(project, own, model)


def _chosen(project: Project, first: str, arguments: argparse.Namespace) -> list[str]:
    """Return the names of the images to predict: those asked for, or the first one."""
    images = project.images if arguments.all else tuple(arguments.image or ())
    return [*dict.fromkeys(images or (first,))]


def _damaged(project: Project, arguments: argparse.Namespace) -> dict[str, str]:
    """Return what is wrong with images of a project that were asked for, by their paths."""
    wrong = project.damaged if arguments.all else {}
    return {str(project.path / "images" / name): error for name, error in wrong.items()}


def _beside(path: str, output: Path | None, arguments: argparse.Namespace, console: Console) -> int:
    """Predict images of a project with a model that is not its own, and leave the project alone.

    What it shows, what was corrected of that and how kinds are called is of its own model.
    """
    if output is None:
        raise InputError(
            "Where to? The project keeps what its own model says",
            expected="--output DIR where --model is another one",
        )
    kept = "writes into the project, which keeps what its own model says"
    opening.refuse(kept, probabilities=arguments.probabilities)
    with Project.open(path, mode="r") as project:
        state = projects.restore(project, lambda _: None)
        if state.image is None:
            raise ProjectError("The project has no images that can be opened")
        entries = [project.image(name) for name in _chosen(project, state.image, arguments)]
        images = {
            str(entry.folder): NewImage(
                entry.name, axes=entry.axes, no_data=entry.intensity.no_data, source=entry.source
            )
            for entry in entries
        }
        errors = _damaged(project, arguments)
    outputs.refuse_others(output, {new.name: folder for folder, new in images.items()})
    config = options.apply(state.config or Config(), arguments)
    return _apart(images.__getitem__, [*images], config, output, arguments, console, errors)


def _files(arguments: argparse.Namespace, console: Console) -> int:
    """Predict image files."""
    images = files.find_images(arguments.paths)
    output = outputs.check_folder(arguments.output)
    config = options.apply(Config(), arguments)
    files.check_axes(arguments.axes)
    read = partial(files.as_new_image, axes=arguments.axes, refer=not arguments.project)
    return _apart(read, images, config, output, arguments, console, {})


def _apart(
    read: Callable[[str], NewImage],
    images: Sequence[str],
    config: Config,
    output: Path,
    arguments: argparse.Namespace,
    console: Console,
    wrong: dict[str, str],
) -> int:
    """Predict images in a project of their own, which a kill leaves to be gone on with."""
    where = local_path(arguments.project) if arguments.project else job.unfinished(output)
    key = job.key_of_prediction(images, arguments.model, config, arguments.axes)
    ours = not arguments.project
    fresh = ours or not where.exists()  # a project that was there may hold what others added
    made = job.begin(where, key, ours=ours, kind=job.PredictJob)
    resumed = bool(made.images)
    try:
        with console.session(config, opening.executor(arguments)) as session:
            opening.to_write(session, where)
            session.config = options.apply(session.config, arguments)
            session.load_model(arguments.model)
            errors = wrong | take(session, console, made, images, output, read)
            code = _predict(session, console, made.sources, arguments, errors)
    except ProjectLockedError:  # another command has begun there in this moment
        raise
    except CASError as error:
        useless = isinstance(error, (InputError, CheckpointError)) and not resumed
        if useless or not made.images:  # there is nothing to go on with
            if fresh:
                job.remove(where)
        elif isinstance(error, StorageError):
            raise error.saying(todo=f"{error.todo} {job.kept_in(where)}") from error
        raise
    if ours:
        job.remove(where)
    else:
        made.forget()
    return code


def take(
    session: Session,
    console: Console,
    made: job.Job,
    images: Sequence[str],
    output: Path,
    read: Callable[[str], NewImage],
) -> dict[str, str]:
    """Take image files that are not in a job's project yet; one that cannot be is left out.

    Parameters
    ----------
    session : Session
        Has the project open, and the model.
    console : Console
        Hears what is wrong.
    made : Job
        Notes each image.
    images : sequence of str
        Paths or URLs.
    output : Path
        Where their labels go: names that other images have there are not used.
    read : callable
        Opens one.

    Returns
    -------
    dict of str to str
        What is wrong with an image, by its path.

    Raises
    ------
    ImageError
        There is one image, and it cannot be used.
    """
    errors: dict[str, str] = {}
    there = outputs.taken(output)
    for number, image in enumerate(images):
        console.bar(number, len(images), "Taking images")
        source = job.place(image)
        if source in made.sources.values() or source in errors:
            continue
        try:
            _take(session, console, made, image, read(image), there)
        except (ImageError, ProjectFormatError) as error:
            if len(images) == 1:
                raise files.naming(error, image) from error
            made.coming(None)
            errors[source] = str(files.naming(error, image))
            console.problem(errors[source])
    console.bar(len(images), len(images), "Taking images")
    return errors


def _take(
    session: Session,
    console: Console,
    made: job.Job,
    image: str,
    new: NewImage,
    there: dict[str, str],
) -> None:
    """Take one image file, under a name that neither the project nor another one's labels have."""
    assert session.project is not None  # noqa: S101 - opened by the command
    source = job.place(image)
    if new.data is not None:  # else it is referred to, and left out later
        channels = dict(zip(new.axes, new.data.shape, strict=True)).get("c", 1)
        tally.check_channels(session, new.name, channels)
    others = [name for name, of in there.items() if of != source]
    name = projects.free_name(new.name, [*session.project.taken, *others])
    made.coming(name)
    session.add_images([replace(new, name=name)])
    made.taken(name, source)
    if name != safe_name(new.name):
        console.say(f"{image}: called {name}, as there is another {new.name}.")


def _predict(
    session: Session,
    console: Console,
    sources: dict[str, str],
    arguments: argparse.Namespace,
    errors: dict[str, str] | None = None,
) -> int:
    """Predict images of a project to the end, and write label files if asked for.

    Parameters
    ----------
    sources : dict of str to str
        Where each image comes from, by name.
    errors : dict of str to str, optional
        What is wrong with images that are not in the project, by path.
    """
    session.probabilities = arguments.probabilities
    failed = tally.predict(session, console, sources, errors or {})
    sources = {name: source for name, source in sources.items() if name not in failed}
    console.report["predicted"] = list(sources)
    if arguments.output and sources:
        assert session.project is not None  # noqa: S101 - opened by the caller
        folder = Path(arguments.output).resolve()
        written = outputs.write_labels(session.project, folder, sources, arguments.format)
        console.report["files"] = [path for paths in written.values() for path in paths]
        for name, paths in written.items():
            console.report["predict"]["images"][name]["files"] = paths
            for path in paths:
                console.result(path)
    return ImageError.exit_code if failed else 0
