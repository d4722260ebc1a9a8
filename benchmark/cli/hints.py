"""Hints about options, added to errors whose messages state facts."""

from __future__ import annotations

HINTS = {
    "batch_size": "--protocol-set batch_size=N or --set depth=N",
    "channels": "--channels of 'stampbench datasets create'",
    "classes": "--class of 'stampbench datasets create'",
    "data_root": "--data-root or STAMPBENCH_DATA",
    "dataset": "--dataset, --n-train, --protocol or --strategy",
    "device": "--device",
    "fit": "--fit",
    "fold_numbers": "--folds",
    "folder": "--folder",
    "folds": "--protocol-set folds=N",
    "force": "--force",
    "gpus": "--gpus",
    "ignore": "--ignore of 'stampbench datasets create'",
    "image_size": "--image-size",
    "jobs": "--jobs",
    "kernels": "--kernels, or --force to start over",
    "labels": "--labels CLASS=PATTERN of 'stampbench datasets create'",
    "max_voxels": "--max-voxels or STAMPBENCH_MAX_VOXELS",
    "n_train": "--n-train",
    "network": "--network and --network-set",
    "output": "--output",
    "parameters": "--parameters",
    "patch_size": "--patch-size",
    "precision": "--precision",
    "priority": "--priority of 'stampbench datasets create'",
    "quick": "--quick",
    "ray_address": "--ray-address",
    "record": "--record of 'stampbench latency'",
    "resize_labels": "--resize-labels of 'stampbench datasets create'",
    "runs": "--runs",
    "save_memory": "--save-memory",
    "spatial_dims": "--spatial-dims",
    "structures": "--structure of 'stampbench datasets create'",
    "subject_pattern": "--subject-pattern",
    "threads": "--threads",
    "trajectory_test": "--trajectory-test, or --force to start over",
    "weights": "--weights",
}
"""Options by the name of the setting that an error carries."""


def hint(setting: str | None) -> str:
    """Return `; see OPTION` for the setting that an error or a finding names, else an empty text."""
    option = HINTS.get(setting or "")
    return f"; see {option}" if option else ""
