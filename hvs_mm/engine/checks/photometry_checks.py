"""Check who changes the colors of views: the loader or the device, not both and not neither."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from torch import nn

from ...models.photometry.device_photometry import DevicePhotometry
from ...utils.class_name import class_name
from .dataset_checks import loaded_datasets

_VIEWS = 'CandidateViews'


def check_photometry(cfg: Config, model: nn.Module) -> None:
    """Check that the views and the model's preprocessor agree.

    Args:
        cfg: The complete config.
        model: What it trains.

    Raises:
        ValueError: If one of them has the device change the colors, and the other does not.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    on_device = isinstance(preprocessor, DevicePhotometry)
    for key, dataset in loaded_datasets(cfg, ['train_dataloader']):
        views = list(_candidate_views(dataset))
        if on_device and not views:
            raise ValueError(
                f'data_preprocessor.type={type(preprocessor).__name__!r} changes the colors of '
                f'candidate views on the device, but {key}.pipeline draws none: add '
                f"dict(type='{_VIEWS}', photometry='device', ...), or set "
                "data_preprocessor.type='SelfSupDataPreprocessor'."
            )
        for number, step in views:
            setting = f'{key}.pipeline.{number}.photometry'
            value = step.get('photometry', 'loader')
            if on_device and value == 'loader':
                raise ValueError(
                    f'data_preprocessor.type={type(preprocessor).__name__!r} changes the colors of '
                    f'views on the device, but {setting}={value!r}: set --cfg-options '
                    f'{setting}=device, or data_preprocessor.type=SelfSupDataPreprocessor.'
                )
            if not on_device and value == 'device':
                raise ValueError(
                    f'{setting}={value!r} leaves the colors of views to the device, but '
                    f'data_preprocessor.type={type(preprocessor).__name__!r} does not change them: '
                    'set --cfg-options data_preprocessor.type=DevicePhotometry, or '
                    f'{setting}=loader.'
                )


def _candidate_views(dataset: dict[str, Any]) -> Any:
    """The steps that draw candidate views, with their positions."""
    for number, step in enumerate(dataset.get('pipeline') or []):
        if isinstance(step, dict) and class_name(step) == _VIEWS:
            yield number, step
