# Mask R-CNN on COCO from a pretrained ResNet-50, 1x schedule, 8 GPUs with 2 images each.
# As usual for self-supervised backbones (MoCo, arXiv 1911.05722, section 4.2), all stages are
# trained and BatchNorm goes on, synchronized, also in the pyramid.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['hvs_mm'], allow_failed_imports=False)

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        init_cfg=dict(_delete_=True, type='PretrainedBackbone', checkpoint=None)),
    neck=dict(norm_cfg=norm_cfg))
