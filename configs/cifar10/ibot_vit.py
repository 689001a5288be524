# iBOT, as dino_vit.py without local crops.
_base_ = 'dino_vit.py'

model = dict(
    type='IBOT',
    backbone=dict(type='MaskedVisionTransformer'),
    neck=dict(type='IBOTNeck', fixed_norm=False),
    head=dict(type='IBOTHead', num_crops=2, patch_teacher_temp=0.04))

block_masks = dict(type='BlockMasks', patch_size=4, ratio=(0.0, 0.3), ratio_spread=(0.0, 0.2))
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(
            type='MultiView',
            num_views=[1, 1],
            transforms=[{{_base_.global_pipeline1}}, {{_base_.global_pipeline2}}]),
        block_masks,
        dict(type='PackViews'),
    ]))
