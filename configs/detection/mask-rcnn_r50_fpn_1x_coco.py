# Mask R-CNN on COCO from a pretrained ResNet-50, 1x schedule, 8 GPUs with 2 images each.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '_base_/resnet50.py']

model = _base_.pretrained_resnet
default_hooks = dict(finite_step=dict(type='mmpretrain.FiniteStepHook'))
