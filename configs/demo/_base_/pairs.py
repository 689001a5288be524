# Shared by SimSiam and SimCLR on the built-in shapes: two views of one kind, 8 epochs.
_base_ = 'shapes.py'

pair_views = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 0.5)),
    _base_.flip,
    _base_.to_gray,
]
pair_dataset = dict(
    **_base_.shapes,
    pipeline=[
        dict(type='MultiView', num_views=2, transforms=[pair_views]),
        dict(type='PackInputs'),
    ])
pair_schedule = [
    dict(
        type='CosineAnnealingLR',
        T_max=8,
        by_epoch=True,
        begin=0,
        end=8,
        convert_to_iter_based=True)
]
