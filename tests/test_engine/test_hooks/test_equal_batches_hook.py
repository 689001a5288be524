"""``EqualBatchesHook`` in real runs of two processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.dist import get_rank
from mmpretrain.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader, Sampler

from hvs_mm.engine import EqualBatchesHook
from hvs_mm.models import ViewsError
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import GROUP_NORM, algorithm_config
from tests.helpers.tiny_dino import build_runner

NEVER_ROUNDED = dict(type='DefaultSampler', round_up=False)


@DATA_SAMPLERS.register_module()
class _OpenBatches(Sampler):
    """Two batches, of sizes that torch's own batch sampler would not give."""

    def __init__(self, sampler: Sampler, batch_size: int, more: int = 0) -> None:
        self.sampler, self.batch_size, self.more = sampler, batch_size, more

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[list[int]]:
        yield [0] * self.batch_size
        yield [0] * (self.batch_size + get_rank() * self.more)


@DATA_SAMPLERS.register_module()
class _OwnShare(Sampler):
    """A share of the images that is larger in every further process, and all there is to it."""

    def __init__(self, dataset: Any, seed: Any = None) -> None:
        self.size = 4 + 2 * get_rank()

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.size))


def loader(num_samples: int, **settings: Any) -> dict[str, Any]:
    return dict(num_samples=num_samples, loader=settings)


#: What of the loader differs, and a part of the error in every process.
REFUSED = {
    'other data': (
        loader((8, 10)),
        'data sets of different lengths: 8 on rank(s) 0, 10 on rank(s) 1 images',
    ),
    'other data, without end': (
        loader((8, 10), sampler=dict(type='InfiniteSampler')),
        'data sets of different lengths: 8 on rank(s) 0, 10 on rank(s) 1 images',
    ),
    'more batches': (
        loader(5, sampler=NEVER_ROUNDED),
        'different numbers of batches in an epoch: 2 on rank(s) 0, 1 on rank(s) 1',
    ),
    'no batch in one': (
        loader(1, sampler=NEVER_ROUNDED),
        'different numbers of batches in an epoch: 1 on rank(s) 0, 0 on rank(s) 1',
    ),
    'a sampler of ones own': (
        loader(8, sampler=dict(type='_OwnShare')),
        'different numbers of batches in an epoch: 2 on rank(s) 0, 3 on rank(s) 1',
    ),
    'another last batch': (
        loader(7, sampler=NEVER_ROUNDED),
        'images in the last batch of an epoch: 2 on rank(s) 0, 1 on rank(s) 1',
    ),
    'another batch size': (
        loader(9, batch_size=(3, 2), sampler=NEVER_ROUNDED),
        'different numbers of images in batches: 3 on rank(s) 0, 2 on rank(s) 1',
    ),
    'no batch at all': (
        loader(3, batch_size=4, drop_last=True),
        'an epoch has no batch: 3 images for 2 process(es) with train_dataloader.batch_size=4',
    ),
    'another size in the second batch': (
        loader(8, batch_sampler=dict(type='_OpenBatches', more=1)),
        'different numbers of images in batch 1: 2 on rank(s) 0, 3 on rank(s) 1',
    ),
}
#: What trains, and in how many batches of how many images.
ACCEPTED = {
    'a rest': (loader(5), [2, 1]),
    'a rest that is dropped': (loader(5, drop_last=True), [2]),
    'fewer images than processes': (loader(1), [1]),
    'a rest that only one process has, dropped': (
        loader(5, sampler=NEVER_ROUNDED, drop_last=True),
        [2],
    ),
    'a batch sampler of ones own': (
        loader(8, batch_sampler=dict(type='_OpenBatches')),
        [2, 2],
    ),
}


class _NoteSizes(EqualBatchesHook):
    def before_train(self, runner):
        super().before_train(runner)
        self.sizes = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        super().before_train_iter(runner, batch_idx, data_batch)
        self.sizes.append(len(data_batch['data_samples']))


def _of_rank(value: Any) -> Any:
    return value[get_rank()] if isinstance(value, tuple) else value


def _run(work_dir: str, num_samples: Any, loader: dict[str, Any]) -> list[int]:
    runner = build_runner(
        work_dir,
        dict(
            type='HVSAlgorithm',
            algorithm=algorithm_config('SimCLR', GROUP_NORM),
            candidates=[4],
            keep=[2],
        ),
        num_views=[4],
        max_epochs=1,
        # Two batches, should there be no end.
        **(
            dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=2))
            if loader.get('sampler', {}).get('type') == 'InfiniteSampler'
            else {}
        ),
        model_wrapper_cfg=dict(type='CPUDistributedDataParallel'),
    )
    settings = runner._train_dataloader
    settings.dataset.num_samples = _of_rank(num_samples)
    for key, value in loader.items():
        settings[key] = _of_rank(value)
    hook = _NoteSizes()
    runner.register_hook(hook)
    runner.train()
    return hook.sizes


def _try_all(rank: int, folder: str) -> None:
    found = {}
    for number, (name, (settings, _)) in enumerate({**REFUSED, **ACCEPTED}.items()):
        try:
            found[name] = _run(f'{folder}/{number}-{rank}', **settings)
        except ViewsError as error:
            found[name] = str(error)
    with open(f'{folder}/{rank}.json', 'w') as file:
        json.dump(found, file)


@pytest.fixture(scope='module')
def found(tmp_path_factory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp('processes')
    run_ranks(_try_all, 2, folder, str(folder))
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused(found, name):
    for rank in found:
        assert isinstance(rank[name], str), 'it trained'
        assert REFUSED[name][1] in rank[name]
        assert 'train_dataloader' in rank[name]


@pytest.mark.parametrize('name', ACCEPTED)
def test_what_trains(found, name):
    for rank in found:
        assert rank[name] == ACCEPTED[name][1]


def _leave_the_other_alone(rank: int, folder: str) -> None:
    loader = DataLoader(range(2), batch_sampler=_OpenBatches(None, 1))
    config = Config(dict(env_cfg=dict(dist_cfg=dict(timeout=1))))
    runner = SimpleNamespace(cfg=config, train_loop=SimpleNamespace(dataloader=loader))
    hook = EqualBatchesHook()
    hook.before_train(runner)
    done = Path(folder, 'done')
    batch = dict(data_samples=[None])
    if rank == 0:
        with pytest.raises(RuntimeError, match=r'1000 ?ms'):
            hook.before_train_iter(runner, 0, batch)
        # All else that the processes send has the timeout of their own group.
        done.touch()
        return
    for _ in range(200):
        if done.exists():
            return
        sleep(0.1)
    # Lest the first one wait on.
    hook.before_train_iter(runner, 0, batch)


def test_a_process_that_hangs(tmp_path):
    run_ranks(_leave_the_other_alone, 2, tmp_path, str(tmp_path))
    assert (tmp_path / 'done').exists()


def test_one_process_without_a_batch(tmp_path):
    with pytest.raises(ViewsError, match=r'an epoch has no batch: 3 images for 1 process\(es\)'):
        _run(tmp_path, **loader(3, batch_size=4, drop_last=True))
