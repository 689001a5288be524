# MoCo v3 on the built-in shapes, with the network, the views and the schedule of SimCLR's demo.
_base_ = 'simclr.py'

projector = dict(
    type='NonLinearNeck',
    in_channels=64,
    hid_channels=256,
    out_channels=64,
    with_bias=False,
    with_last_bn=True,
    with_last_bn_affine=False,
    with_last_bias=False)
model = dict(
    type='MoCoV3',
    # Faster than published, as a run has 512 steps.
    base_momentum=0.02,
    neck=dict(projector, _delete_=True),
    head=dict(
        type='MoCoV3Head',
        predictor=dict(projector, with_last_bn=False, with_avg_pool=False),
        temperature=0.2))
