# SimCLR on the built-in shapes, small enough for two CPU cores. The method is upstream's; the
# network, the crops and the schedule are scaled down.
_base_ = [
    'mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py',
    '../_base_/hvs.py',
    '_base_/shapes.py',
]

model = dict(
    backbone=dict(_delete_=True, **_base_.network),
    neck=dict(in_channels=64, hid_channels=256, out_channels=64))

view_pipeline = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 0.5)),
    _base_.flip,
    _base_.to_gray,
]

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(
        _delete_=True,
        **_base_.shapes,
        pipeline=[
            dict(type='MultiView', num_views=2, transforms=[view_pipeline]),
            dict(type='PackInputs'),
        ]))

# LARS scales steps for batches of thousands of images, of which these are none.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=8,
        by_epoch=True,
        begin=0,
        end=8,
        convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=8)
default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    logger=dict(interval=16),
    checkpoint=dict(interval=1, max_keep_ckpts=3))
custom_hooks = [dict(type='ProgressHook')]
# The same numbers in every run on a machine.
randomness = dict(seed=0)
