"""The harness every strategy shares: spec, trainer, evaluation, cost, store, command line."""
