"""napari's theme colours for the parts of the panel that Qt's style sheet does not reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Colours:
    """Colours of one theme as ``#rrggbb``.

    Attributes
    ----------
    background, foreground, text, muted : str
        Panel, raised widgets, text, and text of less importance.
    accent : str
        Background of the one primary button and of the guide's edge.
    warning, error : str
        Marks of messages.
    """

    background: str
    foreground: str
    text: str
    muted: str
    accent: str
    warning: str
    error: str


DARK = Colours("#23242b", "#2e333e", "#f0f1f2", "#565f6c", "#4560c4", "#e3b617", "#99121f")
"""napari's dark theme, until the viewer has told which one it has."""


def colours(theme_id: str) -> Colours:
    """Return the colours of a napari theme.

    Parameters
    ----------
    theme_id : str
        Name of a registered theme, such as ``"dark"``.
    """
    from napari.utils.theme import get_theme

    theme = get_theme(theme_id)
    return Colours(
        background=theme.background.as_hex(format="long"),
        foreground=theme.foreground.as_hex(format="long"),
        text=theme.text.as_hex(format="long"),
        muted=theme.secondary.as_hex(format="long"),
        accent=theme.current.as_hex(format="long"),
        warning=theme.warning.as_hex(format="long"),
        error=theme.error.as_hex(format="long"),
    )


def panel_style(c: Colours) -> str:
    """Return the style sheet of the panel, on top of napari's own.

    Parameters
    ----------
    c : Colours
        The theme's colours.
    """
    return f"""
    QFrame#casGuide {{ border: none; border-left: 3px solid {c.accent};
        background: {c.foreground}; border-radius: 2px; }}
    QFrame#casGuide[level="warning"] {{ border-left-color: {c.warning}; }}
    QFrame#casGuide[level="error"] {{ border-left-color: {c.error}; }}
    QLabel#casGuideText {{ background: transparent; }}
    QLabel#casHeading {{ font-weight: bold; padding-top: 4px; }}
    QLabel#casStatus {{ color: {c.text}; }}
    QLabel#casNote {{ color: {c.text}; font-size: 11px; }}
    QPushButton#casPrimary {{ min-height: 24px; font-weight: bold; }}
    QPushButton#casPrimary:default:enabled {{ background: {c.accent};
        color: {readable(c.accent, "#ffffff", c.text)}; }}
    QPushButton#casPrimary:default:enabled:hover {{ background: {c.accent}; }}
    QToolButton {{ background: {c.foreground}; border-radius: 2px; padding: 4px 8px;
        color: {c.text}; }}
    QToolButton:hover {{ background: {shade(c.foreground, 0.15, c.text)}; }}
    QToolButton:disabled {{ color: {c.muted}; }}
    QToolButton#casSwatch, QToolButton#casEye {{ padding: 3px; border: 1px solid transparent; }}
    QToolButton#casEye:checked {{ border-color: {c.text}; }}
    QToolButton[popupMode="2"] {{ padding-right: 18px; }}
    QToolButton::menu-indicator {{ subcontrol-position: right center; subcontrol-origin: padding;
        right: 5px; }}
    QProgressBar#casProgress {{ max-height: 8px; min-height: 8px; }}
    """


def readable(background: str, *colours: str) -> str:
    """Return the colour that stands out most from a background.

    Parameters
    ----------
    background, *colours : str
        ``#rrggbb``.
    """
    return max(colours, key=lambda colour: contrast(background, colour))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21, as WCAG 2 defines it.

    Parameters
    ----------
    one, other : str
        ``#rrggbb``.
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def shade(colour: str, amount: float, towards: str) -> str:
    """Return `colour` mixed with `towards`.

    Parameters
    ----------
    colour, towards : str
        ``#rrggbb``.
    amount : float
        0 keeps `colour`, 1 gives `towards`.
    """
    mixed = (
        round((1 - amount) * int(colour[i : i + 2], 16) + amount * int(towards[i : i + 2], 16))
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{value:02x}" for value in mixed)
