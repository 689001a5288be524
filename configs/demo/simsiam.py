# SimSiam on the built-in shapes, small enough for two CPU cores. The method is upstream's; the
# network, the crops and the schedule are scaled down.
_base_ = [
    'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py',
    '../_base_/hvs.py',
    '_base_/pairs.py',
]

model = dict(
    backbone=dict(_delete_=True, **_base_.network),
    neck=dict(in_channels=64, hid_channels=256, out_channels=256, num_layers=2),
    head=dict(predictor=dict(in_channels=256, hid_channels=64, out_channels=256)))

view_pipeline = _base_.pair_views
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(_delete_=True, **_base_.pair_dataset))

lr = 0.1
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = _base_.pair_schedule
train_cfg = dict(max_epochs=8)
default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    health=dict(type='HealthHook'),
    logger=dict(interval=16))
custom_hooks = [
    dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=lr, adjust_by_epoch=False),
    dict(type='ProgressHook'),
]
# The same numbers in every run on a machine.
randomness = dict(seed=0)
