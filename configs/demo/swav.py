# SwAV on the built-in shapes: 2 large and 4 small crops, with the network of SimCLR's demo.
_base_ = 'simclr.py'

num_crops = [2, 4]
model = dict(
    type='SwAV',
    neck=dict(_delete_=True, type='SwAVNeck', in_channels=64, hid_channels=256, out_channels=64),
    head=dict(
        _delete_=True,
        type='SwAVHead',
        loss=dict(type='SwAVLoss', feat_dim=64, num_prototypes=32, num_crops=num_crops)))

small_view = [
    dict(type='RandomResizedCrop', scale=16, crop_ratio_range=(0.05, 0.2)), *_base_.view_pipeline[1:]]
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(
            type='MultiView', num_views=num_crops, transforms=[_base_.view_pipeline, small_view]),
        dict(type='PackInputs'),
    ]))
