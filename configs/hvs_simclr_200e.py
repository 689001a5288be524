# SimCLR, ResNet-50, 200 epochs of ImageNet-1k, with 4 candidate views per image.
#
# The baseline's settings: batch 4096 on 16 GPUs, as in the paper. The paper's weight decay is
#   --cfg-options optim_wrapper.optimizer.weight_decay=1e-4
_base_ = ['mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py', '_base_/hvs.py']

model = dict(
    _delete_=True,
    type='HVSAlgorithm',
    algorithm={{_base_.model}},
    candidates=[4],
    keep=[2])

train_dataloader = dict(
    # MMEngine hands a scope inherited from upstream on to the function.
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='CandidateViews', num_views=[4], transforms=[{{_base_.view_pipeline}}]),
        dict(type='PackViews'),
    ]))

default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    selection=dict(type='SelectionStatsHook'),
    bad_images=dict(type='BadImagesHook'))
