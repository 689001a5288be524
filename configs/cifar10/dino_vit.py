# DINO, a ViT of 4 layers and width 96, 10 epochs of CIFAR-10 JPEGs in class folders, views of 32 and
# 16 px.
_base_ = ['../baselines/dino_vit-small_100e.py', '_base_/jpegs.py']

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=384),
        img_size=32,
        patch_size=4,
        drop_path_rate=0.05,
        # As in configs/demo/dino.py: the published initial weights are for a wider ViT.
        init_cfg=dict(_delete_=True, type='TruncNormal', layer='Linear', std=0.02, bias=0.)),
    neck=dict(
        in_channels=96,
        out_channels=1024,
        hidden_channels=512,
        bottleneck_channels=128,
        use_bn=True),
    head=dict(out_channels=1024, num_crops=6))

# ImageNet's pipelines with crops of the images' size and without the blur.
global_pipeline1 = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.4, 1.)),
    *_base_.global_pipeline1[1:4],
]
global_pipeline2 = [*global_pipeline1, _base_.global_pipeline2[5]]
local_pipeline = [
    dict(type='RandomResizedCrop', scale=16, crop_ratio_range=(0.05, 0.4)),
    *_base_.local_pipeline[1:4],
]

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        _delete_=True,
        **_base_.jpegs,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='MultiView',
                num_views=[1, 1, 4],
                transforms=[global_pipeline1, global_pipeline2, local_pipeline]),
            dict(type='PackInputs'),
        ]))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=10)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=1),
    dict(_base_.param_scheduler[1], begin=1, end=10),
    dict(_base_.param_scheduler[2], end=10),
]
custom_hooks = [
    dict(type='TeacherHook', momentum=0.01),
    dict(type='GradientHook', clip=3.0, freeze_epochs=1),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=1, max_keep_ckpts=1))
