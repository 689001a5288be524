# SimCLR on the built-in shapes, small enough for two CPU cores. The method is upstream's; the
# network, the crops and the schedule are scaled down.
_base_ = [
    'mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py',
    '../_base_/hvs.py',
    '_base_/pairs.py',
]

model = dict(
    backbone=dict(_delete_=True, **_base_.network),
    neck=dict(in_channels=64, hid_channels=256, out_channels=64),
    # The best of three for the baseline, in tools/study/studies/shapes_tuning.py.
    head=dict(temperature=0.2))

view_pipeline = _base_.pair_views
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(_delete_=True, **_base_.pair_dataset))

# LARS is made for batches of thousands of images.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = _base_.pair_schedule
train_cfg = dict(max_epochs=8)
default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    health=dict(type='HealthHook'),
    logger=dict(interval=16),
    checkpoint=dict(interval=1, max_keep_ckpts=3))
custom_hooks = [dict(type='ProgressHook')]
# The same numbers in every run on a machine.
randomness = dict(seed=0)
