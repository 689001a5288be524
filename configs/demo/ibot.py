# iBOT on the built-in shapes, small enough for two CPU cores.
_base_ = 'dino.py'

model = dict(
    type='IBOT',
    backbone=dict(
        _delete_=True,
        type='MaskedVisionTransformer',
        arch=dict(embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=192),
        img_size=32,
        patch_size=4,
        drop_path_rate=0.05,
        init_cfg=[
            dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.),
            dict(type='Constant', layer='LayerNorm', val=1., bias=0.),
        ]),
    neck=dict(type='IBOTNeck', in_channels=96, fixed_norm=False),
    head=dict(type='IBOTHead', num_crops=2, patch_teacher_temp=0.04))

block_masks = dict(type='BlockMasks', patch_size=4, ratio=(0.0, 0.3), ratio_spread=(0.0, 0.2))
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(
            type='MultiView',
            num_views=[1, 1],
            transforms=[{{_base_.global_pipeline1}}, {{_base_.global_pipeline2}}]),
        block_masks,
        dict(type='PackViews'),
    ]))
