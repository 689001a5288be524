# SimSiam, ResNet-18, 6 epochs of CIFAR-10 JPEGs in class folders, views of 48 px: some minutes on
# CPU cores. The network is ImageNet's, so that its weights go into a detector.
_base_ = [
    'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py',
    '../_base_/hvs.py',
    '_base_/jpegs.py',
]

model = dict(
    backbone=dict(depth=18, norm_cfg=dict(type='BN')),
    neck=dict(in_channels=512))

# Upstream's views, smaller and without the blur, as SimSiam's authors train on CIFAR-10
# (arXiv 2011.10566, appendix D).
view_pipeline = [
    dict(type='RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.)),
    *_base_.view_pipeline[1:3],
    dict(type='RandomFlip', prob=0.5),
]
knn_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=48), dict(type='PackInputs')
]

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(
        _delete_=True,
        **_base_.jpegs,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='MultiView', num_views=2, transforms=[view_pipeline]),
            dict(type='PackInputs'),
        ]))

lr = 0.05
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(**_base_.cosine, T_max=6, end=6)]
train_cfg = dict(max_epochs=6)
custom_hooks = [
    dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=lr, adjust_by_epoch=False)
]
default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    health=dict(type='HealthHook'),
    logger=dict(interval=20),
    checkpoint=dict(interval=1, max_keep_ckpts=1))
