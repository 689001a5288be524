# DINOv2 on the built-in shapes, small enough for two CPU cores: registers, heads of their own for
# image and patches, and Sinkhorn-Knopp. Without KoLeo and layer decay: docs/dinov2.md says why.
_base_ = 'dino.py'

model = dict(
    type='DINOv2',
    backbone=dict(type='DINOv2VisionTransformer', num_registers=4),
    neck=dict(type='DINOv2Neck', fixed_norm=True),
    head=dict(type='DINOv2Head', koleo_weight=0., patch_teacher_temp=0.04))

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(
            type='MultiView',
            num_views=[1, 1, 4],
            transforms=[
                {{_base_.global_pipeline1}}, {{_base_.global_pipeline2}}, {{_base_.local_pipeline}}
            ]),
        dict(type='BlockMasks', patch_size=4, min_patches=4, per_pipeline=True),
        dict(type='PackViews'),
    ]))
