"""Which images a k-NN evaluation reads, told from the config of a pretraining run."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset, DefaultSampler, default_collate
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS
from torch.cuda import is_available
from torch.utils.data import DataLoader

#: A folder of class folders, the config of a data set, or None for what the run trains on.
Images = str | dict[str, Any] | None

#: How ImageNet is evaluated, in MMPretrain as in DINO. ``knn_pipeline`` in a config replaces it.
CENTER_CROP = (
    # Its pixels; broken files are told by name.
    dict(type='LoadCheckedImage', bad_images='error'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
)


def knn_datasets(
    cfg: Config, bank: Images = None, queries: Images = None
) -> tuple[BaseDataset, BaseDataset]:
    """The data sets of bank and queries.

    By default the bank is what the run trains on, ``train_dataloader.dataset``, and the queries are
    its split ``'val'``, or the folder ``val`` if it is ``data_prefix='train'``. Images go through
    the ``pipeline`` of ``bank`` or ``queries`` if there is one, else through ``knn_pipeline`` of
    the run's config, else through :data:`CENTER_CROP`.

    Args:
        cfg: Config of a pretraining run.
        bank: Images of known class.
        queries: Images to classify.

    Returns:
        Both data sets, whose samples have a label each and the same classes.

    Raises:
        ValueError: If images are missing or have no labels, or the classes differ; with the setting
            to change.
    """
    bank = _bank_config(cfg, bank)
    queries = _query_config(bank, queries)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        built = [_build(cfg, name, c) for name, c in (('bank', bank), ('queries', queries))]
    _check_classes(*built)
    return built[0], built[1]


def knn_loader(dataset: BaseDataset, batch_size: int, num_workers: int) -> DataLoader:
    """A loader that gives every image to one process, in order.

    Args:
        dataset: Where the images come from.
        batch_size: Images per batch.
        num_workers: Worker processes, which end when all images are read.
    """
    return DataLoader(
        dataset,
        batch_size,
        # With a seed, or it would draw one from the random numbers of the training.
        sampler=DefaultSampler(dataset, shuffle=False, seed=0, round_up=False),
        num_workers=num_workers,
        collate_fn=default_collate,
        pin_memory=is_available(),
    )


def _bank_config(cfg: Config, bank: Images) -> dict[str, Any]:
    if bank is not None:
        return _as_config(bank)
    train = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if 'type' not in train or 'dataset' in train or 'datasets' in train:
        raise ValueError(
            f'bank: train_dataloader.dataset is {train.get("type", "missing")}, which is no data '
            f'set of images; {_way_out("bank")}.'
        )
    # What it makes of an image, several views, is not what is evaluated.
    return {key: value for key, value in train.items() if key != 'pipeline'}


def _query_config(bank: dict[str, Any], queries: Images) -> dict[str, Any]:
    if queries is not None:
        return _as_config(queries)
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


def _as_config(images: str | dict[str, Any]) -> dict[str, Any]:
    return dict(type='CustomDataset', data_root=images) if isinstance(images, str) else images


def _build(cfg: Config, name: str, config: dict[str, Any]) -> BaseDataset:
    pipeline = config.get('pipeline', cfg.get('knn_pipeline', CENTER_CROP))
    try:
        # In test mode a broken image is an error, not a reason to take another one.
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
    return f'{getattr(config["type"], "__name__", config["type"])}({", ".join(settings)})'


def _way_out(name: str) -> str:
    return (
        f'name a folder of class folders, or the config of a data set, as {name!r} of KNNHook, or '
        f'a folder with --{name} of tools/eval_knn.py'
    )


def _check_classes(bank: BaseDataset, queries: BaseDataset) -> None:
    """Raise ``ValueError`` unless equal labels mean equal classes, as far as they have names."""
    # ImageNet has names of its own: only its folders tell which classes are there.
    by_folder = all(hasattr(dataset, 'folder_to_idx') for dataset in (bank, queries))
    names = [
        list(d.folder_to_idx) if by_folder else d.metainfo.get('classes') for d in (bank, queries)
    ]
    if None in names or list(names[0]) == list(names[1]):
        return
    only_bank = sorted(set(names[0]) - set(names[1]))
    only_queries = sorted(set(names[1]) - set(names[0]))
    raise ValueError(
        f'bank and queries have different classes ({len(names[0])} and {len(names[1])}): only in '
        f'the bank {only_bank[:5]}, only in the queries {only_queries[:5]}. Give folders with the '
        'same class folders.'
    )
