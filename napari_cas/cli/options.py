"""Command-line options made from the settings: one definition for form, options and record."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from napari_cas.config import ClusterSettings, Config
from napari_cas.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PREFIX = "setting:"
"""Where options are kept among the parsed arguments; the rest of the name is the field's path."""


class Setting(NamedTuple):
    """A field that is no group of fields.

    Attributes
    ----------
    path : tuple of str
        Names of the fields that lead to it.
    field : FieldInfo
        Its title, description, type and default.
    """

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def flag(self) -> str:
        """The option's name: the field's own, or its title where that is just "name"."""
        name = self.path[-1]
        word = str(self.field.title) if name == "name" else name
        return "--" + word.lower().replace("_", "-").replace(" ", "-")

    @property
    def predicts(self) -> bool:
        """Whether it bears on a prediction with a model that is there already."""
        return self.path[0] in ("predict", "device")


def settings(model: type[BaseModel] = Config, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield all settings of a model, those of its parts included."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, (*path, name))
        else:
            yield Setting((*path, name), field)


def add_options(parser: argparse.ArgumentParser, *, predicting: bool = False) -> None:
    """Add one option a setting; those not given leave no trace, so that a project's own count.

    Parameters
    ----------
    parser : ArgumentParser
        Of a command.
    predicting : bool
        Whether the command does not train: the help is silent about what bears on training only,
        which is taken all the same, so that `refuse_training` can say why it is refused.
    """
    import argparse

    about = "For this run only. " * predicting + "Where left out, those of the project count."
    group = parser.add_argument_group("settings", about)
    for setting in settings():
        kind, choices = _kind(setting.field.annotation)
        default = setting.field.default
        known = "" if default is None else f" Default: {default}."
        told = f"{setting.field.description or setting.field.title}{known}".replace("%", "%%")
        group.add_argument(
            setting.flag,
            dest=PREFIX + ".".join(setting.path),
            type=kind,
            choices=choices,
            metavar=None if choices else kind.__name__.upper(),
            default=argparse.SUPPRESS,
            help=told if setting.predicts or not predicting else argparse.SUPPRESS,
        )


def apply(config: Config, arguments: argparse.Namespace) -> Config:
    """Return the settings with the given options in place.

    Raises
    ------
    ConfigError
        A value is outside its range.
    """
    values = config.model_dump()
    for name, value in vars(arguments).items():
        if name.startswith(PREFIX):
            *groups, last = name.removeprefix(PREFIX).split(".")
            target = values
            for group in groups:
                target = target[group]
            target[last] = value
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(str(part) for part in first["loc"])
        flag = next((s.flag for s in settings() if s.path == path), ".".join(path))
        wanted = str(first["msg"]).removeprefix("Input should be ")
        raise ConfigError(f"{flag} cannot be {first['input']}", expected=wanted) from error


def refuse_training(arguments: argparse.Namespace) -> None:
    """Refuse settings that bear on training: a prediction is by the model as it was made.

    Raises
    ------
    ConfigError
        One was given.
    """
    given = vars(arguments)
    wrong = [s.flag for s in settings() if not s.predicts and PREFIX + ".".join(s.path) in given]
    if wrong:
        raise ConfigError(
            "predict does not train, and changes no model",
            expected=", ".join(s.flag for s in settings() if s.predicts),
            got=", ".join(wrong),
            todo="Give these to fine-tune, or leave them out.",
        )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the options that name another machine; TLS files are called as in Dask's commands."""
    group = parser.add_argument_group(
        "another machine",
        "Rounds and tiles run on a Dask cluster that sees the project under the same path.",
    )
    for name, field in ClusterSettings.model_fields.items():
        several = name == "resources"
        group.add_argument(
            "--" + name.replace("_", "-"),
            nargs="+" if several else None,
            metavar={"scheduler": "ADDRESS", "resources": "NAME=NUMBER"}.get(name, "FILE"),
            default=[] if several else "",
            help=field.description,
        )


def cluster(arguments: argparse.Namespace) -> ClusterSettings:
    """Return the cluster that was asked for."""
    values = {name: getattr(arguments, name) for name in ClusterSettings.model_fields}
    values["resources"] = " ".join(values["resources"])
    return ClusterSettings(**values)


def _kind(annotation: Any) -> tuple[type, list[Any] | None]:  # noqa: ANN401 - any annotation
    """Return what converts an option's text, and its choices if they are listed."""
    if get_origin(annotation) is Literal:
        choices = list(get_args(annotation))
        return type(choices[0]), choices
    if annotation is bool:  # bool("false") is True; the settings read the words themselves
        return str, ["true", "false"]
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation, None
