"""Registries of classes by name: the built-in ones, and plug-ins from packages and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

FAILURES = (Exception, SystemExit)
"""What the code of a plug-in can raise: any exception, or that of `exit()`."""

_E = TypeVar("_E", bound="Entry")


@dataclass(frozen=True)
class Entry:
    """A registered class.

    Attributes:
        target: The class as `module:Class`, which is imported on first use.
        preset: Hyperparameters that the name stands for.
        summary: Description for lists; if empty, the first line of the class docstring is used.
        origin: Package or file of a plug-in; None for a built-in class.
        code: Code version of a plug-in, part of the ids of its runs; None for a built-in class.
        loaded: The class, if it is imported already.
        kind: What is registered, such as `strategy`.
        base: The base class as `module:Class`.
        error: What is raised about a plug-in.
    """

    target: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    origin: str | None = None
    code: str | None = None
    loaded: type[Any] | None = None
    kind: ClassVar[str]
    base: ClassVar[str]
    error: ClassVar[type[ValueError]]

    def load(self) -> type[Any]:
        """Return the class; import it if necessary.

        Raises:
            ValueError: `error`, when a plug-in cannot be imported or is not a valid class.
        """
        if self.loaded is not None:
            return self.loaded
        try:
            found = imported(self.target)
        except FAILURES as error:
            if self.origin is None:
                raise
            raise self.error(f"{self.origin}: {self.target} cannot be imported ({one_line(error)})") from error
        return self.checked(found, f"{self.origin or 'stampbench'}: {self.target}")

    def describe(self) -> str:
        """Return a one-line description for lists."""
        return self.summary or next(iter((self.load().__doc__ or "").strip().splitlines()), "no description")

    @classmethod
    def checked(cls, found: object, what: str) -> type[Any]:
        """Return `found` if it is a class of this kind that can be created with its defaults.

        Raises:
            ValueError: `error`, when it is not; the message begins with `what`.
        """
        if not (isinstance(found, type) and issubclass(found, imported(cls.base))):
            raise cls.error(f"{what}: not a subclass of {cls.base.replace(':', '.')}")
        if missing := getattr(found, "__abstractmethods__", None):
            raise cls.error(f"{what}: does not define {', '.join(sorted(missing))}")
        try:
            found()
        except FAILURES as error:  # besides invalid defaults, pydantic reports errors in the class definition here
            raise cls.error(
                f"{what}: a hyperparameter has no valid default ({one_line(error)}); give every field a default"
            ) from error
        return found


def register(registry: dict[str, _E], name: str, entry: _E) -> None:
    """Register a plug-in.

    Raises:
        ValueError: the entry's `error`, when another entry has the name already; the message names both origins.
    """
    known = registry.get(name)
    # The same unchanged file may be given twice.
    if known is not None and (known.origin is None or (known.origin, known.code) != (entry.origin, entry.code)):
        raise entry.error(
            f"{entry.kind} '{name}' of {entry.origin} ({entry.target}): not registered, because the name is already "
            f"used by {known.origin or 'stampbench'} ({known.target}); choose another name"
        )
    registry[name] = entry


def discover(registry: dict[str, _E], entry_class: type[_E], group: str) -> Iterator[str]:
    """Register the classes of installed packages, which are imported on first use.

    Args:
        registry: Where they are registered.
        entry_class: Class of the entries.
        group: Entry point group.

    Yields:
        One line for each plug-in that cannot be registered, with the reason.
    """
    for point in metadata.entry_points(group=group):
        origin = package_of(point)
        known = registry.get(point.name)
        if known is not None and (known.origin, known.target) == (origin, point.value):
            continue
        try:
            register(registry, point.name, entry_class(point.value, origin=origin, code=origin))
        except entry_class.error as error:
            yield str(error)


def register_module(registry: dict[str, _E], entry_class: type[_E], module: ModuleType, code: str) -> list[str]:
    """Register all classes of a kind that a plug-in file defines, by their names in snake_case; return the names.

    Args:
        registry: Where they are registered.
        entry_class: Class of the entries.
        module: The imported file.
        code: Code version of the file.

    Raises:
        ValueError: the kind's `error`, when a class is not valid or its name is taken.
    """
    base, origin = imported(entry_class.base), f"plug-in {module.__file__}"
    names = []
    for found in list(vars(module).values()):
        if isinstance(found, type) and issubclass(found, base) and found.__module__ == module.__name__:
            name = snake_case(found.__name__)
            loaded = entry_class.checked(found, f"{origin}: {found.__name__}")
            target = f"{Path(str(module.__file__)).name}:{found.__name__}"
            register(registry, name, entry_class(target, origin=origin, code=code, loaded=loaded))
            names.append(name)
    return names


def imported(target: str) -> Any:
    """Import `module:name` and return what the name stands for."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def snake_case(name: str) -> str:
    """Convert a class name such as `MyIdea` to snake_case, `my_idea`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def package_of(point: metadata.EntryPoint) -> str:
    """Return name and version of the package that an entry point belongs to."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def one_line(error: BaseException) -> str:
    """Return type and message of an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
