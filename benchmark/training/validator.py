"""Validation of networks in the form in which they are tested: as they were trained, or in a low precision."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from stampbench.benchmark.inference.low_precision import LowPrecision, low_precision_network
from stampbench.benchmark.training.fold_data import FoldData
from stampbench.benchmark.training.validation import ValidationScore, validate
from stampbench.models.model import Model


class Validator:
    """Scores networks on a fold's validation images.

    Attributes:
        precision: precision in which networks are validated and tested; None: that of the training.
    """

    def __init__(
        self,
        data: FoldData,
        loss: Callable[[Tensor, Tensor], Tensor],
        batch_size: int,
    ) -> None:
        """Validate without a low precision at first.

        Args:
            data: the fold's images.
            loss: loss of logits `(N, classes, *spatial)` and labels `(N, *spatial)`.
            batch_size: images of a batch.
        """
        self.precision: LowPrecision | None = None
        self._data, self._loss, self._batch_size = data, loss, batch_size

    def network(self, model: Model) -> nn.Module:
        """Return a network in the form in which it is tested."""
        if self.precision is None:
            return model
        return low_precision_network(model.eval(), self.precision, self._data.calibration)

    def score(self, model: Model) -> ValidationScore:
        """Return the scores of a network in this form."""
        data = self._data
        return validate(
            self.network(model), data.validation, len(data.classes), self._loss, self._batch_size, patch_size=data.patch
        )
