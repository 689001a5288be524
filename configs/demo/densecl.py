# DenseCL on the built-in shapes: MoCo v2's demo with a second loss, over 4 x 4 positions.
_base_ = 'mocov2.py'

model = dict(type='DenseCL', loss_lambda=0.5, neck=dict(type='DenseCLNeck', num_grid=None))
