"""Where runs are executed: on this machine, on a Ray cluster, on a Slurm cluster. One interface, `executors.base`."""
