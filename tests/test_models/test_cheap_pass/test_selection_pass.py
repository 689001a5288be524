"""Cheaper passes over the candidates, against the same thing done by hand."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations, product

import pytest
import torch
from torch.nn import functional as F

from hvs_mm.models import HVSAlgorithm
from hvs_mm.models.cheap_pass.depth import early_features
from hvs_mm.models.cheap_pass.scale import smaller_size, smaller_views
from hvs_mm.models.cheap_pass.tokens import fewer_tokens, token_subsets, transformers_in
from tests.helpers.tiny import GROUP_NORM, build_algorithm, build_hvs, random_views
from tests.helpers.tiny_dino import (
    PATCH,
    RESNET,
    build_dino,
    build_hvs_dino,
    candidate_crops,
    random_samples,
)

OPTIONS = [
    {'selection_pass': {'scale': 0.5}},
    {'selection_pass': {'tokens': 0.5}},
    {'selection_pass': {'depth': 1}},
    {'selection_pass': {'dtype': 'bfloat16'}},
    {'selection_pass': {'scale': 0.5, 'tokens': 0.5, 'dtype': 'bfloat16'}},
]


def hvs_dino(name='DINO', candidates=(2, 2, 4), keep=(1, 1, 2), **options):
    """With the weights of every other model of that name, as the generator is seeded."""
    torch.manual_seed(3)
    return HVSAlgorithm(build_dino(name, num_crops=sum(keep)), candidates, keep, **options)


def visible_only(vit, x, subset):
    """The transformer on some patches, without hooks."""
    tokens, resolution = vit.patch_embed(x)
    extra, places = vit.pos_embed[:, :1], vit.pos_embed[:, 1:]
    if tuple(resolution) != tuple(vit.patch_resolution):
        places = vit.resize_pos_embed(
            vit.pos_embed, vit.patch_resolution, resolution, vit.interpolate_mode, 1
        )[:, 1:]
    tokens = (tokens + places)[:, subset]
    tokens = torch.cat([(vit.cls_token + extra).expand(len(x), -1, -1), tokens], 1)
    for layer in vit.layers:
        tokens = layer(tokens)
    return vit.ln1(tokens)


# --- A smaller scale -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('size', 'scale', 'patch', 'expected'),
    [
        ((224, 224), 0.5, (16, 16), (112, 112)),
        ((96, 96), 0.5, (16, 16), (48, 48)),
        ((96, 96), 0.55, (16, 16), (48, 48)),
        ((224, 160), 0.75, (16, 16), (160, 128)),
        ((224, 224), 0.01, (16, 16), (16, 16)),
        ((100, 60), 0.333, (1, 1), (33, 20)),
    ],
)
def test_smaller_size(size, scale, patch, expected):
    assert smaller_size(size, scale, patch) == expected


def test_smaller_views_are_averages():
    (view,) = random_views(1, size=32)
    (small,) = smaller_views([view], 0.25, (8, 8))
    # (B, 3, 8, 4, 8, 4)
    torch.testing.assert_close(small, view.unflatten(3, (8, 4)).unflatten(2, (8, 4)).mean((3, 5)))


@pytest.mark.parametrize('name', ['SimSiam', 'SimCLR', 'BYOL'])
def test_selection_at_half_the_scale(name):
    torch.manual_seed(0)
    full = build_hvs(name)
    half = HVSAlgorithm(full.algorithm, [4], [2], selection_pass={'scale': 0.5})
    views = random_views(4, size=64)
    ours = half.select_views(views)
    theirs = full.select_views([F.avg_pool2d(view, 2) for view in views])
    torch.testing.assert_close(ours.pair_loss, theirs.pair_loss)
    assert torch.equal(ours.indices, theirs.indices)


def test_dino_at_half_the_scale():
    views = candidate_crops((2, 2, 4))
    ours = hvs_dino(selection_pass={'scale': 0.5}).select_views(views).pair_loss
    theirs = hvs_dino().select_views([F.avg_pool2d(view, 2) for view in views]).pair_loss
    torch.testing.assert_close(ours, theirs)


def test_masks_of_ibot_shrink_with_their_views():
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    ours = hvs_dino('IBOT', selection_pass={'scale': 0.5}).select_views(views, samples).pair_loss
    small = deepcopy(samples)
    for sample in small:
        # (T, h, 2, w, 2): half of four patches
        covered = torch.from_numpy(sample.view_masks).unflatten(2, (2, 2)).unflatten(1, (2, 2))
        sample.set_field(
            (covered.float().mean((2, 4)) >= 0.5).numpy(), 'view_masks', field_type='metainfo'
        )
    pooled = [F.avg_pool2d(view, 2) for view in views]
    theirs = hvs_dino('IBOT').select_views(pooled, small).pair_loss
    torch.testing.assert_close(ours, theirs)


# --- Fewer tokens ----------------------------------------------------------------------------


def test_subsets():
    torch.manual_seed(0)
    subsets = token_subsets(0.3)
    subset = subsets(16)
    assert len(subset) == 5
    assert subset.tolist() == sorted(set(subset.tolist()))
    assert torch.equal(subsets(16), subset)
    assert len(token_subsets(0.01)(16)) == 1
    drawn = {tuple(token_subsets(0.3)(16).tolist()) for _ in range(20)}
    assert len(drawn) > 10


def test_every_patch_is_drawn():
    torch.manual_seed(0)
    drawn = torch.cat([token_subsets(0.25)(16) for _ in range(800)])
    # 200 times each, standard deviation 12
    assert (drawn.bincount(minlength=16) - 200).abs().max() < 50


@pytest.mark.parametrize('size', [32, 16])
def test_a_transformer_with_fewer_tokens(size):
    vit = build_dino().backbone
    x, subsets = torch.randn(2, 3, size, size), token_subsets(0.5)
    whole = vit(x)[0]
    with fewer_tokens([vit], subsets):
        ours = vit(x)[0]
    expected = visible_only(vit, x, subsets((size // PATCH) ** 2))[:, 0]
    torch.testing.assert_close(ours, expected)
    assert not torch.allclose(ours, whole, atol=1e-3)
    torch.testing.assert_close(vit(x)[0], whole)


def test_hooks_are_removed_after_an_error():
    vit = build_dino().backbone
    with pytest.raises(RuntimeError), fewer_tokens([vit], token_subsets(0.5)):
        vit(torch.randn(2, 4, 32, 32))
    assert not vit.drop_after_pos._forward_hooks


def test_transformers_of_student_and_teacher():
    algorithm = build_dino('IBOT')
    assert transformers_in(algorithm) == [algorithm.backbone, algorithm.teacher['backbone']]


@pytest.mark.parametrize('name', ['DINO', 'IBOT'])
def test_selection_with_fewer_tokens(name):
    """By hand: one network after the other on the subset that the model has drawn."""
    model = hvs_dino(name, (2, 2, 4), (1, 1, 2), selection_pass={'tokens': 0.5})
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    subsets = token_subsets(0.5)
    model.selection_pass.draw_subsets = lambda: subsets
    ours = model.select_views(views, samples).pair_loss
    algorithm = model.algorithm
    teacher = algorithm.teacher
    of_global, of_local = subsets(16), subsets(4)
    with torch.no_grad():
        masks = torch.stack([torch.from_numpy(s.view_masks) for s in samples]).flatten(2)
        for b in range(3):
            for t in range(4):
                target = visible_only(teacher['backbone'], views[t][b : b + 1], of_global)
                y = teacher['neck'].logits(target[:, 0])
                for s, view in enumerate(views):
                    if s == t:
                        continue
                    x = view[b : b + 1]
                    subset = of_local if s >= 4 else of_global
                    if name == 'IBOT' and s < 4:
                        tokens = masked_and_visible(algorithm.backbone, x, masks[b, s], subset)
                    else:
                        tokens = visible_only(algorithm.backbone, x, subset)
                    z = algorithm.neck.logits(tokens[:, 0])
                    p = ((y - algorithm.head.center) / 0.04).softmax(-1)
                    expected = -(p * (z / 0.1).log_softmax(-1)).sum()
                    torch.testing.assert_close(ours[b, t, s], expected, rtol=1e-4, atol=1e-4)
                if name == 'IBOT':
                    mask = masks[b, t][of_global]
                    x = views[t][b : b + 1]
                    student = masked_and_visible(algorithm.backbone, x, masks[b, t], of_global)[
                        0, 1:
                    ][mask]
                    known = target[0, 1:][mask]
                    expected = torch.zeros(())
                    if mask.any():
                        z = algorithm.neck.patch_logits(student)
                        y_patch = teacher['neck'].patch_logits(known)
                        p = ((y_patch - algorithm.head.patch_center) / 0.07).softmax(-1)
                        expected = -(p * (z / 0.1).log_softmax(-1)).sum(-1).mean()
                    torch.testing.assert_close(ours[b, t, t], expected, rtol=1e-4, atol=1e-4)


def masked_and_visible(vit, x, mask, subset):
    """As ``visible_only``, with the mask token in place of masked patches (N,)."""
    tokens, _ = vit.patch_embed(x)
    tokens = torch.where(mask[None, :, None], vit.mask_token, tokens) + vit.pos_embed[:, 1:]
    cls = vit.cls_token + vit.pos_embed[:, :1]
    tokens = torch.cat([cls.expand(len(x), -1, -1), tokens[:, subset]], 1)
    for layer in vit.layers:
        tokens = layer(tokens)
    return vit.ln1(tokens)


def test_every_pass_draws_its_own_tokens():
    model, views = hvs_dino(selection_pass={'tokens': 0.25}), candidate_crops((2, 2, 4))
    torch.manual_seed(0)
    losses = [model.select_views(views).pair_loss for _ in range(2)]
    assert not torch.equal(*losses)


# --- Less depth ------------------------------------------------------------------------------


@pytest.mark.parametrize('depth', [1, 2, 3, 4])
def test_stages_of_a_resnet(depth):
    backbone, x = build_algorithm('SimSiam').backbone, torch.randn(2, 3, 32, 32)
    out = backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(x))))
    for name in backbone.res_layers[:depth]:
        out = getattr(backbone, name)(out)
    torch.testing.assert_close(early_features(backbone, x, depth), out.mean((2, 3)))
    assert not any(m._forward_hooks for m in backbone.modules())


@pytest.mark.parametrize('depth', [1, 2])
def test_layers_of_a_transformer(depth):
    vit, x = build_dino('IBOT').backbone, torch.randn(2, 3, 32, 32)
    tokens = vit.patch_embed(x)[0]
    tokens = torch.cat([vit.cls_token.expand(2, -1, -1), tokens], 1) + vit.pos_embed
    for layer in vit.layers[:depth]:
        tokens = layer(tokens)
    torch.testing.assert_close(early_features(vit, x, depth), tokens[:, 1:].mean(1))


def test_later_stages_do_not_run():
    model, called = build_hvs('SimSiam', selection_pass={'depth': 2}), []
    for name in model.backbone.res_layers:
        getattr(model.backbone, name).register_forward_hook(
            lambda *args, name=name: called.append(name)
        )
    model.neck.register_forward_hook(lambda *args: called.append('neck'))
    model.select_views(random_views())
    assert called == ['layer1', 'layer2']


def test_pair_loss_of_early_features():
    model, views = build_hvs('SimSiam', GROUP_NORM, selection_pass={'depth': 2}), random_views()
    pair_loss = model.select_views(views).pair_loss
    with torch.no_grad():
        features = [early_features(model.backbone, view, 2) for view in views]
    for t in range(4):
        for s in range(4):
            expected = -F.cosine_similarity(features[s], features[t])
            torch.testing.assert_close(pair_loss[:, t, s], expected, rtol=1e-4, atol=1e-5)


def test_the_patch_loss_does_not_enter_early_scores():
    model = hvs_dino('IBOT', selection_pass={'depth': 1})
    selection = model.select_views(candidate_crops((2, 2, 4)), random_samples(3, 4))
    # Two targets and two locals: the mean of six cosines, never of a view with itself.
    for b, views in enumerate(selection.indices.tolist()):
        cells = [selection.pair_loss[b, t, s] for t in views[:2] for s in views if s != t]
        torch.testing.assert_close(selection.score[b], torch.stack(cells).mean())


# --- Lower precision -------------------------------------------------------------------------


def test_selection_in_bfloat16_trains_in_float32():
    seen = {'backbone': [], 'neck': []}
    model = build_hvs('SimSiam', selection_pass={'dtype': 'bfloat16'})
    last = model.backbone.layer4
    last.register_forward_hook(lambda m, args, out: seen['backbone'].append(out.dtype))
    model.neck.register_forward_hook(lambda m, args, out: seen['neck'].append(out[0].dtype))
    losses = model.loss(random_views())
    # One pass over the candidates, two views of the training step.
    assert seen['backbone'] == [torch.bfloat16, torch.float32, torch.float32]
    assert seen['neck'] == [torch.float32] * 3
    losses['loss'].backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    assert model.last_selection.pair_loss.dtype == torch.float32


def test_bfloat16_is_close_to_float32():
    torch.manual_seed(0)
    full, views = build_hvs('SimSiam'), random_views(batch_size=16)
    low = HVSAlgorithm(full.algorithm, [4], [2], selection_pass={'dtype': 'bfloat16'})
    expected = full.select_views(views).pair_loss
    ours = low.select_views(views).pair_loss
    assert not torch.equal(ours, expected)
    # bfloat16 has 8 bits, which some ten layers add up.
    assert (ours - expected).abs().mean() < 0.05


@pytest.mark.parametrize('name', ['DINO', 'IBOT', 'BYOL'])
def test_teachers_run_in_bfloat16_too(name):
    if name == 'BYOL':
        model = build_hvs(name, selection_pass={'dtype': 'bfloat16'})
        layers = [model.backbone.layer4, model.target_net.module[0].layer4]
        views, samples = random_views(), None
    else:
        model = hvs_dino(name, selection_pass={'dtype': 'bfloat16'})
        backbones = (model.backbone, model.teacher['backbone'])
        layers = [backbone.layers[-1].attn.qkv for backbone in backbones]
        views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    seen = {0: set(), 1: set()}
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda m, args, out, n=number: seen[n].add(out.dtype))
    model.select_views(views, samples)
    assert seen == {0: {torch.bfloat16}, 1: {torch.bfloat16}}
    assert not torch.is_autocast_enabled('cpu')


def test_autocast_ends_after_an_error():
    model = build_hvs('SimSiam', selection_pass={'dtype': 'bfloat16'})
    with pytest.raises(RuntimeError):
        model.select_views([torch.randn(2, 4, 32, 32)] * 4)
    assert not torch.is_autocast_enabled('cpu')
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize('name', ['SimSiam', 'DINO'])
def test_depth_in_bfloat16(name):
    options = {'selection_pass': {'depth': 1, 'dtype': 'bfloat16'}}
    if name == 'SimSiam':
        model, views = build_hvs(name, **options), random_views()
    else:
        model, views = hvs_dino(name, **options), candidate_crops((2, 2, 4))
    low = model.select_views(views).pair_loss
    model.selection_pass.dtype = None
    full = model.select_views(views).pair_loss
    assert not torch.equal(low, full)
    torch.testing.assert_close(low, full, rtol=0, atol=0.02)


# --- Local views alone -----------------------------------------------------------------------


def hardest_by_hand(pair_loss, locals_alone):
    """Of 2 + 2 global and 4 local views, 1 + 1 + 2 kept, pair by pair."""
    chosen = []
    for sample in pair_loss.tolist():
        scores = {}
        for views in product([0, 1], [2, 3], combinations(range(4, 8), 2)):
            first, second, (one, other) = views
            pairs = [(t, s) for t in (first, second) for s in (one, other)]
            score = sum(sample[t][s] for t, s in pairs)
            for t, s in ((first, second), (second, first)):
                score += sum(sample[t][4:]) / 4 if locals_alone else sample[t][s]
            scores[first, second, one, other] = score / 6
        chosen.append(max(scores.items(), key=lambda item: item[1]))
    return chosen


def test_selection_by_local_views():
    views = candidate_crops((2, 2, 4), batch_size=6)
    full = hvs_dino().select_views(views).pair_loss
    selection = hvs_dino(selection_pass={'online': 'local'}).select_views(views)
    torch.testing.assert_close(selection.pair_loss[:, :, 4:], full[:, :, 4:])
    expected = hardest_by_hand(full, locals_alone=True)
    assert selection.indices.tolist() == [list(views) for views, _ in expected]
    torch.testing.assert_close(selection.score, torch.tensor([score for _, score in expected]))
    # Another choice for some of them: the pairs of global views do count otherwise.
    everything = [list(views) for views, _ in hardest_by_hand(full, locals_alone=False)]
    assert hvs_dino().select_views(views).indices.tolist() == everything
    assert selection.indices.tolist() != everything


def test_global_views_do_not_reach_the_student():
    model = hvs_dino(selection_pass={'online': 'local'})
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    model.select_views(candidate_crops((2, 2, 4)))
    assert seen == [(12, 3, 16, 16)]


def test_the_teacher_of_kept_views_is_still_reused():
    model = hvs_dino(selection_pass={'online': 'local'})
    seen = []
    model.teacher['backbone'].register_forward_pre_hook(
        lambda _, args: seen.append(tuple(args[0].shape))
    )
    model.loss(candidate_crops((2, 2, 4)))
    assert seen == [(12, 3, 32, 32)]


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (
            lambda: hvs_dino(selection_pass={'online': 'some'}),
            r"online='some' must be one of \['all', 'local'\]",
        ),
        (lambda: hvs_dino(selection_pass={'online': None}), r'selection_pass.online=None must be'),
        (
            lambda: hvs_dino(selection_pass={'online': 'local', 'depth': 1}),
            r'pass.depth=1 .*one of the',
        ),
        (
            lambda: build_hvs('SimSiam', selection_pass={'online': 'local'}),
            r"selection_pass.online='local' is not for SimSiamPairLoss.*\['DINO'\]",
        ),
        (lambda: hvs_dino('IBOT', selection_pass={'online': 'local'}), r'not for IBOTPairLoss'),
    ],
)
def test_where_local_views_alone_make_no_sense(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_local_views_must_be_there():
    model = hvs_dino(candidates=(2, 2), keep=(1, 1), selection_pass={'online': 'local'})
    with pytest.raises(ValueError, match=r'all 4 candidates are target views'):
        model.select_views(candidate_crops((2, 2)))


# --- All of them -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'options'),
    [*product(['DINO', 'IBOT'], OPTIONS), ('DINO', {'selection_pass': {'online': 'local'}})],
)
def test_the_training_step_is_that_of_the_kept_views(name, options):
    """Whatever they were selected from: nothing of a cheap pass enters the step."""
    model = hvs_dino(name, **options)
    baseline = deepcopy(model.algorithm)
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ours = model.loss(views, samples)
    kept = model.gather(views, model.last_selection.indices)
    for sample, indices in zip(samples, model.last_selection.indices.tolist()):
        sample.set_field(sample.view_masks[indices[:2]], 'view_masks', field_type='metainfo')
    expected = baseline.loss(kept, samples)
    torch.testing.assert_close(ours['loss'], expected['loss'], rtol=1e-4, atol=1e-5)
    after = model.state_dict()
    for key in before:
        torch.testing.assert_close(after[key], baseline.state_dict()[key], rtol=1e-4, atol=1e-6)
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize('options', [OPTIONS[0], *OPTIONS[2:4]])
@pytest.mark.parametrize('name', ['SimSiam', 'BYOL'])
def test_cheap_selection_leaves_the_state_alone(name, options):
    model = build_hvs(name, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    views = random_views()
    random_state = torch.get_rng_state()
    model.select_views(views)
    assert torch.equal(torch.get_rng_state(), random_state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'selection_pass': {'scale': 0}}, r'selection_pass.scale=0 must be above 0 and at most 1'),
        ({'selection_pass': {'scale': 1.5}}, r'selection_pass.scale=1.5 must be'),
        ({'selection_pass': {'scale': '0.5'}}, r"selection_pass.scale='0.5' must be"),
        ({'selection_pass': {'tokens': -1}}, r'selection_pass.tokens=-1 must be'),
        ({'selection_pass': {'tokens': 0.5}}, r'SimSiam has a ResNet.*use selection_pass.scale'),
        (
            {'selection_pass': {'depth': 0}},
            r'selection_pass.depth=0 must be .* from 1 to 4',
        ),
        ({'selection_pass': {'depth': 5}}, r'selection_pass.depth=5 .* ResNet'),
        ({'selection_pass': {'depth': True}}, r'selection_pass.depth=True'),
        (
            {'selection_pass': {'dtype': 'float8'}},
            r"^selection_pass.dtype='float8' must be one",
        ),
        (
            {'schedule': {'interval': 0}},
            r'^schedule.interval=0 must be .* at least 1.*steps',
        ),
        ({'schedule': {'interval': 1.5}}, r'schedule.interval=1.5'),
        (
            {'schedule': {'warmup': -1}},
            r'^schedule.warmup=-1 must be .* at least 0.*epochs',
        ),
        (
            {'schedule': {'prob': 0}},
            r'^schedule.prob=0 must be above 0.*take the baseline',
        ),
        ({'schedule': {'prob': 1.1}}, r'schedule.prob=1.1'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build_hvs('SimSiam', **options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'select_scale': 0.5}, r'^select_scale=0.5 is now selection_pass=dict\(scale=0.5\)\.$'),
        (
            {'select_dtype': 'float16'},
            r"^select_dtype='float16' is now selection_pass=dict\(dtype='float16'\)\.$",
        ),
        ({'interval': 2}, r'^interval=2 is now schedule=dict\(interval=2\)\.$'),
        ({'prob': 0.5}, r'^prob=0.5 is now schedule=dict\(prob=0.5\)\.$'),
        ({'shedule': {}}, r"^HVSAlgorithm takes no argument 'shedule'\.$"),
        (
            {'selection_pass': {'scal': 0.5}},
            r"^selection_pass does not take 'scal': expected some of \['scale', 'tokens', 'depth",
        ),
        (
            {'schedule': {'interval': 2, 'steps': 1}},
            r"^schedule does not take 'steps': expected some of \['interval', 'warmup', 'prob'\]",
        ),
        ({'schedule': 2}, r'^schedule=2 must be a dict with some of the keys'),
    ],
)
def test_settings_that_do_not_exist(options, message):
    with pytest.raises(TypeError, match=message):
        build_hvs('SimSiam', **options)


def test_views_that_would_become_one_size():
    model = hvs_dino(selection_pass={'scale': 0.3})
    with pytest.raises(ValueError, match=r'pass\.scale=0\.3 makes views of .* one size, \[\(8, 8'):
        model.select_views(candidate_crops((2, 2, 4)))


def test_convolutions_select_in_channels_last():
    """Faster on the CPU; the training step keeps the format it was given."""
    model, seen = build_hvs('SimSiam'), []
    model.backbone.conv1.register_forward_pre_hook(
        lambda m, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    views = random_views()
    model.loss(views)
    assert seen == [True, False, False]
    assert all(view.is_contiguous() for view in views)


def test_depth_of_an_unknown_backbone():
    model = build_hvs('SimSiam')
    model.algorithm.backbone = torch.nn.Conv2d(3, 8, 3)
    with pytest.raises(ValueError, match=r'does not know the layers of Conv2d.*pass\.scale'):
        HVSAlgorithm(model.algorithm, [4], [2], selection_pass={'depth': 1})


def test_dino_on_a_resnet_takes_stages_and_scale():
    torch.manual_seed(0)
    model = build_hvs_dino(backbone=RESNET, neck={'in_channels': 64})
    views = candidate_crops((2, 2, 4))
    for options in ({'selection_pass': {'scale': 0.5}}, {'selection_pass': {'depth': 2}}):
        cheap = HVSAlgorithm(model.algorithm, (2, 2, 4), (1, 1, 2), **options)
        assert cheap.select_views(views).indices.shape == (3, 4)
