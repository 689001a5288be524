# Linear evaluation of the SimSiam demo's network on the built-in images: frozen backbone, one
# linear layer. A minute on two CPU cores.
_base_ = [
    'mmpretrain::_base_/schedules/imagenet_bs256_coslr.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/hvs.py',
    '_base_/shapes.py',
]

data_preprocessor = dict(
    num_classes=10,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(
        **_base_.network,
        frozen_stages=3,
        init_cfg=dict(type='PretrainedBackbone', checkpoint=None)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=64,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5)))

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**_base_.shapes, pipeline=[_base_.knn_pipeline[0], _base_.flip, *_base_.knn_pipeline[1:]]))
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ShapesDataset', split='val', pipeline=_base_.knn_pipeline))
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator

auto_scale_lr = dict(base_batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.5, weight_decay=0.))
param_scheduler = dict(T_max=20, end=20)
train_cfg = dict(max_epochs=20, val_interval=5)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
