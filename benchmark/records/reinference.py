"""Test cases of finished runs with what the recorded network makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stampbench.benchmark.config.resolve import resolve_dataset
from stampbench.benchmark.config.spec import DatasetIdentity
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.evaluate import evaluate, largest_components, predict
from stampbench.benchmark.records.run_store import RunStore
from stampbench.datasets.dataset import Dataset, open_dataset
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.prepared_case import PreparedCase
from stampbench.datasets.preprocessing import oriented_to_ras
from stampbench.models.network import Network
from stampbench.reports.overlays import Example, best_plane


class Reinference:
    """Looks at cases again with recorded networks; datasets are opened once.

    A dataset is found by the name in the record, so one that was a folder has to be named by `folder`.
    """

    def __init__(self, store: RunStore, data_root: Path | None, folder: str | None = None) -> None:
        self._store, self._data_root, self._folder = store, data_root, folder
        self._opened: dict[tuple[DatasetIdentity, str], Dataset | str] = {}

    def examples(self, run: str, cases: Sequence[str]) -> Iterator[Example]:
        """The named test cases of a run, each in the plane with most foreground.

        Raises:
            UserError: the run or its data is not here, or the data is not what the record was made of.
        """
        model, record, dataset, prepared = self._ready(run, cases)
        sources = {case.id: case for case in dataset.reader.cases}
        for name in cases:
            prediction = predict(model, prepared[name], torch.device("cpu"), dataset.patch)
            if record["spec"]["protocol"]["postprocessing"] == "largest_component":
                prediction = largest_components(prediction)
            raw = dataset.reader.read(sources[name])
            image = raw.image if raw.affine is None else oriented_to_ras(raw.image, raw.affine)[0]
            yield best_plane(name, image[0], np.asarray(prepared[name].reference), prediction, prepared[name].spacing)

    def score(self, run: str, cases: Sequence[str]) -> list[dict[str, Any]]:
        """The scores of what the recorded network makes of test cases, as `evaluate` gives them.

        Raises:
            UserError: as `examples`.
        """
        model, record, dataset, prepared = self._ready(run, cases)
        return evaluate(
            model, [prepared[case] for case in cases], dataset.classes, torch.device("cpu"),
            postprocessing=record["spec"]["protocol"]["postprocessing"], window=dataset.patch,
        )  # fmt: skip

    def dataset(self, record: dict[str, Any]) -> Dataset:
        """The dataset of a record, in the form that its network was trained on.

        Raises:
            UserError: it is not here, or is another one.
        """
        identity = DatasetIdentity.model_validate(record["spec"]["dataset"])
        called = self._folder or record["dataset"].get("called", identity.name)
        if (identity, called) not in self._opened:
            self._opened[identity, called] = self._open(identity, called)
        found = self._opened[identity, called]
        if isinstance(found, str):
            raise UserError(found)
        return found

    def _ready(
        self, run: str, cases: Sequence[str]
    ) -> tuple[Network, dict[str, Any], Dataset, dict[str, PreparedCase]]:  # fmt: skip
        model, record = self._store.model(run)
        model.kernels = "fast"
        dataset = self.dataset(record)
        return model, record, dataset, dataset.prepare(cases)

    def _open(self, identity: DatasetIdentity, called: str) -> Dataset | str:
        """The dataset, or why it cannot be had."""
        try:
            definition = resolve_dataset(called)
            if definition.phantom is None:
                form = {"size": identity.size, "patch": identity.patch, "spatial_dims": identity.spatial_dims}
                definition = definition.model_copy(update=form)
            dataset = open_dataset(definition, self._data_root)
        except (UserError, DatasetError) as error:
            return str(error)
        if dataset.checksum != identity.checksum:
            return f"dataset '{identity.name}' here is not the one that was recorded"
        return dataset
