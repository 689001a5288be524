# SimCLR, ResNet-18, 10 epochs of CIFAR-10 JPEGs in class folders, views of 32 px.
_base_ = [
    'mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py',
    '../_base_/hvs.py',
    '_base_/jpegs.py',
]

model = dict(
    backbone=dict(depth=18, norm_cfg=dict(type='BN')),
    neck=dict(in_channels=512, hid_channels=512),
    head=dict(temperature=0.5))

# As SimCLR's authors train on CIFAR-10 (arXiv 2002.05709, appendix B.9): without the blur, colors
# half as strong as on ImageNet, another temperature.
view_pipeline = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.08, 1.)),
    _base_.view_pipeline[1],
    dict(
        type='RandomApply',
        transforms=[
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        ],
        prob=0.8),
    _base_.view_pipeline[3],
]

train_dataloader = dict(
    batch_size=128,
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

# LARS is made for batches of thousands of images.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(**_base_.cosine, T_max=10, end=10)]
train_cfg = dict(max_epochs=10)
default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    health=dict(type='HealthHook'),
    logger=dict(interval=20),
    checkpoint=dict(interval=1, max_keep_ckpts=1))
