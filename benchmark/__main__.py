"""`python -m stampbench.benchmark` is the command line."""

from stampbench.benchmark.cli import main

main()
