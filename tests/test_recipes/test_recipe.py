"""Which settings follow from images, method and length."""

from __future__ import annotations

import pytest
import torch

from hvs_mm.datasets.loading.image_kind import RGB
from hvs_mm.recipes import METHODS, NETWORKS, choose_recipe


class Images:
    root, kind = 'images', RGB

    def __init__(self, number, side):
        self.number, self.median_side = number, side

    def __len__(self):
        return self.number

    def describe(self):
        return f'{self.number} images'


def images(number=10000, side=32):
    return Images(number, side)


@pytest.fixture(params=[False, True], ids=['cpu', 'gpu'])
def on_gpu(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: request.param)
    return request.param


@pytest.mark.parametrize(('side', 'cpu', 'gpu'), [
    (20, 32, 32), (32, 32, 32), (63, 32, 32), (64, 64, 64), (128, 128, 128), (480, 128, 224),
])  # fmt: skip
def test_image_size(on_gpu, side, cpu, gpu):
    assert choose_recipe(images(side=side)).image_size == (gpu if on_gpu else cpu)


@pytest.mark.parametrize('method', METHODS)
def test_default_network(on_gpu, method):
    network = choose_recipe(images(), method).network
    assert network.is_vit == (method in ('dino', 'ibot', 'dinov2'))
    assert (network.depth, network.arch) in (
        [(50, ''), (0, 'deit-small')] if on_gpu else [(18, ''), (0, 'deit-tiny')]
    )


@pytest.mark.parametrize(('number', 'batch'), [(16, 4), (364, 32), (2000, 128), (10**6, 128)])
def test_batch_size_leaves_steps_in_an_epoch(number, batch):
    recipe = choose_recipe(images(number))
    assert recipe.batch_size == batch
    assert recipe.steps_per_epoch == number // batch


def test_rates_follow_the_batch_size():
    by_batch = {
        batch: choose_recipe(images(10**6), 'simclr', batch_size=batch)
        for batch in (128, 512, 1024, 4096)
    }
    assert [r.optimizer for r in by_batch.values()] == ['SGD', 'SGD', 'LARS', 'LARS']
    assert by_batch[512].lr == 4 * by_batch[128].lr == pytest.approx(0.4)
    # Upstream's.
    assert by_batch[4096].lr == pytest.approx(4.8)
    simsiam = choose_recipe(images(10**6), 'simsiam', 'resnet50', batch_size=256)
    assert (simsiam.optimizer, simsiam.lr) == ('SGD', 0.05)
    dino = choose_recipe(images(10**6), 'dino', 'vit-small', batch_size=1024)
    assert (dino.optimizer, dino.lr) == ('AdamW', 2e-3)
    assert choose_recipe(images(), 'dino', 'vit-tiny', batch_size=256).lr == pytest.approx(1e-3)


def test_length():
    recipe = choose_recipe(images(), epochs=20)
    assert (recipe.epochs, recipe.steps, recipe.limited) == (20, 20 * 78, False)
    assert recipe.warmup == 2 * 78
    recipe = choose_recipe(images(), steps=100)
    assert (recipe.epochs, recipe.steps, recipe.limited) == (2, 100, True)
    assert choose_recipe(images()).epochs == 100


def test_teachers_are_quicker_in_short_runs():
    short, long = (choose_recipe(images(), 'dino', epochs=epochs) for epochs in (5, 300))
    assert short.momentum == 0.02
    assert long.momentum == 0.004


@pytest.mark.parametrize(('number', 'prototypes', 'of_swav'), [
    (364, 1024, 128), (10000, 4096, 1024), (1281167, 65536, 2048),
])  # fmt: skip
def test_prototypes_follow_the_number_of_images(number, prototypes, of_swav):
    assert choose_recipe(images(number), 'dino').prototypes == prototypes
    assert choose_recipe(images(number), 'ibot').prototypes == min(prototypes, 8192)
    assert choose_recipe(images(number), 'swav').prototypes == of_swav


def test_reasons_are_five_lines():
    reasons = choose_recipe(images(), 'simsiam').reasons
    assert list(reasons) == ['images', 'network', 'views', 'length', 'optimizer']
    assert 'fixed for the predictor' in reasons['optimizer']
    assert not any('\n' in reason for reason in reasons.values())


@pytest.mark.parametrize(('number', 'settings', 'text'), [
    (100, dict(method='simsam'), "--method 'simsam' is unknown: did you mean 'simsiam'"),
    (100, dict(model='resnet-50'), "--model 'resnet-50' is unknown: did you mean 'resnet50'"),
    (100, dict(method='ibot', model='resnet50'), '--method ibot masks patches'),
    (100, dict(method='swav', model='vit-tiny'), '--method swav needs a map of .* of resnet18'),
    (100, dict(views=1), '--views 1 leaves no choice'),
    (100, dict(views=2), '--views 2 leaves no choice'),
    (100, dict(epochs=0), '--epochs 0 must be at least 1'),
    (100, dict(steps=0), '--steps 0 must be at least 1'),
    (100, dict(epochs=1, steps=1), 'give one of them'),
    (100, dict(devices=0), '--devices 0 must be at least 1'),
    (100, dict(batch_size=101), '--batch-size 101 must be'),
    (100, dict(batch_size=1), '--batch-size 1 must be'),
    (100, dict(batch_size=9, devices=2), 'must be a multiple of --devices 2'),
    (100, dict(batch_size=2, devices=2), '--batch-size 2 leaves 1 images for each of --devices 2'),
    (100, dict(image_size=8), '--image-size 8 must be at least 16'),
    (100, dict(model='vit-tiny', image_size=90), 'take 88 or 96'),
    (3, dict(), 'there are 3 images'),
])  # fmt: skip
def test_errors(number, settings, text):
    with pytest.raises(ValueError, match=text):
        choose_recipe(images(number), **settings)


@pytest.mark.parametrize('size', [16, 32, 48, 64, 96, 112, 128, 160, 192, 224, 448])
def test_crops_are_whole_patches(size):
    for model, network in NETWORKS.items():
        recipe = choose_recipe(images(), 'dino', model, image_size=size)
        if network.is_vit:
            assert recipe.local_size % network.patch_size(size) == 0
        assert 0 < recipe.local_size < size
