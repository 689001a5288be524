# BYOL, ResNet-50, 200 epochs of ImageNet-1k, with 2 candidate views of each of the 2 pipelines.
#
# The baseline's settings. The paper does not train BYOL.
_base_ = ['mmpretrain::byol/byol_resnet50_16xb256-coslr-200e_in1k.py', '_base_/hvs.py']

model = dict(
    _delete_=True,
    type='HVSAlgorithm',
    algorithm={{_base_.model}},
    candidates=[2, 2],
    keep=[1, 1])

train_dataloader = dict(
    # MMEngine hands a scope inherited from upstream on to the function.
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(pipeline=[
        dict(type='LoadCheckedImage'),
        dict(
            type='CandidateViews',
            num_views=[2, 2],
            transforms=[{{_base_.view_pipeline1}}, {{_base_.view_pipeline2}}]),
        dict(type='PackViews'),
    ]))

default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    selection=dict(type='SelectionStatsHook'),
    bad_images=dict(type='BadImagesHook'))
