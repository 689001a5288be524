# Faster R-CNN on any data set in COCO's format. Two environment variables name it:
#   DATASET_ROOT=data/bccd  with annotations/train.json, annotations/val.json, train/ and val/
#   CLASSES=RBC,WBC         the categories to detect, by default all of BCCD's blood cells
_base_ = 'faster-rcnn_r50_fpn_1x_coco.py'

data_root = '{{$DATASET_ROOT:data/bccd}}'
classes = '{{$CLASSES:RBC,WBC,Platelets}}'.split(',')

model = dict(
    # One GPU or none: there is nothing to synchronize.
    backbone=dict(norm_cfg=dict(type='BN')),
    neck=dict(norm_cfg=dict(type='BN')),
    roi_head=dict(bbox_head=dict(num_classes=len(classes))))

train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='val/'),
        metainfo=dict(classes=classes)))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/val.json')
test_evaluator = val_evaluator

# A small set has fewer than the 500 iterations of COCO's warm-up in many epochs.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=1, convert_to_iter_based=True),
    _base_.param_scheduler[1],
]
# Half of 16 images: half of the learning rate.
optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(base_batch_size=8)
