"""Kornia, which only photometry on the device needs."""

from __future__ import annotations

import importlib


def require_kornia() -> None:
    """Check that kornia is there.

    Raises:
        ImportError: If not, with the way to install it.
    """
    try:
        importlib.import_module('kornia')
    except ImportError as error:
        raise ImportError(
            f'kornia cannot be imported ({error}), which changes the colors of views on the '
            'device: run "pip install kornia". Without it, colors are changed in the loader: '
            "photometry='loader' in CandidateViews and "
            "data_preprocessor.type='SelfSupDataPreprocessor'."
        ) from error
