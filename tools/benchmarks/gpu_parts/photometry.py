"""Photometry in the loader against photometry on the device."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
from _images import photograph
from device_photometry import measure
from loader import one_core

from .setting import Setting
from .worker import NotRunError

#: Height and width, and number, of made-up photographs.
_SIZE, _IMAGES = (375, 500), 32


def measure_photometry(setting: Setting, method: str) -> dict[str, Any]:
    """Time loader and preprocessor per image with photometry in either place.

    Of made-up photographs, which are as costly as ImageNet's; in tiny mode of the built-in images.

    Returns:
        By place, ``loader`` and ``device``: ``loading``, milliseconds of CPU time on one core, and
        ``preparing``, milliseconds of the preprocessor on the device.
    """
    if find_spec('kornia') is None:
        raise NotRunError("needs kornia: pip install '.[device]'")
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {}
        if not setting.tiny:
            images = Path(folder, 'train')
            images.mkdir()
            for seed in range(_IMAGES):
                cv2.imwrite(str(images / f'{seed}.jpg'), photograph(*_SIZE, seed))
            dataset = {'data_root': folder, 'with_label': False}
            options = {f'train_dataloader.dataset.{key}': dataset[key] for key in dataset}
        cfg = setting.config(method, options)
        batches, size = (1, 2) if setting.tiny else (4, 32)
        with one_core():
            times = measure(cfg, Namespace(device=setting.device, batch_size=size, batches=batches))
    return {
        'method': method,
        **{place: dict(zip(('loading', 'preparing'), pair)) for place, pair in times.items()},
    }
