# ImageNet-1k, multi-crop views and AdamW as in the code published with DINO.
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32_byol.py',
    'mmpretrain::_base_/default_runtime.py',
    'hvs.py',
]

# Upstream's two pipelines have DINO's blur and solarization; only the crops differ.
global_pipeline1 = [
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.4, 1.),
        interpolation='bicubic',
        backend='pillow'),
    *_base_.view_pipeline1[1:],
]
global_pipeline2 = [global_pipeline1[0], *_base_.view_pipeline2[1:]]
# Flip, color jitter and grayscale as above, then blur with probability 0.5.
local_pipeline = [
    dict(global_pipeline1[0], scale=96, crop_ratio_range=(0.05, 0.4)),
    *_base_.view_pipeline1[1:4],
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
]

train_dataloader = dict(
    # 16 GPUs
    batch_size=64,
    num_workers=10,
    drop_last=True,
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(
            type='MultiView',
            num_views=[1, 1, 8],
            transforms=[global_pipeline1, global_pipeline2, local_pipeline]),
        dict(type='PackInputs'),
    ]))

# 5e-4 per 256 images.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.04),
    paramwise_cfg=dict(bias_decay_mult=0., norm_decay_mult=0., flat_decay_mult=0.))
auto_scale_lr = dict(base_batch_size=1024)

custom_hooks = [
    dict(type='TeacherHook', momentum=0.004),
    dict(type='GradientHook', clip=3.0, freeze_epochs=1),
]
default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    health=dict(type='HealthHook'),
    checkpoint=dict(interval=10, max_keep_ckpts=3))
