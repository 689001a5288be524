"""The console command ``hvs-mm``: a module per subcommand, each the face of a function."""
