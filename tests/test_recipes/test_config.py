"""The configs of recipes."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from hvs_mm import HVSAlgorithm
from hvs_mm.engine import build_model, build_runner, preflight
from hvs_mm.evaluation import check_configured
from hvs_mm.recipes import METHODS, choose_recipe, find_images, recipe_config
from hvs_mm.recipes.config import knn_split, write_knn_lists
from hvs_mm.recipes.recipe import CNN_ONLY, VIT_ONLY
from tests.helpers.configs import CONFIGS, load
from tests.helpers.images import class_names, write_images


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    return find_images(write_images(folder, class_names(['cat', 'dog'], 10)))


def make(images, folder, *args, **settings):
    recipe = choose_recipe(images, *args, **{'batch_size': 4, 'epochs': 2, **settings})
    recipe.num_workers = 0
    cfg = recipe_config(recipe, images, folder)
    write_knn_lists(images, folder)
    cfg.work_dir = str(folder)
    cfg.train_dataloader.persistent_workers = False
    return recipe, cfg


def steps_of(cfg):
    return cfg.train_dataloader.dataset.pipeline


@pytest.mark.parametrize('model', ['resnet18', 'vit-tiny'])
@pytest.mark.parametrize('method', METHODS)
def test_configs_pass_the_checks_and_survive_a_dump(images, tmp_path, method, model):
    if (model == 'resnet18' and method in VIT_ONLY) or (model == 'vit-tiny' and method in CNN_ONLY):
        return
    _, cfg = make(images, tmp_path, method, model)
    cfg.dump(tmp_path / 'config.py')
    read = Config.fromfile(tmp_path / 'config.py')
    assert read.to_dict() == cfg.to_dict()
    assert '_scope_' not in read.pretty_text
    preflight(read)
    check_configured(read)


@pytest.mark.parametrize(('method', 'candidates', 'keep'), [
    ('simsiam', [4], [2]), ('simclr', [4], [2]), ('byol', [2, 2], [1, 1]),
    ('moco', [4], [2]), ('mocov3', [2, 2], [1, 1]), ('barlowtwins', [2, 2], [1, 1]),
    ('densecl', [4], [2]), ('vicreg', [2, 2], [1, 1]), ('swav', [4, 4], [2, 4]),
    ('dino', [2, 2, 4], [1, 1, 4]), ('ibot', [2, 2], [1, 1]),
    ('dinov2', [2, 2, 4], [1, 1, 4]),
])  # fmt: skip
def test_selection(images, tmp_path, method, candidates, keep):
    _, cfg = make(images, tmp_path, method)
    model = build_model(cfg)
    assert isinstance(model, HVSAlgorithm)
    assert (cfg.model.candidates, cfg.model.keep) == (candidates, keep)
    assert steps_of(cfg)[1].num_views == candidates
    _, baseline = make(images, tmp_path, method, hard_views=False)
    # Selection is the only difference, besides its hook.
    assert baseline.model == cfg.model.algorithm
    assert steps_of(baseline)[1].num_views == keep
    assert steps_of(baseline)[1].transforms == steps_of(cfg)[1].transforms
    assert cfg.default_hooks.pop('selection') == dict(type='SelectionStatsHook')
    for name in ('default_hooks', 'custom_hooks', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert baseline[name] == cfg[name], name


def test_small_images_keep_their_detail(images, tmp_path):
    _, small = make(images, tmp_path, 'simclr', image_size=32)
    _, large = make(images, tmp_path, 'simclr', image_size=64)
    names = [[step.type for step in steps_of(cfg)[1].transforms[0]] for cfg in (small, large)]
    assert set(names[1]) - set(names[0]) == {'GaussianBlur'}
    assert small.model.algorithm.backbone.type == 'ResNet_CIFAR'
    assert large.model.algorithm.backbone.type == 'ResNet'
    for cfg, size in ((small, 32), (large, 64)):
        assert steps_of(cfg)[1].transforms[0][0].scale == size


def test_every_rate_of_simsiam_follows_the_batch_size(images, tmp_path):
    rates = {}
    for batch in (4, 8):
        _, cfg = make(images, tmp_path, 'simsiam', batch_size=batch)
        (hook,) = [hook for hook in cfg.custom_hooks if hook['type'] == 'SimSiamHook']
        assert hook['lr'] == cfg.optim_wrapper.optimizer.lr
        rates[batch] = hook['lr']
    assert rates[8] == 2 * rates[4]


def test_the_queue_of_moco_holds_whole_batches_and_each_image_once(images, tmp_path):
    for batch, length in ((4, 20), (8, 16), (20, 20)):
        _, cfg = make(images, tmp_path, 'moco', batch_size=batch)
        assert cfg.model.algorithm.queue_len == length


def test_swav_learns_prototypes_with_a_queue_of_whole_batches(images, tmp_path):
    _, cfg = make(images, tmp_path, 'swav', epochs=40, image_size=64, devices=2)
    (hook,) = [hook for hook in cfg.custom_hooks if hook['type'] == 'SwAVHook']
    assert (hook.batch_size, hook.queue_length, hook.epoch_queue_starts) == (2, 20, 3)
    assert hook.frozen_layers_cfg == {'prototypes': 5}
    loss = build_model(cfg).head.loss_module
    assert (loss.num_crops, loss.prototypes.weight.shape) == ([2, 6], (128, 128))
    sizes = [view[0].scale for view in steps_of(cfg)[1].transforms]
    assert sizes == [64, 24]


def test_dinov2_is_its_baseline_for_other_images(images, tmp_path):
    recipe, cfg = make(images, tmp_path, 'dinov2', image_size=64)
    baseline, model = load(CONFIGS / 'baselines/dinov2_vit-small.py'), cfg.model.algorithm
    changed = ('arch', 'img_size', 'patch_size', 'drop_path_rate')
    ours, theirs = (dict(one) for one in (model.backbone, baseline.model.backbone))
    for key in changed:
        assert ours.pop(key) != theirs.pop(key)
    theirs.pop('_scope_', None)
    assert ours == theirs
    assert steps_of(cfg)[2].type == 'BlockMasks'
    assert (steps_of(cfg)[2].patch_size, steps_of(cfg)[2].min_patches) == (8, 4)
    assert cfg.optim_wrapper.paramwise_cfg == baseline.optim_wrapper.paramwise_cfg
    assert cfg.optim_wrapper.optimizer.lr == recipe.lr == pytest.approx(4e-3 * (4 / 1024) ** 0.5)
    assert cfg.custom_hooks[1] == dict(type='GradientHook', clip=3.0, by='part', freeze_epochs=0)


def test_schedules_end_with_the_run(images, tmp_path):
    for settings in (dict(epochs=30), dict(epochs=None, steps=7)):
        recipe, cfg = make(images, tmp_path, 'dino', **settings)
        ends = [s.end for s in cfg.param_scheduler if s.type != 'LinearLR']
        assert ends == [recipe.steps] * 2
        warmups = [s for s in cfg.param_scheduler if s.type == 'LinearLR']
        assert [s.end for s in warmups] == [recipe.warmup] * bool(recipe.warmup)
        assert cfg.param_scheduler[len(warmups)].begin == recipe.warmup


def test_knn_lists(images, tmp_path):
    bank, queries = knn_split(images)
    assert len(bank['paths']) == 16
    assert len(queries['paths']) == 4
    assert not set(bank['paths']) & set(queries['paths'])
    write_knn_lists(images, tmp_path)
    lines = (tmp_path / 'knn_queries.txt').read_text().splitlines()
    assert [line.rsplit(' ', 1)[0] for line in lines] == queries['paths']
    assert all(int(line[-1]) == (line.startswith('dog')) for line in lines)


def test_held_out_images_are_the_queries(tmp_path):
    write_images(tmp_path / 'train', class_names(['cat', 'dog'], 10))
    write_images(tmp_path / 'val', class_names(['cat', 'dog'], 2))
    bank, queries = knn_split(find_images(tmp_path))
    assert (len(bank['paths']), bank['root']) == (20, tmp_path / 'train')
    assert (len(queries['paths']), queries['root']) == (4, tmp_path / 'val')


def test_a_run_of_so_many_steps(images, tmp_path):
    recipe, cfg = make(images, tmp_path, 'simclr', epochs=None, steps=7, image_size=16)
    assert recipe.epochs == 2
    runner = build_runner(cfg)
    runner.train()
    assert (runner.iter, runner.epoch) == (7, 2)
    assert runner.message_hub.get_scalar('train/lr').current() < recipe.lr / 2
    assert (tmp_path / 'epoch_2.pth').is_file()
