# SimCLR on built-in images in which every place looks different.
_base_ = 'simclr.py'

# Else views would tell their image by its brightness.
jitter = dict(type='ColorJitter', brightness=0.3, contrast=0.3)
scene_views = [_base_.pair_views[0], jitter, _base_.flip, _base_.to_gray]
train_dataloader = dict(
    dataset=dict(
        layout='scene',
        pipeline=[
            dict(type='MultiView', num_views=2, transforms=[scene_views]),
            dict(type='PackInputs'),
        ]))
