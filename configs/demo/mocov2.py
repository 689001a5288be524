# MoCo v2 on the built-in shapes, with the network, the views and the schedule of SimCLR's demo.
_base_ = 'simclr.py'

model = dict(
    type='MoCo',
    # Half of the images; faster than published, as a run has 512 steps.
    queue_len=1024,
    feat_dim=64,
    momentum=0.02,
    neck=dict(
        _delete_=True, type='MoCoV2Neck', in_channels=64, hid_channels=256, out_channels=64))
