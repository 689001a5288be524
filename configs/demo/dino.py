# DINO on the built-in shapes, small enough for two CPU cores.
_base_ = ['../baselines/dino_vit-small_100e.py', '_base_/shapes.py']

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=192),
        img_size=24,
        patch_size=4,
        drop_path_rate=0.05,
        # The published initial weights are for a ViT four times as wide. With them the MLPs of this
        # one start too small, and its output ends uniform; MMPretrain's own are larger.
        init_cfg=dict(_delete_=True, type='TruncNormal', layer='Linear', std=0.02, bias=0.)),
    # Without BatchNorm 500 small batches are too few to get away from a uniform output.
    neck=dict(
        in_channels=96,
        out_channels=256,
        hidden_channels=256,
        bottleneck_channels=64,
        use_bn=True),
    head=dict(out_channels=256, num_crops=6))

global_pipeline1 = [
    dict(type='RandomResizedCrop', scale=24, crop_ratio_range=(0.2, 0.5)),
    _base_.flip,
    _base_.to_gray,
]
global_pipeline2 = [*global_pipeline1, dict(type='Solarize', thr=128, prob=0.2)]
local_pipeline = [
    dict(type='RandomResizedCrop', scale=12, crop_ratio_range=(0.05, 0.15)), *global_pipeline1[1:]]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        _delete_=True,
        **_base_.shapes,
        pipeline=[
            dict(
                type='MultiView',
                num_views=[1, 1, 4],
                transforms=[global_pipeline1, global_pipeline2, local_pipeline]),
            dict(type='PackInputs'),
        ]))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=8)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=1),
    dict(_base_.param_scheduler[1], begin=1, end=8),
    dict(_base_.param_scheduler[2], end=8),
]
custom_hooks = [
    dict(type='TeacherHook', momentum=0.01),
    dict(type='GradientHook', clip=3.0, freeze_epochs=1),
    dict(type='ProgressHook'),
]
default_hooks = dict(logger=dict(interval=16), checkpoint=dict(interval=1))
randomness = dict(seed=0)
