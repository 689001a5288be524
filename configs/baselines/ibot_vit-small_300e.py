# iBOT, ViT-S/16, 300 epochs of ImageNet-1k, 2 global and 10 local crops.
_base_ = 'ibot_vit-small_100e.py'

model = dict(head=dict(num_crops=12))

global_crop = dict(_base_.global_pipeline1[0], crop_ratio_range=(0.25, 1.))
global_pipeline1 = [global_crop, *_base_.global_pipeline1[1:]]
global_pipeline2 = [global_crop, *_base_.global_pipeline2[1:]]
local_pipeline = [
    dict(_base_.local_pipeline[0], crop_ratio_range=(0.05, 0.25)), *_base_.local_pipeline[1:]]
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
    _base_.param_scheduler[0],
    *(dict(cosine, end=300) for cosine in _base_.param_scheduler[1:]),
]
