"""`python -m stampbench.benchmark` is the command line."""

from stampbench.benchmark.cli.main import main

main()
