"""The k-NN accuracy of a model, on the images that the config of a pretraining run names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from mmengine.config import Config
from mmengine.dataset import BaseDataset, DefaultSampler, default_collate
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS
from torch import nn
from torch.cuda import is_available
from torch.utils.data import DataLoader

from ..utils.arguments import check_whole
from ..utils.class_name import class_name, configured_hooks
from .features import extract_features
from .knn import KNNResult, check_knn_settings, knn_accuracy

#: A folder of class folders, the config of a data set, or None for what the run trains on.
Images = str | dict[str, Any] | None

#: How ImageNet is evaluated, in MMPretrain as in DINO. ``knn_pipeline`` in a config replaces it.
CENTER_CROP = (
    # The pixels of LoadImageFromFile, and an error that names a broken file.
    dict(type='LoadCheckedImage', bad_images='error'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
)


@dataclass
class KNNSettings:
    """Settings of a k-NN evaluation.

    Attributes:
        bank: Images of known class: a folder of class folders, or the config of a data set; by
            default what the run trains on.
        queries: Images to classify, given alike; by default the split ``'val'`` of the bank.
        k: A number of neighbors, or several.
        temperature: Softmax temperature of the neighbor weights; DINO's 0.07 by default.
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
        check_whole('batch_size', self.batch_size)


class KNNEvaluation:
    """k-NN accuracy of models on the images that the config of a pretraining run names.

    Raises:
        ValueError: If the images are missing, have no labels or are fewer than k, or if bank and
            queries have different classes.

    Examples:
        >>> evaluate = KNNEvaluation(Config.fromfile('config.py'), KNNSettings(k=20))
        >>> evaluate(model).accuracy[20].top1
    """

    def __init__(self, cfg: Config, settings: KNNSettings) -> None:
        self.settings = settings
        num_workers = settings.num_workers
        if num_workers is None:
            num_workers = (cfg.get('train_dataloader') or {}).get('num_workers', 0)
        datasets = knn_datasets(cfg, settings.bank, settings.queries)
        # A tuple, once the settings are checked.
        self._k = cast(tuple[int, ...], settings.k)
        check_knn_settings(self._k, settings.temperature, len(datasets[0]))
        self.loaders = [knn_loader(d, settings.batch_size, num_workers) for d in datasets]

    def __call__(self, model: nn.Module) -> KNNResult:
        """Evaluate a model, which is left as it was; see :func:`extract_features`.

        All processes call this together, and all get the result.
        """
        network, device = self.settings.network, next(model.parameters()).device
        bank, queries = (extract_features(model, loader, network) for loader in self.loaders)
        return knn_accuracy(bank, queries, self._k, self.settings.temperature, device)


def configured_settings(cfg: Config) -> dict[str, Any]:
    """The evaluation's settings that a config gives its ``KNNHook``; empty without the hook."""
    names = KNNSettings.__dataclass_fields__
    hooks = configured_hooks(cfg, 'KNNHook')
    return {name: value for hook in hooks[:1] for name, value in hook.items() if name in names}


def check_configured(cfg: Config) -> None:
    """Check the settings and the data of a config's ``KNNHook``, if it has one, before a run.

    Raises:
        TypeError: If a k is no int.
        ValueError: If a setting is out of range, or images are missing or have no labels.
    """
    if configured_hooks(cfg, 'KNNHook'):
        KNNEvaluation(cfg, KNNSettings(**configured_settings(cfg)))


def knn_datasets(
    cfg: Config, bank: Images = None, queries: Images = None
) -> tuple[BaseDataset, BaseDataset]:
    """Build the data sets of bank and queries.

    By default the bank is what the run trains on, ``train_dataloader.dataset``, and the queries are
    its split ``'val'``, or the folder ``val`` if it has ``data_prefix='train'``. Images go through
    the ``pipeline`` of ``bank`` or ``queries`` if there is one, else through ``knn_pipeline`` of
    the run's config, else through :data:`CENTER_CROP`.

    Raises:
        ValueError: If images are missing, have no labels, one each, or the classes differ.
    """
    bank, queries = (
        dict(type='CustomDataset', data_root=images) if isinstance(images, str) else images
        for images in (bank, queries)
    )
    bank = _default_bank(cfg) if bank is None else bank
    queries = _default_queries(bank) if queries is None else queries
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        datasets = _build(cfg, 'bank', bank), _build(cfg, 'queries', queries)
    # ImageNet always has the names of its 1000 classes: only the folders tell which are there.
    by_folder = all(hasattr(dataset, 'folder_to_idx') for dataset in datasets)
    ours, theirs = (
        list((d.folder_to_idx if by_folder else d.metainfo.get('classes')) or ()) for d in datasets
    )
    if ours and theirs and ours != theirs:
        raise ValueError(
            f'bank and queries have different classes ({len(ours)} and {len(theirs)}): only in the '
            f'bank {sorted({*ours} - {*theirs})[:5]}, only in the queries '
            f'{sorted({*theirs} - {*ours})[:5]}. Give folders with the same class folders.'
        )
    return datasets


def knn_loader(dataset: BaseDataset, batch_size: int, num_workers: int) -> DataLoader:
    """A loader that gives every image to one process, in order; its workers end with it."""
    return DataLoader(
        dataset,
        batch_size,
        # Without a seed it would draw one from the random numbers of the training.
        sampler=DefaultSampler(dataset, shuffle=False, seed=0, round_up=False),
        num_workers=num_workers,
        collate_fn=default_collate,
        pin_memory=is_available(),
    )


def _default_bank(cfg: Config) -> dict[str, Any]:
    train = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if 'type' not in train or 'dataset' in train or 'datasets' in train:
        raise ValueError(
            f'bank: train_dataloader.dataset is {train.get("type", "missing")}, which is no data '
            f'set of images; {_way_out("bank")}.'
        )
    # The pipeline of the training makes several views of an image.
    return {key: value for key, value in train.items() if key != 'pipeline'}


def _default_queries(bank: dict[str, Any]) -> dict[str, Any]:
    # A limit on the training images says nothing about those of another split.
    others = {key: value for key, value in bank.items() if key not in ('indices', 'num_samples')}
    if bank.get('split') == 'train':
        return {**others, 'split': 'val'}
    if bank.get('data_prefix') in ('train', 'train/') and not bank.get('ann_file'):
        return {**others, 'data_prefix': 'val'}
    raise ValueError(
        f"queries: the bank, {_describe(bank)}, has neither split='train' nor data_prefix='train', "
        f"to which 'val' would belong; {_way_out('queries')}."
    )


def _build(cfg: Config, name: str, config: dict[str, Any]) -> BaseDataset:
    pipeline = config.get('pipeline', cfg.get('knn_pipeline', CENTER_CROP))
    try:
        # In test mode a broken image is an error; training would take another image instead.
        dataset = DATASETS.build({'test_mode': True, **config, 'pipeline': list(pipeline)})
    except (AssertionError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f'{name}: {_describe(config)} cannot be read: {error}; correct it, or {_way_out(name)}.'
        ) from error
    info = dataset.get_data_info(0)
    if not isinstance(info.get('gt_label'), int):
        raise ValueError(
            f'{name}: the images of {_describe(config)} have no labels, one class each; '
            f'{_way_out(name)}.'
        )
    if pipeline is CENTER_CROP and 'img_path' not in info:
        raise ValueError(
            f'{name}: the images of {_describe(config)} are no files: say how to prepare them with '
            'knn_pipeline=[...] in the config.'
        )
    return dataset


def _describe(config: dict[str, Any]) -> str:
    names = ('data_root', 'data_prefix', 'ann_file', 'split', 'with_label')
    settings = [f'{name}={config[name]!r}' for name in names if name in config]
    return f'{class_name(config)}({", ".join(settings)})'


def _way_out(name: str) -> str:
    return (
        f'name a folder of class folders, or the config of a data set, as {name!r} of KNNHook, or '
        f'a folder with --{name} of tools/eval_knn.py'
    )
