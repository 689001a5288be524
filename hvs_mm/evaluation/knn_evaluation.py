"""The k-NN accuracy of a model, from a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from torch import nn

from .caching import KeptInMemory
from .features import extract_features
from .knn import KNNResult, check_knn_settings, knn_accuracy
from .knn_data import Images, knn_datasets, knn_loader


@dataclass
class KNNSettings:
    """Settings of a k-NN evaluation.

    Attributes:
        bank: Images of known class, see :func:`hvs_mm.evaluation.knn_datasets`.
        queries: Images to classify, see there.
        k: A number of neighbors, or several.
        temperature: Of the weights; DINO's 0.07 by default.
        network: ``'teacher'``, ``'student'`` or ``'backbone'``; by default the teacher if the model
            has one.
        batch_size: Images per process that go forward together.
        num_workers: Worker processes that read images; by default those of the training.

    Raises:
        TypeError: If a k is no int.
        ValueError: If a setting is out of range.
    """

    bank: Images = None
    queries: Images = None
    k: int | Sequence[int] = (10, 20, 100, 200)
    temperature: float = 0.07
    network: str | None = None
    batch_size: int = 128
    num_workers: int | None = None

    def __post_init__(self) -> None:
        self.k = tuple(sorted(set([self.k] if isinstance(self.k, int) else self.k)))
        check_knn_settings(self.k, self.temperature)
        if self.batch_size < 1:
            raise ValueError(f'batch_size={self.batch_size} must be at least 1.')


class KNNEvaluation:
    """k-NN accuracy of models on the images of a config.

    Args:
        cfg: Config of a pretraining run.
        settings: Of the evaluation.
        in_memory: Prepare the images once for all calls, see :class:`KeptInMemory`; only without
            worker processes, which would keep them for themselves.

    Attributes:
        loaders: Of the bank and of the queries.

    Raises:
        ValueError: If the images are missing, have no labels or are fewer than k, or if bank and
            queries have different classes.

    Examples:
        >>> evaluate = KNNEvaluation(Config.fromfile('config.py'), KNNSettings(k=20))
        >>> evaluate(model).accuracy[20].top1
    """

    def __init__(self, cfg: Config, settings: KNNSettings, in_memory: bool = False) -> None:
        self.settings = settings
        num_workers = settings.num_workers
        if num_workers is None:
            num_workers = (cfg.get('train_dataloader') or {}).get('num_workers', 0)
        datasets = knn_datasets(cfg, settings.bank, settings.queries)
        check_knn_settings(settings.k, settings.temperature, len(datasets[0]))
        if in_memory and num_workers == 0:
            datasets = [KeptInMemory(dataset) for dataset in datasets]
        self.loaders = tuple(
            knn_loader(dataset, settings.batch_size, num_workers) for dataset in datasets
        )

    def __call__(self, model: nn.Module) -> KNNResult:
        """Evaluate a model, which is left as it was; see :func:`extract_features`.

        All processes call this together, and all get the result.
        """
        settings = self.settings
        bank, queries = (
            extract_features(model, loader, settings.network) for loader in self.loaders
        )
        device = next(model.parameters()).device
        return knn_accuracy(bank, queries, settings.k, settings.temperature, device)


def configured_settings(cfg: Config) -> dict[str, Any]:
    """The settings that a config's ``KNNHook`` has for the evaluation, by name; none without it."""
    return _settings_of(_find_hook(cfg) or {})


def check_configured(cfg: Config) -> None:
    """Check the settings and the data of a config's ``KNNHook``, if it has one, before a run.

    Raises:
        TypeError: If a k is no int.
        ValueError: If a setting is out of range, or images are missing or have no labels.
    """
    hook = _find_hook(cfg)
    if hook is not None:
        KNNEvaluation(cfg, KNNSettings(**_settings_of(hook)))


def _find_hook(cfg: Config) -> dict[str, Any] | None:
    for hook in [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]:
        kind = hook.get('type') if isinstance(hook, dict) else None
        if str(getattr(kind, '__name__', kind)).split('.')[-1] == 'KNNHook':
            return hook
    return None


def _settings_of(hook: dict[str, Any]) -> dict[str, Any]:
    names = KNNSettings.__dataclass_fields__
    return {name: value for name, value in hook.items() if name in names}
