# DINO, ResNet-50, 100 epochs of ImageNet-1k. Optimizer and crops are those of DINO's authors for
# this network: SGD with 0.03 per 256 images and a constant weight decay. Its initial weights are
# torchvision's.
_base_ = 'dino_vit-small_100e.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='SyncBN'),
        zero_init_residual=False),
    neck=dict(in_channels=2048))

global_crop = dict(_base_.global_pipeline1[0], crop_ratio_range=(0.14, 1.))
global_pipeline1 = [global_crop, *_base_.global_pipeline1[1:]]
global_pipeline2 = [global_crop, *_base_.global_pipeline2[1:]]
local_pipeline = [
    dict(_base_.local_pipeline[0], crop_ratio_range=(0.05, 0.14)), *_base_.local_pipeline[1:]]
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(
            type='MultiView',
            num_views=[1, 1, 8],
            transforms=[global_pipeline1, global_pipeline2, local_pipeline]),
        dict(type='PackInputs'),
    ]))

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.12, momentum=0.9, weight_decay=1e-4))
# Without the schedule of the weight decay.
param_scheduler = _base_.param_scheduler[:2]
