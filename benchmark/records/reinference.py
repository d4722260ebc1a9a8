"""Inference repeated with recorded networks on test cases of their runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.spec import DatasetIdentity
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.calibration import CalibrationImages
from stampbench.benchmark.inference.label_maps import postprocess
from stampbench.benchmark.inference.low_precision import low_precision_network
from stampbench.benchmark.inference.predictor import predict
from stampbench.benchmark.measure.case_score import CaseScore
from stampbench.benchmark.measure.evaluate import evaluate
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.dataset import Dataset, open_dataset
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.preparation.preprocessing import oriented_to_ras
from stampbench.datasets.split import Split
from stampbench.reports.overlays import Example, best_plane

_MOST_CASES = 10_000
"""Most generated cases of a dataset that a record names."""
_CPU = torch.device("cpu")
_FORM = ("size", "fit", "patch", "spatial_dims", "split_version")
"""Fields that a definition has from the recorded run."""


def _called(record: Record) -> str:
    """Return the name of a record's dataset, with the parameters of a phantom."""
    name, called = record.spec.dataset.name, record.dataset.called or ""
    generated = name in CATALOGUE and CATALOGUE[name].phantom is not None
    return called if generated and called.startswith(f"{name}:") else name


class Reinference:
    """Segments test cases again with recorded networks; each dataset is opened once.

    Args:
        store: the records and their networks.
        data_root: folder that holds the named datasets' folders.
        folder: folder or definition file of the dataset; None: the one that a record names, or its name below the
            data root.
        trusted: whether records may name a folder of this machine.
    """

    def __init__(
        self, store: RunStore, data_root: Path | None, folder: str | None = None, *, trusted: bool = True
    ) -> None:
        self._store, self._data_root, self._folder, self._trusted = store, data_root, folder, trusted
        self._opened: dict[tuple[DatasetIdentity, str], Dataset | UserError] = {}

    def examples(self, run: str, cases: Sequence[str]) -> Iterator[Example]:
        """Yield test cases of a run, each in the plane with most foreground.

        Args:
            run: id or folder of the run.
            cases: ids of the cases.

        Raises:
            UserError: when the run or its data is absent, or the data is not the recorded one.
        """
        model, record, dataset, prepared = self._ready(run, cases)
        sources = {case.id: case for case in dataset.reader.cases}
        for name in cases:
            case = prepared[name]
            prediction = predict(model, case, _CPU, record.evaluation)
            prediction = postprocess(prediction, record.evaluation.postprocessing)
            raw = dataset.reader.read(sources[name])
            image = raw.image if raw.affine is None else oriented_to_ras(raw.image, raw.affine)[0]
            yield best_plane(name, image[0], np.asarray(case.reference), prediction, case.spacing)

    def score(self, run: str, cases: Sequence[str]) -> list[CaseScore]:
        """Score test cases of a run exactly as the run did; arguments and errors are those of `examples`."""
        model, record, dataset, prepared = self._ready(run, cases)
        return evaluate(model, [prepared[case] for case in cases], dataset.classes, _CPU, record.evaluation)

    def test_cases(self, record: Record) -> dict[str, str]:
        """Return the test cases that a run must have scored, with their subjects; errors are those of `examples`."""
        subjects = {image.case: image.subject for image in self.dataset(record).images}
        return {case: subjects[case] for case in self.split(record).test}

    def split(self, record: Record) -> Split:
        """Return the images of a run's fold; errors are those of `dataset`."""
        spec = record.spec
        draw = (spec.n_train, spec.fold, spec.protocol.folds, spec.training_set, spec.protocol.split)
        return self.dataset(record).split(*draw)

    def calibration_images(self, record: Record) -> CalibrationImages:
        """Return the training images on which a run's network finds its ranges; errors are those of `dataset`."""
        dataset = self.dataset(record)
        return CalibrationImages(self.split(record).training, dataset, dataset.prepare)

    def dataset(self, record: Record) -> Dataset:
        """Return the dataset of a record, in the form that its network was trained on.

        Raises:
            UserError: when it is absent, or not the recorded one.
        """
        identity = record.spec.dataset
        key = (identity, record.dataset.source or record.dataset.called or identity.name)
        if key not in self._opened:
            self._opened[key] = self._find(record)
        found = self._opened[key]
        if isinstance(found, UserError):
            raise found
        return found

    def _ready(
        self, run: str, cases: Sequence[str]
    ) -> tuple[nn.Module, Record, Dataset, dict[str, PreparedCase]]:  # fmt: skip
        model, record = self._store.model(run)
        model.kernels = "fast"
        dataset, precision = self.dataset(record), record.spec.test_precision
        network: nn.Module = model
        if precision is not None:
            network = low_precision_network(model, precision, self.calibration_images(record))
        return network, record, dataset, dataset.prepare(cases)

    def _find(self, record: Record) -> Dataset | UserError:
        """Return the dataset, or why it is not available; several places are tried for one without a known name."""
        identity, source = record.spec.dataset, record.dataset.source if self._trusted else None
        called = _called(record)
        if self._folder or (source is None and called.partition(":")[0] in CATALOGUE):
            return self._open(record, self._folder or called)
        places = [] if source is None else [Path(source).expanduser()]
        places += (
            [] if self._data_root is None else [self._data_root / (Path(source).name if source else identity.name)]
        )
        for place in places:
            if place.exists():
                return self._open(record, str(place))
        tried = f"not found at {' or '.join(map(str, places))}" if places else "its folder is not known"
        return UserError(f"dataset '{identity.name}': {tried}; name its folder or definition file", setting="folder")

    def _open(self, record: Record, called: str) -> Dataset | UserError:
        identity = record.spec.dataset
        try:
            definition = find_definition(called)
            phantom = definition.phantom
            if phantom is not None and (phantom.cases > _MOST_CASES or set(identity.size) != {phantom.size}):
                return UserError(f"dataset '{called}' is not the recorded one, or has more than {_MOST_CASES:,} cases")
            if phantom is None:
                form = {key: getattr(identity, key) for key in _FORM}
                form["subject_pattern"] = record.dataset.subject_pattern or definition.subject_pattern
                definition = definition.model_copy(update=form)
            dataset = open_dataset(definition, self._data_root)
        except (UserError, DatasetError) as error:
            return UserError(str(error), setting=error.setting)
        if dataset.checksum != identity.checksum:
            return UserError(f"dataset '{identity.name}' here is not the recorded one: checksum mismatch")
        return dataset
