"""The settings form, made from the configuration's own fields."""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Any, Literal

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    FloatSpinBox,
    LineEdit,
    SpinBox,
)
from pydantic import BaseModel, ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_cas.config import Config
from napari_cas.ui.panels.common import heading, note

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget
    from pydantic.fields import FieldInfo

GROUPS = {"model": "Network", "loss": "Loss", "fit": "Training", "predict": "Prediction"}
"""Nested settings and the heading they get."""
ELSEWHERE = {"device"}
"""Fields that have a control of their own in the panel."""


class ConfigForm(QWidget):
    """One magicgui widget for each field of a `Config`: title as label, description as tooltip.

    Signals
    -------
    changed(config: Config)
        The annotator changed a field and the whole is valid.
    """

    changed = Signal(object)

    def __init__(self, config: Config, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._config = config
        self._loading = False
        self.widgets: dict[tuple[str, ...], ValueWidget[Any]] = {}
        self._rows = QFormLayout()
        self._rows.setSpacing(4)
        self._rows.setContentsMargins(0, 0, 0, 0)
        for name, title in GROUPS.items():
            self._rows.addRow(heading(title))
            self._add_fields(getattr(config, name), (name,))
        self._rows.addRow(heading("Reproducibility"))
        self._add_fields(config, ())
        self.problem = note()
        self._rows.addRow(self.problem)
        reset = QPushButton("Reset to defaults")
        reset.clicked.connect(lambda *_: self._reset())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows)
        layout.addWidget(reset)
        self.show_config(config)

    def _add_fields(self, model: BaseModel, path: tuple[str, ...]) -> None:
        for name, field in type(model).model_fields.items():
            if name in ELSEWHERE or name in GROUPS:
                continue
            widget = field_widget(name, field, getattr(model, name))
            # Half of a path is no path, and another network forgets what was learnt: typing has to
            # end first, with Enter or on the way to something else.
            if isinstance(widget, LineEdit):
                widget.native.editingFinished.connect(self._edited)
            else:
                widget.changed.connect(self._edited)
            self.widgets[*path, name] = widget
            native = widget.native
            native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            label = QLabel(field.title or name)
            label.setToolTip(field.description or "")
            self._rows.addRow(label, native)

    def show_config(self, config: Config) -> None:
        """Show these settings, emitting nothing.

        Parameters
        ----------
        config : Config
            All settings.
        """
        self._config, self._loading = config, True
        try:
            for path, widget in self.widgets.items():
                value: Any = config
                for name in path:
                    value = getattr(value, name)
                if isinstance(widget, LineEdit):
                    value = "" if value is None else str(value)
                if widget.value != value:
                    widget.value = value
        finally:
            self._loading = False
        self.problem.hide()

    def _edited(self, *_: object) -> None:
        if self._loading:
            return
        values = self._config.model_dump()
        for path, widget in self.widgets.items():
            inside = values
            for name in path[:-1]:
                inside = inside[name]
            # An empty line stands for None where the field allows it.
            inside[path[-1]] = None if widget.value == "" else widget.value
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            self._refuse(first["loc"], first["msg"])
            return
        self.problem.hide()
        if config != self._config:
            self._config = config
            self.changed.emit(config)

    def _refuse(self, place: tuple[int | str, ...], why: str) -> None:
        """Say below a field why its value cannot be, in pydantic's words."""
        native = next(w.native for path, w in self.widgets.items() if path == place[: len(path)])
        self._rows.takeRow(self.problem)
        row, _ = self._rows.getWidgetPosition(native)
        self._rows.insertRow(row + 1, self.problem)
        title = self._rows.labelForField(native).text()
        self.problem.setText(f"{title} {why.removeprefix('Input ').split(',')[0]}.")
        self.problem.show()

    def _reset(self) -> None:
        fresh = Config(device=self._config.device)
        if fresh != self._config:
            self.show_config(fresh)
            self.changed.emit(fresh)


def field_widget(name: str, field: FieldInfo, value: Any) -> ValueWidget[Any]:
    """Return the magicgui widget of one settings field.

    Parameters
    ----------
    name : str
        The field's name.
    field : FieldInfo
        Its annotation, range, title and description.
    value : object
        What it shows first.
    """
    limits = {
        key: getattr(meta, key)
        for meta in field.metadata
        for key in ("gt", "ge", "lt", "le", "multiple_of")
        if getattr(meta, key, None) is not None
    }
    made = _widget(field.annotation, limits, value, name=name, tooltip=field.description or "")
    if isinstance(made, SpinBox | FloatSpinBox):
        # Else each digit is a value by itself, moved into the range: 12 typed would become 22.
        made.native.setKeyboardTracking(False)
    return made


def _widget(kind: Any, limits: dict[str, Any], value: Any, **common: Any) -> ValueWidget[Any]:
    if typing.get_origin(kind) is Literal:
        return ComboBox(choices=list(typing.get_args(kind)), value=value, **common)
    if kind is bool:
        box = CheckBox(value=bool(value), **common)
        box.text = ""  # else magicgui writes the field's name, and the row has a label already
        return box
    if kind is int:
        top = limits.get("le", limits.get("lt", 2**31) - 1)
        low, step = limits.get("ge", 0), limits.get("multiple_of", 1)
        return SpinBox(value=value, min=low, max=top, step=step, **common)
    if kind is float:
        low, top = limits.get("ge", limits.get("gt", 0)), limits.get("le", 1e9)
        step = 0.05 if top <= 1 else 0.1
        return FloatSpinBox(value=value, min=low, max=top, step=step, **common)
    if isinstance(kind, types.UnionType):  # float | None: empty means None
        line = LineEdit(value="" if value is None else str(value), **common)
        line.native.setPlaceholderText("default")
        return line
    return LineEdit(value=str(value), **common)
