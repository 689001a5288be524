# DINOv2, ViT-S/14, 100 epochs of ImageNet-1k, batch 1024: the published short recipe
# (facebookresearch/dinov2, dinov2/configs/train/vitl16_short.yaml and ssl_default_config.yaml), which is
# for a ViT-L/16. Width, patches and crops of 98 pixels are those of the published ViT-S/14.
#
# The published long runs have heads of their own for image and patches, and Sinkhorn-Knopp:
#   --cfg-options model.neck.shared_head=False model.head.centering=sinkhorn
_base_ = '../_base_/dino.py'

model = dict(
    type='DINOv2',
    backbone=dict(
        type='DINOv2VisionTransformer',
        arch='dinov2-small',
        img_size=224,
        patch_size=14,
        pos_embed_offset=0.1,
        layer_scale_init_value=1e-5,
        drop_path_rate=0.3,
        uniform_drop_path=True,
        drop_path='samples',
        init_cfg=dict(type='ViTTruncNormal', token_std=1e-6)),
    neck=dict(type='DINOv2Neck', in_channels=384, out_channels=65536, shared_head=True),
    head=dict(
        type='DINOv2Head',
        out_channels=65536,
        centering='softmax',
        koleo_weight=0.1,
        num_crops=10,
        teacher_temp=0.07,
        warmup_teacher_temp=0.04,
        patch_teacher_temp=0.07,
        warmup_patch_teacher_temp=0.04,
        warmup_teacher_temp_epochs=30))

global_crop = dict(_base_.global_pipeline1[0], crop_ratio_range=(0.32, 1.))
global_pipeline1 = [global_crop, *_base_.global_pipeline1[1:]]
global_pipeline2 = [global_crop, *_base_.global_pipeline2[1:]]
local_pipeline = [
    dict(_base_.local_pipeline[0], scale=98, crop_ratio_range=(0.05, 0.32)),
    *_base_.local_pipeline[1:],
]
block_masks = dict(
    type='BlockMasks',
    patch_size=14,
    ratio=(0.0, 0.3),
    ratio_spread=(0.0, 0.2),
    min_patches=4,
    per_pipeline=True)
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(
            type='MultiView',
            num_views=[1, 1, 8],
            transforms=[global_pipeline1, global_pipeline2, local_pipeline]),
        block_masks,
        dict(type='PackViews'),
    ]))

# For batch 1024; the published code scales it by the root of the batch size.
optim_wrapper = dict(
    constructor='LayerDecayConstructor',
    optimizer=dict(lr=4e-3),
    paramwise_cfg=dict(layer_decay_rate=0.9, patch_embed_lr_mult=0.2))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, begin=0, end=10, convert_to_iter_based=True),
    # To 1e-6, and for each layer to the same share of its rate.
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=2.5e-4,
        begin=10,
        end=100,
        convert_to_iter_based=True),
    dict(type='CosineWeightDecay', eta_min=0.4, begin=0, end=100, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='TeacherHook', momentum=0.008),
    dict(type='GradientHook', clip=3.0, by='part', freeze_epochs=1),
]
