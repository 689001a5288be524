# SimSiam on the built-in shapes, small enough for two CPU cores. The method is upstream's; the
# network, the crops and the schedule are scaled down.
_base_ = ['mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py', '../_base_/hvs.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet_CIFAR',
        depth=18,
        num_stages=3,
        out_indices=(2, ),
        strides=(2, 2, 2),
        dilations=(1, 1, 1),
        stem_channels=8,
        base_channels=16,
        norm_cfg=dict(type='BN'),
        zero_init_residual=False),
    neck=dict(in_channels=64, hid_channels=256, out_channels=256, num_layers=2),
    head=dict(predictor=dict(in_channels=256, hid_channels=64, out_channels=256)))

# The class is the shape: color carries nothing, and views without it learn faster.
to_gray = dict(
    type='RandomGrayscale',
    prob=1.0,
    keep_channels=True,
    channel_weights=(0.114, 0.587, 0.2989))
view_pipeline = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 0.5)),
    dict(type='RandomFlip', prob=0.5),
    to_gray,
]
# What the nearest-neighbor classifier of tools/demo.py sees.
knn_pipeline = [
    dict(type='Resize', scale=48, interpolation='area'),
    to_gray,
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(
        _delete_=True,
        type='ShapesDataset',
        split='train',
        num_samples=2048,
        pipeline=[
            dict(type='MultiView', num_views=2, transforms=[view_pipeline]),
            dict(type='PackInputs'),
        ]))

lr = 0.1
optim_wrapper = dict(optimizer=dict(lr=lr))
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
default_hooks = dict(logger=dict(interval=16))
custom_hooks = [
    dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=lr, adjust_by_epoch=False),
    dict(type='ProgressHook'),
]
# The same numbers in every run on a machine.
randomness = dict(seed=0)
