"""Kornia, which only photometry on the device needs."""

from __future__ import annotations

import importlib


def require_kornia() -> None:
    """Raise ``ImportError``, with the way to install it, if kornia is missing."""
    try:
        importlib.import_module('kornia')
    except ImportError as error:
        raise ImportError(
            f'kornia cannot be imported ({error}), which changes the colors of views on the '
            'device: run "pip install kornia". Without it, colors are changed in the loader: '
            "photometry='loader' in CandidateViews and "
            "data_preprocessor.type='SelfSupDataPreprocessor'."
        ) from error
