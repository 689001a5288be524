# Do the methods that the other studies leave out train with hard views? Short runs on the built-in
# shapes. The learning rates of the demos are the better of two, for the baselines, on seed 100.
name = 'methods'
engine = 'fast'
methods = dict(
    mocov2=dict(baseline='configs/demo/mocov2.py', selection='configs/demo/hvs_mocov2.py'),
    mocov3=dict(baseline='configs/demo/mocov3.py', selection='configs/demo/hvs_mocov3.py'),
    densecl=dict(baseline='configs/demo/densecl.py', selection='configs/demo/hvs_densecl.py'),
    barlowtwins=dict(
        baseline='configs/demo/barlowtwins.py', selection='configs/demo/hvs_barlowtwins.py'
    ),
    vicreg=dict(baseline='configs/demo/vicreg.py', selection='configs/demo/hvs_vicreg.py'),
    swav=dict(baseline='configs/demo/swav.py', selection='configs/demo/hvs_swav.py'),
)
arms = dict(baseline=dict(config='baseline'), hardest=dict(config='selection'))
runs = [dict(epochs=[4], seeds=[0, 1])]
evaluation = dict(knn=dict(k=20, interval=4), linear=dict(C=1.0))
