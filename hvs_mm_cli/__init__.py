"""The console command ``hvs-mm``: a module per subcommand, each the face of a function of hvs_mm.

It is a package of its own because importing ``hvs_mm`` imports torch and MMPretrain, which takes
seconds; help and mistyped options need neither. Modules import ``hvs_mm`` inside ``run``.
"""
