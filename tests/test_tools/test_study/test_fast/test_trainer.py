"""The training loop against the Runner, and against itself after a resume."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch import Tensor
from torch.utils.data import DataLoader

from hvs_mm.engine import build_runner
from hvs_study.fast.trainer import Batches, FastTrainer
from hvs_study.fast.views import BatchedViews
from hvs_study.schema import StudyError
from tests.helpers.configs import CONFIGS, load

IMAGES, BATCH, EPOCHS = 16, 8, 2
METHODS = ('simsiam', 'simclr', 'dino', 'ibot')


def config_of(name: str, **options: Any) -> Config:
    cfg = deepcopy(load(CONFIGS / 'demo' / f'{name}.py'))
    cfg.train_dataloader.update(batch_size=BATCH, num_workers=0, persistent_workers=False)
    cfg.train_cfg.max_epochs = EPOCHS
    for one in cfg.param_scheduler:
        one.update(end=EPOCHS) if one.get('end') == 8 else None
        one.update(T_max=EPOCHS) if one.get('T_max') == 8 else None
    cfg.merge_from_dict(options)
    cfg.randomness = dict(seed=3)
    return cfg


@pytest.fixture
def images():
    return torch.randint(256, (IMAGES, 48, 3, 48), dtype=torch.uint8)


def trainer_of(cfg: Config, images: Tensor, **settings: Any) -> FastTrainer:
    views = BatchedViews(cfg.train_dataloader.dataset.pipeline, images)
    batches = Batches(views, cfg.train_dataloader, cfg.randomness.seed)
    return FastTrainer(cfg, batches, **settings)


def state_of(trainer: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


class _Watch(Hook):
    """Starts the model of a Runner from given weights, and notes its losses."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state, self.losses = state, []

    def before_train(self, runner: Any) -> None:
        runner.model.load_state_dict(self.state)

    def after_train_iter(self, runner: Any, *args: Any, outputs: Any = None, **kwargs: Any) -> None:
        self.losses.append(outputs['loss'].detach())


class _GivenBatches(DataLoader):
    """A loader of a Runner that gives the batches of a trainer."""

    def __init__(self, batches: Batches) -> None:
        super().__init__(list(range(len(batches))), batch_size=None)
        self.batches, self.epoch = batches, 0

    def __iter__(self) -> Any:
        self.epoch += 1
        return self.batches.of_epoch(self.epoch - 1)


def check_against_runner(name: str, images: Tensor, folder: Any, **options: Any) -> None:
    cfg = config_of(name, **options)
    trainer = trainer_of(cfg, images, exact=True)
    watch = _Watch(state_of(trainer))
    cfg.work_dir = str(folder)
    cfg.default_hooks.update(health=None, checkpoint=None, panel=None, sampler_seed=None)
    runner = build_runner(cfg)
    runner._train_dataloader = _GivenBatches(trainer.train_dataloader)
    runner.register_hook(watch, priority='LOWEST')
    trainer.before_training()
    losses = [loss for _ in range(EPOCHS) for loss in trainer.train_epoch()]
    runner.train()
    assert len(losses) == EPOCHS * IMAGES // BATCH
    torch.testing.assert_close(torch.stack(losses), torch.stack(watch.losses), rtol=0, atol=1e-6)
    before, wanted = watch.state, runner.model.state_dict()
    for key, value in trainer.model.state_dict().items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-5, msg=key)
    moved = [key for key in wanted if not torch.equal(wanted[key], before[key])]
    assert len(moved) > len(wanted) / 2


def test_training_is_that_of_the_runner(images, tmp_path):
    check_against_runner('hvs_simsiam', images, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('prefix', ['', 'hvs_'])
def test_training_of_every_method_is_that_of_the_runner(method, prefix, images, tmp_path):
    check_against_runner(f'{prefix}{method}', images, tmp_path)


@pytest.mark.parametrize(
    'method',
    [
        'simclr',
        'dino',
        pytest.param('simsiam', marks=pytest.mark.slow),
        pytest.param('ibot', marks=pytest.mark.slow),
    ],
)
def test_the_fast_steps_are_the_exact_ones_but_for_rounding(method, images):
    losses, weights = [], []
    for exact in (True, False):
        trainer = trainer_of(config_of(f'hvs_{method}'), images, exact=exact)
        trainer.before_training()
        losses.append(trainer.train_epoch()[:2])
        weights.append(trainer.model.state_dict())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_arms_have_the_same_weights_images_and_views(images):
    """The first candidates of an arm that never selects are the views of the baseline."""
    losses = []
    never = {'model.schedule': dict(warmup=EPOCHS)}
    for name, options in (('simclr', {}), ('hvs_simclr', never), ('hvs_simclr', {})):
        trainer = trainer_of(config_of(name, **options), images)
        trainer.before_training()
        losses.append(torch.stack(trainer.train_epoch()))
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-6)
    assert (losses[2] > losses[0]).all()


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('hvs_simsiam', {}),
        ('dino', {}),
        # The guard has a running mean.
        ('hvs_dino', {'model.guard': dict()}),
    ],
)
def test_a_resumed_training_is_the_uninterrupted_one(name, options, images):
    cfg = config_of(name, **options)
    whole, first, second = (trainer_of(cfg, images) for _ in range(3))
    whole.before_training()
    expected = [torch.stack(whole.train_epoch()) for _ in range(EPOCHS)]
    first.before_training()
    assert torch.equal(torch.stack(first.train_epoch()), expected[0])
    second.load_state_dict(first.state_dict())
    second.before_training()
    assert torch.equal(torch.stack(second.train_epoch()), expected[1])
    assert second.shown == whole.shown
    assert second.message_hub.runtime_info == whole.message_hub.runtime_info
    for key, value in second.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[key]), key


def test_before_the_schedules_begin_hooks_keep_their_first_values(images):
    trainer = trainer_of(config_of('dino'), images, start=1)
    trainer.before_training()
    for _ in range(EPOCHS):
        trainer.train_epoch()
    momenta = trainer.message_hub.get_scalar('train/teacher_momentum').data[0]
    # Two steps before, two after: the first of them still has the first value.
    assert momenta == pytest.approx([0.01, 0.01, 0.01, 0.005])


def test_unknown_hooks_are_rejected(images):
    cfg = config_of('simsiam')
    cfg.custom_hooks = [dict(type='EMAHook')]
    with pytest.raises(StudyError, match=r"does not know the hooks \['EMAHook'\]"):
        trainer_of(cfg, images)


def test_the_last_batch_may_be_smaller_or_dropped(images):
    cfg = config_of('simsiam')
    views = BatchedViews(cfg.train_dataloader.dataset.pipeline, images)
    for drop_last, sizes in ((False, [6, 6, 4]), (True, [6, 6])):
        batches = Batches(views, dict(batch_size=6, drop_last=drop_last), seed=0)
        assert [len(batch['data_samples']) for batch in batches.of_epoch(0)] == sizes
        assert len(batches) == len(sizes)
