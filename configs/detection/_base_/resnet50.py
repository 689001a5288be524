# Changes to a detector of MMDetection for a pretrained ResNet-50. As usual for self-supervised
# backbones (MoCo, arXiv 1911.05722, section 4.2), all stages are trained, with synchronized BatchNorm
# in training mode, also in the pyramid.
custom_imports = dict(imports=['hvs_mm.detection'], allow_failed_imports=False)

norm_cfg = dict(type='SyncBN', requires_grad=True)
pretrained_resnet = dict(
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        init_cfg=dict(_delete_=True, type='PretrainedBackbone', checkpoint=None)),
    neck=dict(norm_cfg=norm_cfg))
