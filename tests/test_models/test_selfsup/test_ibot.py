"""iBOT: masks, tokens and heads; what it shares with DINO is tested in test_dino.py."""

from __future__ import annotations

import math
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from hvs_mm.engine import CPUDistributedDataParallel
from hvs_mm.models import HVSAlgorithm, IBOTHead, IBOTNeck, ViewsError
from hvs_mm.selection import ScoreWeights
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny_dino import (
    GLOBAL,
    PATCH,
    PROTOTYPES,
    build_dino,
    build_hvs_dino,
    candidate_crops,
    crops,
    dino_config,
    epoch_of_run,
    random_masks,
    random_samples,
    samples_with,
)

SIDE = GLOBAL // PATCH


def build(**kwargs):
    return build_dino('IBOT', **kwargs)


# --- Backbone --------------------------------------------------------------------------------


def upstream_backbone(backbone, **kwargs):
    config = {**dino_config('IBOT')['backbone'], 'type': 'VisionTransformer', **kwargs}
    upstream = MODELS.build(config)
    missing, unexpected = upstream.load_state_dict(backbone.state_dict(), strict=False)
    assert (missing, unexpected) == ([], ['mask_token'])
    return upstream


@pytest.mark.parametrize('side', [GLOBAL, GLOBAL // 2])
@pytest.mark.parametrize('settings', [{}, {'pre_norm': True}, {'final_norm': False}])
def test_backbone_is_upstreams(side, settings):
    """Weights and outputs, at the size of the position embedding and at another one."""
    backbone = build(backbone=settings).backbone
    views = torch.randn(2, 3, side, side)
    tokens = backbone(views)[-1]
    assert tokens.shape == (2, 1 + (side // PATCH) ** 2, 32)
    upstream = upstream_backbone(backbone, **settings, out_type='raw')
    assert torch.equal(upstream(views)[-1], tokens)
    assert torch.equal(upstream_backbone(backbone, **settings)(views)[-1], tokens[:, 0])
    no_mask = torch.zeros(2, side // PATCH, side // PATCH, dtype=torch.bool)
    assert torch.equal(backbone(views, no_mask)[-1], tokens)


def test_masked_pixels_are_not_seen():
    """What lies under a mask changes nothing; what lies beside it does."""
    backbone = build().backbone
    mask = random_masks(3, 1)[:, 0]
    mask[0, 1, 2] = True
    pixels = mask.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
    views, noise = torch.randn(2, 3, 3, GLOBAL, GLOBAL)
    with torch.no_grad():
        tokens = backbone(views, mask)[-1]
        under = backbone(torch.where(pixels, noise, views), mask)[-1]
        beside = backbone(torch.where(pixels, views, noise), mask)[-1]
        unmasked = backbone(views)[-1]
        # Not a constant, which the normalization would take away again.
        backbone.mask_token += torch.randn_like(backbone.mask_token)
        other_token = backbone(views, mask)[-1]
    torch.testing.assert_close(under, tokens)
    for other in (beside, unmasked, other_token):
        assert not torch.allclose(other, tokens, atol=1e-2)


def test_mask_token_comes_before_the_position_embedding():
    """As for an image whose patch embeddings are the mask token."""
    backbone = build().backbone
    view, mask = torch.randn(1, 3, GLOBAL, GLOBAL), torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[0, 1, 3] = True
    tokens = backbone(view, mask)[-1]
    embed = backbone.patch_embed.forward

    def with_token(x):
        patches, size = embed(x)
        patches = patches.clone()
        patches[0, 1 * SIDE + 3] = backbone.mask_token
        return patches, size

    backbone.patch_embed.forward = with_token
    torch.testing.assert_close(backbone(view)[-1], tokens)


# --- Loss ------------------------------------------------------------------------------------


def patch_term_by_hand(algorithm, view, mask):
    """The patch loss of one view of one sample."""
    neck, teacher = algorithm.neck, algorithm.teacher
    x = neck.patch_logits(algorithm.backbone(view[None], mask[None])[-1][0, 1:][mask.flatten()])
    y = teacher['backbone'](view[None])[-1][0, 1:][mask.flatten()]
    y = teacher['neck'].patch_logits(y)
    head = algorithm.head
    target = ((y - head.patch_center) / head.current_patch_teacher_temp()).softmax(-1)
    loss = -(target * (x / head.student_temp).log_softmax(-1)).sum(-1)
    return loss.mean() if len(loss) else torch.tensor(0.0)


def cls_term_by_hand(algorithm, views, masks, b):
    head, terms = algorithm.head, []
    for t in range(2):
        tokens = algorithm.teacher['backbone'](views[t][b : b + 1])[-1]
        y = algorithm.teacher['neck']([tokens])[0]
        target = ((y - head.center) / head.current_teacher_temp()).softmax(-1)
        for s, view in enumerate(views):
            if s != t:
                # The student's global crops are masked for the [CLS] term, too.
                mask = masks[b : b + 1, s] if s < 2 else None
                x = algorithm.neck([algorithm.backbone(view[b : b + 1], mask)[-1]])[0]
                terms.append(-(target * (x / head.student_temp).log_softmax(-1)).sum())
    return sum(terms) / len(terms)


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('num_local', [0, 2])
def test_loss_by_hand(shared, num_local):
    """View by view and patch by patch, with a view without masks."""
    sizes = {} if shared else {'patch_out_channels': 48}
    algorithm = build(
        num_crops=2 + num_local,
        neck={'shared_head': shared, **sizes},
        head={'cls_weight': 0.7, 'patch_weight': 1.3, **sizes},
    )
    views, masks = crops(2, num_local), random_masks(3, 2)
    with torch.no_grad():
        cls = sum(cls_term_by_hand(algorithm, views, masks, b) for b in range(3)) / 3
        patch = sum(
            patch_term_by_hand(algorithm, views[t][b], masks[b, t])
            for b in range(3)
            for t in range(2)
        )
        losses = algorithm.loss(views, samples_with(masks))
    torch.testing.assert_close(losses['cls_term'], cls, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses['patch_term'], patch / 6, rtol=1e-4, atol=1e-5)
    expected = 0.7 * cls + 1.3 * patch / 6
    torch.testing.assert_close(losses['loss'], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('patch_center', ['masked', 'all'])
@pytest.mark.parametrize('shared', [True, False])
def test_centers_after_a_step(patch_center, shared):
    sizes = {} if shared else {'patch_out_channels': 48}
    head = {'patch_center': patch_center, **sizes}
    algorithm = build(num_crops=2, neck={'shared_head': shared, **sizes}, head=head)
    views, masks = crops(2), random_masks(3, 2)
    before = (algorithm.head.center.clone(), algorithm.head.patch_center.clone())
    algorithm.loss(views, samples_with(masks))
    with torch.no_grad():
        tokens = algorithm.teacher_tokens(views)
        neck = algorithm.teacher['neck']
        cls = neck([tokens.flatten(0, 1)])[0].mean(0)
        counted = masks.flatten(2) if patch_center == 'masked' else torch.ones(3, 2, 16) > 0
        patch = neck.patch_logits(tokens[:, :, 1:][counted]).mean(0)
    centers = (algorithm.head.center, algorithm.head.patch_center)
    for center, old, mean in zip(centers, before, (cls, patch)):
        torch.testing.assert_close(center, 0.9 * old + 0.1 * mean, rtol=1e-4, atol=1e-6)


def test_shared_and_separate_prototypes():
    shared = IBOTNeck(32, 64, hidden_channels=32, bottleneck_channels=16)
    tokens = torch.randn(5, 7, 32)
    assert not hasattr(shared, 'last_layer2')
    torch.testing.assert_close(shared([tokens])[0], shared.patch_logits(tokens[:, 0]))
    separate = IBOTNeck(32, 64, 48, shared_head=False, hidden_channels=32, bottleneck_channels=16)
    assert separate([tokens])[0].shape == (5, 64)
    assert separate.patch_logits(tokens[:, 0]).shape == (5, 48)
    assert not separate.last_layer2.weight_g.requires_grad
    free = IBOTNeck(
        32, 64, shared_head=False, hidden_channels=32, bottleneck_channels=16, fixed_norm=False
    )
    assert free.last_layer.weight_g.requires_grad
    assert free.last_layer2.weight_g.requires_grad
    assert free.patch_logits(tokens[:, 0]).shape == (5, 64)


def test_default_size():
    with torch.device('meta'):
        neck, head = IBOTNeck(384), IBOTHead()
    assert neck.last_layer.weight_v.shape == (8192, 256)
    assert head.center.shape == head.patch_center.shape == (1, 8192)
    assert (head.warmup_patch_teacher_temp, head.patch_teacher_temp) == (0.04, 0.07)


def test_every_weight_is_trained():
    algorithm = build(num_crops=3, neck={'shared_head': False})
    algorithm.loss(crops(2, 1), random_samples(3, 2))['loss'].backward()
    for key, parameter in algorithm.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, key


def test_every_weight_has_a_gradient_without_masks():
    """DistributedDataParallel waits for the gradient of every parameter."""
    algorithm = build(num_crops=3, neck={'shared_head': False})
    masks = torch.zeros(3, 2, SIDE, SIDE, dtype=torch.bool)
    algorithm.loss(crops(2, 1), samples_with(masks))['loss'].backward()
    for key, parameter in algorithm.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


# --- BatchNorm in the neck -------------------------------------------------------------------


def build_with_batch_norm(**kwargs):
    return build(neck={'use_bn': True}, **kwargs)


def test_batch_norm_sees_all_class_tokens_together():
    algorithm, views = build_with_batch_norm(), crops(2, 2)
    masks = random_masks(3, 2)
    twin = deepcopy(algorithm)
    student = algorithm.outputs(views, 2, masks).student
    tokens = [
        twin.backbone(view, masks[:, t] if t < 2 else None)[-1][:, 0]
        for t, view in enumerate(views)
    ]
    expected = twin.neck.logits(torch.cat(tokens)).unflatten(0, (4, 3)).transpose(0, 1)
    torch.testing.assert_close(student, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('count', [0, 1])
@pytest.mark.parametrize('wrapped', [False, True])
def test_batch_norm_of_one_masked_patch(count, wrapped):
    """Too few for statistics of their own: the running ones of the neck take their place."""
    model = build_with_batch_norm(num_crops=2)
    masks = torch.zeros(3, 4, SIDE, SIDE, dtype=torch.bool)
    # Of both candidates, so that it is kept.
    masks[0, :2, 1, 2] = bool(count)
    views, samples = crops(4), samples_with(masks)
    if wrapped:
        model = HVSAlgorithm(model, [2, 2], [1, 1])
        model.select_views(views, samples)
    else:
        masks[0, 1] = False
        views = views[:2]
    twin = deepcopy(model)
    losses = model.loss(views, samples_with(masks))
    losses['loss'].backward()
    assert (losses['patch_term'] > 0) == bool(count)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
    for key, module in model.named_modules():
        assert module.training == twin.get_submodule(key).training, key
    for network in (model, nn.ModuleDict(model.teacher)):
        # Once for the [CLS] tokens.
        assert network.neck.mlp[1].num_batches_tracked == 1
        assert network.neck.mlp[1].running_var.isfinite().all()


def test_patch_with_running_statistics():
    neck, token = build_with_batch_norm().neck, torch.randn(1, 32)
    with torch.no_grad():
        neck.mlp[1].running_mean.normal_()
        logits = neck.patch_logits(token)
        twin = deepcopy(neck).eval()
        assert torch.equal(logits, twin.patch_logits(token))
        torch.testing.assert_close(twin.patch_logits(token.repeat(2, 1))[:1], logits)
        # The counterpart: two have statistics of their own.
        assert not torch.allclose(neck.patch_logits(torch.randn(2, 32)), logits, atol=1e-3)


# --- Two processes ---------------------------------------------------------------------------


def _batch_of_a_rank(rank, step):
    with torch.random.fork_rng():
        torch.manual_seed(10 * step + rank)
        views = [view.double() for view in candidate_crops((2, 2, 2))]
        masks = random_masks(3, 4)
        if rank == 1 and step == 0:
            masks[:] = False
        return {'inputs': views, 'data_samples': samples_with(masks)}


def _initial_model():
    torch.manual_seed(0)
    neck = {'shared_head': False}
    return build_hvs_dino('IBOT', (2, 2, 2), (1, 1, 1), neck=neck).double()


def _optimizer_of(model):
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(trained, lr=0.1, momentum=0.9)


def _train_a_rank(rank, folder):
    torch.set_default_dtype(torch.float64)
    model = _initial_model()
    wrapped = CPUDistributedDataParallel(model, broadcast_buffers=False)
    optimizer = _optimizer_of(model)
    for step in range(2):
        optimizer.zero_grad()
        wrapped(**_batch_of_a_rank(rank, step), mode='loss')['loss'].backward()
        optimizer.step()
        model.update_teacher(0.1)
    torch.save(model.state_dict(), folder / f'rank{rank}.pt')


def test_training_on_two_processes(tmp_path):
    """Both have the weights of one process with the mean of their losses and centers.

    One has no mask in the first step: every parameter must have a gradient all the same.
    """
    run_ranks(_train_a_rank, 2, tmp_path, tmp_path)
    first, second = (torch.load(tmp_path / f'rank{rank}.pt') for rank in range(2))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = _initial_model()
        start = deepcopy(model.state_dict())
        optimizer = _optimizer_of(model)
        for step in range(2):
            batches = [_batch_of_a_rank(rank, step) for rank in range(2)]
            # The center is that of both; each copy computes with the one of the step before.
            twins = [deepcopy(model) for _ in batches]
            outputs = []
            for twin, batch in zip(twins, batches):
                twin.head.update_centers = outputs.append
                twin.loss(batch['inputs'], batch['data_samples'])['loss'].backward()
            for key, parameter in model.named_parameters():
                if parameter.requires_grad:
                    grads = [twin.get_parameter(key).grad for twin in twins]
                    parameter.grad = sum(grads) / 2
            optimizer.step()
            together = SimpleNamespace(
                teacher=torch.cat([each.teacher for each in outputs]),
                teacher_patches=torch.cat([each.teacher_patches for each in outputs]),
                is_masked=None,
            )
            model.head.update_centers(together)
            model.update_teacher(0.1)
    finally:
        torch.set_default_dtype(before)
    for key, value in model.state_dict().items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=1e-7, atol=1e-9, msg=key)
        is_fixed = key.startswith('neck.') and key.endswith('weight_g')
        assert torch.equal(value, start[key]) == is_fixed, key


# --- Epochs ----------------------------------------------------------------------------------


def test_masks_start_at_an_epoch():
    algorithm = build(num_crops=2, head={'mask_start_epoch': 2})
    views, samples = crops(2), random_samples(3, 2)
    masked = []
    for epoch in range(4):
        with epoch_of_run(epoch, 10):
            masks = algorithm.masks_of(samples, views)
            losses = deepcopy(algorithm).loss(views, samples)
        assert masks.shape == (3, 2, SIDE, SIDE)
        assert masks.dtype == torch.bool
        masked.append(masks.any().item())
        assert (losses['patch_term'] > 0) == masked[-1]
    assert masked == [False, False, True, True]
    # A loader without masks is fine until then.
    with epoch_of_run(1, 10):
        assert not algorithm.masks_of(None, views).any()


def test_patches_have_a_temperature_of_their_own():
    head = {
        'warmup_teacher_temp_epochs': 3,
        'teacher_temp': 0.05,
        'patch_teacher_temp': 0.08,
    }
    algorithm = build(num_crops=2, head=head)
    views, masks = crops(2), random_masks(3, 2)
    for epoch, (cls, patch) in enumerate([(0.04, 0.04), (0.045, 0.06), (0.05, 0.08)]):
        with epoch_of_run(epoch, 10):
            assert algorithm.head.current_teacher_temp() == pytest.approx(cls)
            assert algorithm.head.current_patch_teacher_temp() == pytest.approx(patch)
            with torch.no_grad():
                expected = sum(
                    patch_term_by_hand(algorithm, views[t][b], masks[b, t])
                    for b in range(3)
                    for t in range(2)
                )
                losses = deepcopy(algorithm).loss(views, samples_with(masks))
        torch.testing.assert_close(losses['patch_term'], expected / 6, rtol=1e-4, atol=1e-5)


# --- Selection -------------------------------------------------------------------------------


def test_weights_of_the_head_are_those_of_the_score():
    model = build_hvs_dino('IBOT', head={'cls_weight': 0.5, 'patch_weight': 2.0})
    assert model.pair_loss.score_weights(model.algorithm) == ScoreWeights(0.5, 2.0)


def spied_loss(model, seen):
    loss = model.algorithm.loss

    def spy(inputs, data_samples=None, **known):
        seen.update(inputs=inputs, **known)
        return loss(inputs, data_samples, **known)

    model.algorithm.loss = spy


@pytest.mark.parametrize(
    ('candidates', 'keep'), [([2, 2, 4], [1, 1, 2]), ([2, 2], [1, 1]), ([4], [2])]
)
def test_masks_follow_their_views(candidates, keep):
    """The pattern of a mask says which view of which sample it belongs to."""
    num_global = sum(candidates[:2])
    model = build_hvs_dino('IBOT', candidates, keep)
    views, seen = candidate_crops(candidates, 6), {}
    # (B, T) numbers from 1 on, in binary
    numbers = 1 + torch.arange(6 * num_global).reshape(6, num_global)
    bits = 2 ** torch.arange(SIDE * SIDE)
    masks = (numbers[..., None] & bits) > 0
    spied_loss(model, seen)
    model.loss(views, samples_with(masks.unflatten(-1, (SIDE, SIDE))))
    indices = model.last_selection.indices
    assert len(set(map(tuple, indices[:, :2].tolist()))) > 1, 'all samples keep the same views'
    found = (seen['masks'].flatten(2) * bits).sum(-1)
    assert found.tolist() == numbers.gather(1, indices[:, :2]).tolist()
    for b in range(6):
        for slot, view in enumerate(indices[b].tolist()):
            assert torch.equal(seen['inputs'][slot][b], views[view][b])


def test_reused_outputs_are_those_of_the_kept_views():
    model, seen = build_hvs_dino('IBOT'), {}
    spied_loss(model, seen)
    model.loss(candidate_crops((2, 2, 4), 6), random_samples(6, 4))
    with torch.no_grad():
        expected = model.algorithm.outputs(seen['inputs'], 2, seen['masks'])
    for ours, theirs in (
        (seen['teacher_logits'], expected.teacher),
        (seen['teacher_patches'], expected.teacher_patches),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_reused_means_of_all_patches_are_those_of_the_kept_views():
    model = build_hvs_dino('IBOT', head={'patch_center': 'all'})
    seen, before = {}, model.head.patch_center.clone()
    spied_loss(model, seen)
    model.loss(candidate_crops((2, 2, 4), 6), random_samples(6, 4))
    with torch.no_grad():
        tokens = model.algorithm.teacher_tokens(seen['inputs'][:2])[:, :, 1:]
        expected = model.teacher['neck'].patch_logits(tokens.flatten(0, 2)).mean(0)
    means = seen['teacher_patch_means'].flatten(0, 1).mean(0)
    torch.testing.assert_close(means, expected, rtol=1e-4, atol=1e-5)
    moved = 0.9 * before[0] + 0.1 * expected
    torch.testing.assert_close(model.head.patch_center[0], moved, rtol=1e-4, atol=1e-5)


def test_masks_decide_which_views_are_kept():
    """With the patch term alone, a view without masks has no loss and is never the hardest."""
    model = build_hvs_dino('IBOT', [2, 2], [1, 1], head={'cls_weight': 0.0, 'patch_weight': 1.0})
    masks = torch.zeros(3, 4, SIDE, SIDE, dtype=torch.bool)
    wanted = [[0, 2], [1, 3], [0, 3]]
    for b, views in enumerate(wanted):
        masks[b, views, 1:3, 1:3] = True
    assert model.select_views(crops(4), samples_with(masks)).indices.tolist() == wanted


def test_selection_before_the_epoch_of_masks():
    model = build_hvs_dino('IBOT', head={'mask_start_epoch': 1})
    with epoch_of_run(0, 10):
        losses = model.loss(candidate_crops((2, 2, 4)))
        diagonal = model.last_selection.pair_loss.diagonal(dim1=1, dim2=2)
    assert losses['patch_term'] == 0
    assert (diagonal == 0).all()


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize('samples', [None, [DataSample() for _ in range(3)]])
@pytest.mark.parametrize('wrapped', [False, True])
def test_missing_masks(samples, wrapped):
    model = build()
    if wrapped:
        model = HVSAlgorithm(model, [1, 1, 2], [1, 1, 2])
    with pytest.raises(ViewsError, match=r'no view_masks.*BlockMasks'):
        model.loss(crops(2, 2), samples)


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('shape', [(2, SIDE + 1, SIDE), (2, SIDE // 2, SIDE // 2), (1, SIDE, SIDE)])
def test_masks_of_the_wrong_shape(wrapped, shape):
    model = build()
    if wrapped:
        model = HVSAlgorithm(model, [1, 1, 2], [1, 1, 2])
    samples = samples_with(torch.zeros(3, *shape, dtype=torch.bool))
    with pytest.raises(ViewsError, match=r'view_masks of 3 samples .*need \(2, 4, 4\) for 3'):
        model.loss(crops(2, 2), samples)


@pytest.mark.parametrize(
    'change',
    [
        lambda mask: mask.tolist(),
        torch.from_numpy,
        lambda mask: mask.astype(np.int64),
        lambda mask: mask.astype(object),
        lambda mask: 'mask',
    ],
)
@pytest.mark.parametrize('which', [slice(None), slice(1)])
def test_masks_of_another_kind(change, which):
    samples = random_samples(3, 2)
    for sample in samples[which]:
        sample.set_metainfo({'view_masks': change(np.asarray(sample.view_masks))})
    with pytest.raises(ViewsError, match=r'each must be an ndarray \(T, h, w\) of bool'):
        build().loss(crops(2, 2), samples)


def test_masks_without_dimensions():
    samples = random_samples(3, 2)
    samples[0].set_metainfo({'view_masks': np.bool_(True)})
    with pytest.raises(ViewsError, match=r'need \(2, 4, 4\) for 3'):
        build().loss(crops(2, 2), samples)


def test_masks_of_different_shapes():
    samples = random_samples(3, 2)
    samples[1] = samples_with(torch.zeros(1, 2, SIDE + 1, SIDE, dtype=torch.bool))[0]
    with pytest.raises(ValueError, match='view_masks'):
        build().loss(crops(2, 2), samples)


def test_another_number_of_samples():
    with pytest.raises(ValueError, match='view_masks of 4 samples'):
        build().loss(crops(2, 2), random_samples(4, 2))


def test_masks_of_more_views_than_the_baseline_trains_on():
    """Documented: those of the leading views are taken."""
    algorithm, samples = build(), random_samples(3, 4)
    masks = algorithm.masks_of(samples, crops(2))
    expected = np.stack([sample.view_masks[:2] for sample in samples])
    assert masks.numpy().tolist() == expected.tolist()


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'patch_teacher_temp': math.nan}, 'patch_teacher_temp=nan must be positive and finite'),
        ({'mask_start_epoch': -1}, 'mask_start_epoch=-1 must be finite and not negative'),
        ({'patch_weight': math.nan}, 'patch_weight=nan must be finite'),
        ({'patch_teacher_temp': 0}, 'patch_teacher_temp=0 must be positive'),
        ({'warmup_patch_teacher_temp': -1}, 'warmup_patch_teacher_temp=-1 must be positive'),
        ({'cls_weight': -1}, 'cls_weight=-1 must be finite and not negative'),
        ({'patch_weight': -0.5}, 'patch_weight=-0.5 must be finite and not negative'),
        ({'patch_center': 'none'}, r"patch_center='none' must be one of \['masked', 'all'\]"),
    ],
)
def test_wrong_settings_of_the_head(setting, message):
    with pytest.raises(ValueError, match=message):
        IBOTHead(PROTOTYPES, **setting)


def test_a_center_of_all_patches_with_batch_norm():
    with pytest.raises(ValueError, match=r"head.patch_center='all' needs a neck without BatchNorm"):
        build(neck={'use_bn': True}, head={'patch_center': 'all'})


def test_shared_prototypes_of_different_number():
    with pytest.raises(ValueError, match=r'patch_out_channels=48 differs.*shared_head=False'):
        IBOTNeck(32, 64, 48)


def test_head_and_neck_with_different_numbers_of_patch_prototypes():
    """Found when the algorithm is built, not as a shape error in the first step."""
    with pytest.raises(ValueError, match='patch_out_channels'):
        build(neck={'shared_head': False, 'patch_out_channels': 48})


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'with_cls_token': False}, r'with_cls_token=False.*needs the \[CLS\] token'),
        ({'out_indices': [0, 1]}, r'out_indices=\[0, 1\].*last layer \(1\) alone'),
        ({'out_indices': 0}, r'out_indices=\[0\].*last layer \(1\) alone'),
    ],
)
def test_settings_that_the_backbone_does_not_have(setting, message):
    with pytest.raises(ValueError, match=message):
        build(backbone=setting)
    build(backbone={'out_indices': [1]})


def test_a_backbone_that_takes_no_masks():
    with pytest.raises(ValueError, match='must be of type MaskedVisionTransformer'):
        build(backbone={'type': 'VisionTransformer', 'arch': 'deit-tiny', 'out_type': 'raw'})
