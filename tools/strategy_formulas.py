"""What a strategy does as formulas, from its class and hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NOTATION = (
    "Formulas: F_l is the number of filters of layer l, a_lk(x) the output of its filter k for image x after the ReLU,"
    " ‖·‖₂ the L2 norm over pixels or voxels, n the number of training images, f the filters on the first level, U a"
    " uniform distribution. A validation loss that has not fallen for `patience` epochs ends a training to convergence."
)
_CONVERGED = "θ ← argmin over epochs of L_validation(θ), until it has not fallen for `patience` epochs"
_START = {"doubling": "F on level i = f · 2^i", "flat": "F on every level = f"}
_IMPORTANCE = {
    "l2": "m_lk = (1/n) Σ_x ‖a_lk(x)‖₂, s_lk = m_lk / ‖m_l‖₂",
    "group_l2": "m_lk = mean of ‖w‖₂² over the slices w that go with filter k of layer l, s_lk = m_lk / mean_k m_lk",
}
_DROPOUT = {
    "fixed": "p_l = 0.037 for all layers",
    "targeted": "p_l = b · μ_l / max_m μ_m, μ_l = mean position of layer l's filters in descending order of s",
}


def formulas(values: dict[str, Any]) -> list[str]:
    """Return the formulas of a built-in strategy, in the order in which they are applied.

    Args:
        values: its hyperparameters by name.
    """
    return [*_start(values), *_rest(values)]


def _start(values: dict[str, Any]) -> Iterator[str]:
    if "pocket" in values:
        yield "F on every level = f" if values["pocket"] else "F on level i = f · 2^i"
    elif "budget" in values:
        yield "F_l = those of checkpoint s of the parent run, s = 0, N, 2N, …; θ is drawn anew"
    else:
        yield _START[values.get("shape", "doubling")]


def _rest(values: dict[str, Any]) -> Iterator[str]:
    dropout = _DROPOUT.get(values.get("dropout", "none"))
    if "temperature" in values:
        yield "L = (1 − w) · L_Dice + w · T² · KL(softmax(z_teacher / T) ‖ softmax(z / T))"
    if "selection" not in values:
        yield _CONVERGED
        if dropout:
            yield dropout
        return
    if values["pretrained"]:
        yield f"{_CONVERGED}, in a parent run"
    yield from _step(values)
    if dropout:
        yield dropout
    recovery = "train R epochs" if values["recovery"] == "epochs" else _CONVERGED
    yield f"{recovery}, and prune again, while a layer has more than one filter"


def _step(values: dict[str, Any]) -> Iterator[str]:
    """Yield how the filter to remove is chosen."""
    scores = _IMPORTANCE[values["importance"]]
    yield from {
        "lowest": (scores, "remove (l, k) = argmin s_lk"),
        "random_in_stamp_layer": (scores, "remove filter k ~ U{1, …, F_l} of the layer l of argmin s_lk"),
        "random_largest": ("remove filter k ~ U{1, …, F_l} of the layer l = argmax F_l",),
        "random_uniform": ("remove (l, k) ~ U over all filters of layers with more than one",),
    }[values["selection"]]
