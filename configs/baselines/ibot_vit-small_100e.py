# iBOT, ViT-S/16, 100 epochs of ImageNet-1k, 2 global crops, batch 1024.
_base_ = 'dino_vit-small_100e.py'

model = dict(
    type='IBOT',
    backbone=dict(type='MaskedVisionTransformer'),
    neck=dict(type='IBOTNeck', out_channels=8192, fixed_norm=False),
    head=dict(
        type='IBOTHead',
        out_channels=8192,
        num_crops=2,
        teacher_temp=0.07,
        warmup_teacher_temp=0.04,
        patch_teacher_temp=0.07,
        warmup_patch_teacher_temp=0.04,
        warmup_teacher_temp_epochs=30))

global_crop = dict(_base_.global_pipeline1[0], crop_ratio_range=(0.14, 1.))
global_pipeline1 = [global_crop, *_base_.global_pipeline1[1:]]
global_pipeline2 = [global_crop, *_base_.global_pipeline2[1:]]
block_masks = dict(type='BlockMasks', patch_size=16, ratio=(0.0, 0.3), ratio_spread=(0.0, 0.2))
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='MultiView', num_views=[1, 1], transforms=[global_pipeline1, global_pipeline2]),
        block_masks,
        dict(type='PackViews'),
    ]))
