"""Faults that tests put into real worker processes, called there by name."""

from __future__ import annotations

import itertools

from napari_cas.engine import fit

_REAL = fit.cas_terms


def spoil_loss(first: int, times: int) -> None:
    """Have so many of the losses from now on be NaN, those before `first` left alone."""
    calls = itertools.count()

    def spoilt(*arguments, **options):
        terms = _REAL(*arguments, **options)
        spoil = first <= next(calls) < first + times
        return terms._replace(total=terms.total * float("nan")) if spoil else terms

    fit.cas_terms = spoilt


def heal_loss() -> None:
    """Let losses be what they are."""
    fit.cas_terms = _REAL
