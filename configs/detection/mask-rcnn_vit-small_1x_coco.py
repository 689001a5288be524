# Mask R-CNN on COCO from a pretrained ViT-S/16 with the simple feature pyramid of ViTDet
# (arXiv 2203.16527), 1x schedule, 8 GPUs with 2 images each. Optimizer as iBOT's detection code.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['hvs_mm.detection', 'mmpretrain.models'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        out_type='featmap',
        drop_path_rate=0.1,
        init_cfg=dict(type='PretrainedBackbone', checkpoint=None)),
    neck=dict(
        _delete_=True, type='mmpretrain.SimpleFeaturePyramid', in_channels=384, num_outs=5))

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0., bias_decay_mult=0., custom_keys=dict(cls_token=dict(decay_mult=0.), pos_embed=dict(decay_mult=0.))))

default_hooks = dict(finite_step=dict(type='mmpretrain.FiniteStepHook'))
