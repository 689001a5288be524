# iNaturalist 2018, ResNet-50, batch 256 (8 x 32), with the schedule of MoCo (arXiv 1911.05722, appendix).
_base_ = ['_base_/finetune_resnet50.py', '_base_/inat18.py']

from hvs_mm.apis import on_data_set

globals().update(on_data_set(_base_))

optim_wrapper = dict(optimizer=dict(lr=0.025, nesterov=False))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[70, 90], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=100)
