# DINO, ViT-S/16, 100 epochs of ImageNet-1k, 2 global and 8 local crops, batch 1024.
_base_ = '../_base_/dino.py'

model = dict(
    type='DINO',
    backbone=dict(
        type='VisionTransformer',
        # MMPretrain's 'small' is another network: 8 layers of width 768.
        arch='deit-small',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        init_cfg=dict(type='ViTTruncNormal')),
    neck=dict(type='DINONeck', in_channels=384, out_channels=65536),
    head=dict(type='DINOHead', out_channels=65536, num_crops=10, teacher_temp=0.04))

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=10, end=100, convert_to_iter_based=True),
    dict(type='CosineWeightDecay', eta_min=0.4, begin=0, end=100, convert_to_iter_based=True),
]
