# CIFAR-100, ViT-S/16, batch 768 (8 x 96).
_base_ = ['_base_/finetune_vit-small.py', '_base_/cifar100.py']

model = dict(head=dict(num_classes=_base_.num_classes))
data_preprocessor = dict(num_classes=_base_.num_classes)
train_dataloader = dict(dataset=dict(
    _delete_=True, **_base_.train_set, pipeline=[_base_.load_image, *_base_.train_pipeline[1:]]))
val_dataloader = dict(dataset=dict(
    _delete_=True, **_base_.test_set, pipeline=[_base_.load_image, *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
