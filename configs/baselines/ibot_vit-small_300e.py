# iBOT, ViT-S/16, 300 epochs of ImageNet-1k, 2 global and 10 local crops.
_base_ = 'ibot_vit-small_100e.py'

model = dict(head=dict(num_crops=12))

global_crop = dict(
    type='RandomResizedCrop',
    scale=224,
    crop_ratio_range=(0.25, 1.),
    interpolation='bicubic',
    backend='pillow')
global_pipeline1 = [global_crop, *_base_.global_pipeline1[1:]]
global_pipeline2 = [global_crop, *_base_.global_pipeline2[1:]]
local_pipeline = [
    dict(
        type='RandomResizedCrop',
        scale=96,
        crop_ratio_range=(0.05, 0.25),
        interpolation='bicubic',
        backend='pillow'),
    *_base_.local_pipeline[1:],
]
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(
            type='MultiView',
            num_views=[1, 1, 10],
            transforms=[global_pipeline1, global_pipeline2, local_pipeline]),
        {{_base_.block_masks}},
        dict(type='PackViews'),
    ]))

train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=10, end=300, convert_to_iter_based=True),
    dict(type='CosineWeightDecay', eta_min=0.4, begin=0, end=300, convert_to_iter_based=True),
]
