"""Labels that follow the channels of a network through a forward pass; see `stampbench.models.tracing.channels`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_ACTIVATIONS = {
    *("relu", "relu6", "leaky_relu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "threshold"),
    *("hardsigmoid", "hardtanh", "sigmoid", "tanh", "softplus", "softsign", "logsigmoid", "clamp", "abs", "exp", "neg"),
    *("square", "sqrt", "rsqrt", "pow", "sign", "clone", "detach", "contiguous", "zeros_like", "ones_like"),
    *("to", "float", "half", "double", "type", "bfloat16", "rand_like", "randn_like"),
}
_DROPOUTS = {"dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"}
_IN_SPACE = {"interpolate", "upsample"} | {
    f"{name}{dims}d"
    for dims in (1, 2, 3)
    for name in ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool", "dropout")
}
_ALONE = _ACTIVATIONS | _DROPOUTS | _IN_SPACE
"""Functions whose output channel c depends on channel c of their first tensor alone."""
_PER_CHANNEL = {"batch_norm", "instance_norm", "group_norm", "prelu"}
"""The same, with one parameter per channel."""
_PAIRS = {
    *("add", "sub", "mul", "div", "true_divide", "truediv", "maximum", "minimum"),
    *("radd", "rsub", "rmul", "rtruediv", "iadd", "isub", "imul"),
}
"""Functions of two tensors, channel by channel."""
_CONVOLUTIONS = {"conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"}

Place = tuple[str, int]
"""A dimension of a parameter or buffer: its name in the state, and the number of the dimension."""

Labels = tuple[int, ...]
"""A label for each channel of a tensor; empty: the tensor has none."""


class ChannelLabels(TorchFunctionMode):  # type: ignore[no-untyped-call]
    """Labels the channels of tensors while functions of PyTorch are called, and notes where labels occur.

    Attributes:
        parent: For each label, one that it was made equal to.
        pinned: Labels of channels that are never removed.
        places: The labels of dimensions of parameters and buffers.
        written: The labels of the output of each convolution, in the order of the forward pass.
        read: The labels of its input, where it has any.
    """

    def __init__(self, model: nn.Module, ndim: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parent: list[int] = []
        self.pinned: set[int] = set()
        self.places: dict[Place, Labels] = {}
        self.written: dict[str, Labels] = {}
        self.read: dict[str, Labels] = {}
        self._ndim = ndim
        self._labels: dict[int, tuple[Tensor, Labels]] = {}  # the tensor, so that no other one gets its id
        self._names = _names(model)
        self._modules = dict(model.named_modules())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch and label its results."""
        kwargs = kwargs or {}
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        before = [self.labels(each) for each in inputs]
        result = func(*args, **kwargs)
        outputs = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        name = getattr(func, "__name__", "").strip("_")
        if outputs and (any(before) or name in _CONVOLUTIONS):  # the image has no labels
            labels = self._follow(name, args, kwargs, inputs, before)
            if labels is None or outputs[0].ndim != self._ndim or outputs[0].shape[1] != len(labels):
                self.pin(label for each in (*before, labels or ()) for label in each)
                labels = ()
            self._labels |= {id(each): (each, labels) for each in outputs}
        return result

    def labels(self, tensor: object) -> Labels:
        """Return the labels of a tensor's channels."""
        return self._labels.get(id(tensor), (None, ()))[1]

    def root(self, label: int) -> int:
        """Return the label that stands for all that were made equal to this one."""
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def pin(self, labels: Iterable[int]) -> None:
        """Mark channels that are never removed."""
        self.pinned |= set(labels)

    def _follow(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[Tensor],
        before: Sequence[Labels],
    ) -> Labels | None:
        """Return the labels of a result; None: the function mixes channels in a way that is not followed.

        Args:
            name: Name of the function.
            args: Its arguments.
            kwargs: Its named arguments.
            inputs: The tensors among them.
            before: The labels of these tensors.
        """

        def argument(position: int, name: str) -> Any:
            return kwargs.get(name, args[position] if len(args) > position else None)

        if name in _CONVOLUTIONS:
            return self._convolved(name, inputs[1], before[0])
        if name == "cat":
            return self._joined(inputs, before) if argument(1, "dim") in (1, 1 - self._ndim) else None
        if name == "pad":
            return before[0] if len(argument(1, "pad")) <= 2 * (self._ndim - 2) else None
        if name in _PER_CHANNEL:
            # Without weights, nothing says afterwards how many groups there are.
            mixes = name == "group_norm" and (argument(1, "num_groups") != len(before[0]) or len(inputs) == 1)
            return None if mixes else self._scaled(name, inputs, before[0])
        if name in _PAIRS and len(inputs) == 2:
            return self._paired(inputs, before)
        return before[0] if name in _ALONE or name in _PAIRS else None

    def _convolved(self, name: str, weight: Tensor, read: Labels) -> Labels | None:
        path, transposed = self._names.get(id(weight), "").removesuffix(".weight"), "transpose" in name
        module = self._modules.get(path)
        if not isinstance(module, nn.modules.conv._ConvNd) or module.weight is not weight:
            return None
        if module.groups > 1:
            if transposed or not read or not module.groups == module.in_channels == module.out_channels:
                return None
            written = read  # depthwise
        else:
            if path not in self.written:
                self.written[path] = self._new(module.out_channels)
            written = self.written[path]
            if read:
                self._note((f"{path}.weight", 0 if transposed else 1), read)
                self.read.setdefault(path, read)
        self._note((f"{path}.weight", 1 if transposed else 0), written)
        if module.bias is not None:
            self._note((f"{path}.bias", 0), written)
        return written

    def _joined(self, inputs: Sequence[Tensor], before: Sequence[Labels]) -> Labels:
        joined: list[int] = []
        for tensor, labels in zip(inputs, before, strict=True):
            if not labels:
                labels = self._new(tensor.shape[1])
                self.pin(labels)
            joined += labels
        return tuple(joined)

    def _paired(self, inputs: Sequence[Tensor], before: Sequence[Labels]) -> Labels | None:
        one, other = before
        if len(one) == len(other):
            self._make_equal(one, other)
            return one
        if one and other:
            narrow, wide = sorted(before, key=len)
            self.pin(narrow)  # its single channel meets every channel of the other
            return wide if len(narrow) == 1 else None
        return self._broadcast(*((one, inputs[1]) if one else (other, inputs[0])))

    def _broadcast(self, labels: Labels, rest: Tensor) -> Labels | None:
        """Follow a pair of a labelled tensor and one without labels, such as a factor per channel."""
        dim = rest.ndim - self._ndim + 1  # where the channels are in a tensor that may lack the first dimensions
        if dim < 0 or rest.shape[dim] == 1:
            return labels
        if id(rest) not in self._names or rest.shape[dim] != len(labels):
            return None
        self._note((self._names[id(rest)], dim), labels)
        return labels

    def _scaled(self, name: str, inputs: Sequence[Tensor], labels: Labels) -> Labels | None:
        for tensor in inputs[1:]:
            if name == "prelu" and tensor.numel() == 1:
                continue
            known = self._names.get(id(tensor))
            if known is None or tuple(tensor.shape) != (len(labels),):
                return None
            self._note((known, 0), labels)
        return labels

    def _note(self, place: Place, labels: Labels) -> None:
        if place in self.places:  # the module is used more than once
            self._make_equal(self.places[place], labels)
        self.places[place] = labels

    def _make_equal(self, one: Labels, other: Labels) -> None:
        for first, second in zip(one, other, strict=True):
            low, high = sorted((self.root(first), self.root(second)))
            self.parent[high] = low

    def _new(self, number: int) -> Labels:
        labels = tuple(range(len(self.parent), len(self.parent) + number))
        self.parent += labels
        return labels


def _names(model: nn.Module) -> dict[int, str]:
    """Return the first name of each parameter and buffer by its identity, without those that two modules share."""
    names: dict[int, str] = {}
    shared: set[int] = set()
    for path, module in model.named_modules():
        own = (*module.named_parameters(path, recurse=False), *module.named_buffers(path, recurse=False))
        for name, each in own:
            if names.setdefault(id(each), name) != name:
                shared.add(id(each))
    return {identity: name for identity, name in names.items() if identity not in shared}
