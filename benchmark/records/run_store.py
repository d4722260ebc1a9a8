"""Store of runs on disk: a folder per run, `<dataset>/<strategy>/<run id>/`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.errors import UserError, unknown
from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.record_file import (
    RECORD,
    find_damage,
    parse_record,
    read_content,
    read_record,
    write_record,
)  # fmt: skip
from stampbench.benchmark.records.replacement import complete_replacement, forced_folder, replaced_runs
from stampbench.benchmark.records.run_folder import RunFolder
from stampbench.benchmark.records.schema import Record

if TYPE_CHECKING:
    from stampbench.models.model import Model


def holds_tables(root: Path) -> bool:
    """Return whether a folder holds published tables, which have no networks, instead of a store of runs.

    Raises:
        UserError: when it does not exist.
    """
    if not root.is_dir():
        raise UserError(f"no runs at {root}: the folder does not exist", setting="runs")
    return (root / "runs.csv").is_file()


class RunStore:
    """All records under one root; the stores of several machines merge by copying them together."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, spec: RunSpec) -> Path:
        """Return the folder of a run."""
        return self.root / spec.dataset.name / spec.strategy / spec.id

    def lease_folder(self, spec: RunSpec) -> Path:
        """Return the folder of a run's lease."""
        return self.folder(spec).with_name(f".{spec.id}.leases")

    def status(self, spec: RunSpec) -> str | None:
        """Return `finished`, `failed`, `running` (begun and not ended), or None."""
        folder = self.folder(spec)
        complete_replacement(folder)
        record = read_content(folder / RECORD)
        return None if record is None else str(record.get("status"))

    def statuses(self) -> dict[str, str]:
        """Return the status of every run by its id; damaged records are skipped."""
        records = (read_content(path) for path in self.paths())
        return {str(record["id"]): str(record.get("status")) for record in records if record and "id" in record}

    def reason(self, spec: RunSpec) -> str:
        """Return why a run failed."""
        return str((read_content(self.folder(spec) / RECORD) or {}).get("reason", "no reason recorded"))

    def read(self, spec: RunSpec) -> tuple[Path, Record]:
        """Return the folder and record of a finished run.

        Raises:
            UserError: when it is not finished, or damaged.
        """
        folder = self.folder(spec)
        if self.status(spec) != "finished":
            raise UserError(f"run {spec.id} of {spec.strategy} is not finished in {self.root}")
        return folder, self._intact(folder, setting="force")

    def begin(self, record: Record, lease: Lease, *, force: bool = False) -> RunFolder:
        """Open a run's folder; an unfinished run there is resumed.

        Args:
            record: record of the run as it starts.
            lease: the run's lease.
            force: whether a finished record is replaced once the new one is finished, and an unfinished run
                starts over.

        Raises:
            UserError: when the store cannot be written.
        """
        path = final = self.folder(record.spec)
        if force and self.status(record.spec) == "finished":
            path = forced_folder(final)
        elif force:
            shutil.rmtree(path, ignore_errors=True)
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_record(path, record)
        except OSError as error:
            raise UserError(f"cannot write runs to {self.root}: {error.strerror or error}") from error
        return RunFolder(path, final, record, lease)

    def check_exists(self) -> None:
        """Check that the root is a folder, and not one of published tables, which have no networks.

        Raises:
            UserError: when it is not.
        """
        if holds_tables(self.root):
            raise UserError(f"{self.root} holds published tables, and not a store of runs", setting="runs")

    def check_writable(self) -> None:
        """Check, before hours of work, that runs can be written.

        Raises:
            UserError: when they cannot.
        """
        probe = self.root / f".write-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"cannot write runs to {self.root}: {error.strerror or error}") from error

    def paths(self) -> list[Path]:
        """Return the `run.json` of every run, whatever its status."""
        for folder in replaced_runs(self.root):
            complete_replacement(folder)
        return sorted(self.root.glob(f"*/*/[!.]*/{RECORD}"))

    def records(self, problems: list[str], files: Collection[str] | None = None) -> Iterator[tuple[Path, Record]]:
        """Yield every finished record with its folder.

        Args:
            problems: receives a line for each damaged record, which is skipped.
            files: names of files whose checksums are verified; None: all.
        """
        for path in self.paths():
            content = read_content(path)
            if content is not None and content.get("status") in ("running", "failed"):
                continue
            try:
                record = parse_record(path, content)
            except UserError as error:
                problems.append(str(error))
                continue
            if path.parts[-4:-1] != (record.spec.dataset.name, record.spec.strategy, record.id):
                problems.append(f"{path}: belongs in {self.folder(record.spec)}")
            elif damage := find_damage(path.parent, record, files):
                problems.append(damage)
            else:
                yield path.parent, record

    def find(self, text: str) -> tuple[Path, Record]:
        """Return the folder and record of a finished run, by its id, the beginning of it, or its folder.

        Raises:
            UserError: when there is no such run, or several, or it is damaged.
        """
        folder = Path(text)
        if (folder / RECORD).is_file():
            found = [folder]
        else:
            found = [path.parent for path in self.paths() if path.parent.name.startswith(text)]
        if not found:
            self.check_exists()
            raise unknown(f"run at {self.root}", text, [path.parent.name for path in self.paths()])
        if len(found) > 1:
            raise UserError(f"run '{text}' is ambiguous: {', '.join(sorted(path.name for path in found))}")
        content = read_content(found[0] / RECORD)
        if content is None:
            raise UserError(f"run {found[0]}: {RECORD} is damaged; it may be truncated")
        if content.get("status") != "finished":
            raise UserError(f"run {found[0]} is not finished")
        return found[0], self._intact(found[0])

    def model(self, text: str) -> tuple[Model, Record]:
        """Return the selected network and the record of a finished run, found as by `find`.

        Raises:
            UserError: when the record is damaged, or the network does not fit the run's images and classes.
            ModelError: when the network is damaged.
        """
        from stampbench.models.weights.serialization import (
            load_model,  # it takes a second, which reading records does not have
        )

        folder, record = self.find(text)
        model = load_model(folder / "model")
        architecture, data = model.architecture, record.dataset
        for what, found, recorded in (
            ("channels", architecture.in_channels, len(data.channels)),
            ("classes", architecture.out_channels, len(data.classes)),
            ("spatial dims", architecture.spatial_dims, len(record.spec.dataset.size)),
        ):
            if found != recorded:
                raise UserError(f"{folder / 'model'}: the network has {found} {what}, the record {recorded}")
        return model, record

    def _intact(self, folder: Path, setting: str | None = None) -> Record:
        record = read_record(folder / RECORD)
        if damage := find_damage(folder, record):
            raise UserError(damage, setting=setting)
        return record
