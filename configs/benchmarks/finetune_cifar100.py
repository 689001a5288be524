# CIFAR-100, ResNet-50, batch 256 (8 x 32).
_base_ = ['_base_/finetune_resnet50.py', '_base_/cifar100.py']

from hvs_mm.apis import on_data_set

globals().update(on_data_set(_base_))

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
