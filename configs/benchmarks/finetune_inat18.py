# iNaturalist 2018, ResNet-50, batch 256 (8 x 32), with the schedule of MoCo (arXiv 1911.05722, appendix).
_base_ = ['_base_/finetune_resnet50.py', '_base_/inat18.py']

model = dict(head=dict(num_classes=_base_.num_classes))
data_preprocessor = dict(num_classes=_base_.num_classes)
train_dataloader = dict(dataset=dict(
    _delete_=True, **_base_.train_set, pipeline=[_base_.load_image, *_base_.train_pipeline[1:]]))
val_dataloader = dict(dataset=dict(
    _delete_=True, **_base_.test_set, pipeline=[_base_.load_image, *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=0.025, nesterov=False))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[70, 90], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=100)
