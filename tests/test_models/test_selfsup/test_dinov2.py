"""DINOv2: its heads and its selection; what it shares with DINO is tested in test_dino.py."""

from __future__ import annotations

from math import prod

import pytest
import torch

from hvs_mm.models import DINOv2Head, DINOv2Neck, ViewsError
from hvs_mm.selection import ScoreWeights
from tests.helpers.brute_force import admissible_by_hand, pair_loss_by_hand, score_by_hand
from tests.helpers.tiny_dino import (
    GLOBAL,
    build_dino,
    build_hvs_dino,
    candidate_crops,
    crops,
    random_masks,
    random_samples,
    samples_with,
)


@pytest.mark.parametrize('centering', ['sinkhorn', 'softmax'])
def test_the_hardest_combination_by_brute_force(centering):
    """Pair losses, scores and choices in float64, of 4 global and 4 local candidates."""
    candidates, keep = [2, 2, 4], [1, 1, 2]
    head = {'centering': centering, 'cls_weight': 0.7, 'patch_weight': 1.3}
    backbone = {'num_registers': 2, 'layer_scale_init_value': 0.5}
    model = build_hvs_dino('DINOv2', candidates, keep, head=head, backbone=backbone)
    views, masks = candidate_crops(candidates), random_masks(3, 4)
    selection = model.select_views(views, samples_with(masks))
    losses = pair_loss_by_hand(model.algorithm, views, 4, masks)
    torch.testing.assert_close(
        selection.pair_loss, torch.tensor(losses).float(), rtol=1e-4, atol=1e-4
    )
    combinations = admissible_by_hand(candidates, keep)
    for b, loss in enumerate(losses):
        scores = [score_by_hand(loss, kept, 4, 0.7, 1.3) for kept in combinations]
        best = max(range(len(scores)), key=scores.__getitem__)
        assert tuple(selection.indices[b].tolist()) == combinations[best]
        assert selection.score[b].item() == pytest.approx(scores[best], rel=1e-4)
    assert model.score_weights == ScoreWeights(0.7, 1.3)


def test_the_step_assigns_the_kept_views_from_the_logits_of_the_selection():
    """Reused logits, but assignments of the kept views alone."""
    model = build_hvs_dino('DINOv2')
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    log = model.loss(views, samples)
    indices = model.last_selection.indices
    masks = torch.stack([torch.from_numpy(sample.view_masks) for sample in samples])
    kept = torch.stack([masks[b, indices[b, :2]] for b in range(3)])
    expected = model.algorithm.loss(model.gather(views, indices), masks=kept)
    torch.testing.assert_close(log['loss'], expected['loss'], rtol=1e-5, atol=1e-5)
    parts = expected['cls_term'] + expected['patch_term'] + 2 * 0.1 * expected['koleo_cls_term']
    torch.testing.assert_close(expected['loss'].detach(), parts)


def test_separate_and_shared_heads():
    separate = DINOv2Neck(32, 64, 48, hidden_channels=32, bottleneck_channels=16)
    tokens = torch.randn(5, 7, 32)
    assert separate([tokens])[0].shape == (5, 64)
    logits = separate.patch_logits(tokens[:, 0])
    assert logits.shape == (5, 48)
    torch.testing.assert_close(separate.patch_means(tokens[:, :1]), logits)
    names = {name.split('.')[0] for name, p in separate.named_parameters() if p.requires_grad}
    assert names == {'mlp', 'mlp2', 'last_layer', 'last_layer2'}
    with torch.no_grad():
        separate.mlp[0].weight += 1
    assert torch.equal(separate.patch_logits(tokens[:, 0]), logits)
    shared = DINOv2Neck(32, 64, shared_head=True, hidden_channels=32, bottleneck_channels=16)
    torch.testing.assert_close(shared([tokens])[0], shared.patch_logits(tokens[:, 0]))
    assert not hasattr(shared, 'mlp2')


def test_every_weight_is_trained():
    algorithm = build_dino('DINOv2', num_crops=3, backbone={'num_registers': 2})
    algorithm.loss(crops(2, 1), random_samples(3, 2))['loss'].backward()
    for key, parameter in algorithm.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize('keys', [{}, {'shared_head': True}])
def test_every_weight_has_a_gradient_without_masks(keys):
    algorithm = build_dino('DINOv2', num_crops=2, neck=keys)
    masks = torch.zeros(3, 2, 4, 4, dtype=torch.bool)
    losses = algorithm.loss(crops(2), samples_with(masks))
    losses['loss'].backward()
    assert losses['patch_term'] == 0
    for key, parameter in algorithm.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


def test_default_size():
    with torch.device('meta'):
        neck, head = DINOv2Neck(384), DINOv2Head()
    assert prod(neck.last_layer2.weight_v.shape) == 65536 * 256
    assert head.center.shape == (1, 65536)
    assert (head.uses_sinkhorn, head.koleo_weight, head.patch_teacher_temp) == (True, 0.1, 0.07)


def test_batch_of_one_image():
    model = build_hvs_dino('DINOv2', [2, 2], [1, 1])
    views, samples = candidate_crops((2, 2), 1), random_samples(1, 4)
    with pytest.raises(ValueError, match=r'batch size 1 with KoLeo \(DINOv2\)'):
        model.loss(views, samples)


def test_views_that_cannot_be_cut_into_patches():
    algorithm = build_dino('DINOv2', num_crops=2)
    views = [torch.randn(3, 3, GLOBAL + 4, GLOBAL + 4) for _ in range(2)]
    with pytest.raises(ViewsError, match='36 x 36 pixels cannot be cut into patches of 8 x 8'):
        algorithm.loss(views, random_samples(3, 2))


def test_parts_of_ibot_do_not_fit():
    with pytest.raises(ValueError, match='must be of type DINOv2Neck, not IBOTNeck'):
        build_dino('DINOv2', neck={'type': 'IBOTNeck'})
    with pytest.raises(ValueError, match='must be of type IBOTHead, not DINOv2Head'):
        build_dino('IBOT', head={'type': 'DINOv2Head'})
