# Barlow Twins on the built-in shapes, with the network, the views and the schedule of SimCLR's demo.
_base_ = 'simclr.py'

model = dict(
    type='BarlowTwins',
    neck=dict(
        _delete_=True,
        type='NonLinearNeck',
        in_channels=64,
        hid_channels=256,
        out_channels=256,
        num_layers=3,
        with_last_bn=False),
    head=dict(
        _delete_=True,
        type='LatentCrossCorrelationHead',
        in_channels=256,
        loss=dict(type='CrossCorrelationLoss')))
# 0.03 gave lower k-NN accuracy.
optim_wrapper = dict(optimizer=dict(lr=0.01))
