"""Records on disk: a folder per run, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.errors import UserError, unknown
from stampbench.benchmark.records.lease import Lease
from stampbench.models.network import Network
from stampbench.models.serialization import load_model

SCHEMA = 2
RECORD = "run.json"


class RunFolder:
    """One run's folder: `run.json` says whether it is running, finished or failed."""

    def __init__(self, path: Path, final: Path, record: dict[str, Any], lease: Lease) -> None:
        self.path, self._final, self.record, self.lease = path, final, record, lease

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def resume(self) -> Path:
        return self.path / "resume"

    def write_table(self, name: str, rows: list[dict[str, Any]], columns: list[str] | None = None) -> None:
        """Write a table; the record keeps its checksum, so that a damaged one is not taken for whole."""
        text = pd.DataFrame(rows, columns=columns).to_csv(index=False)
        self.lease.check()
        write_text(self.path / name, text)
        self.record.setdefault("files", {})[name] = hashlib.sha256(text.encode()).hexdigest()

    def finish(self, summary: dict[str, Any]) -> None:
        """Record success, drop the resume state, and take the place of an older record of the same run."""
        self.record["files"] |= model_checksums(self.path)
        self._close("finished", summary=summary)
        shutil.rmtree(self.resume, ignore_errors=True)
        if self.path != self._final:
            replaced = self._final.with_name(f".{self._final.name}.replaced")
            shutil.rmtree(replaced, ignore_errors=True)
            self._final.rename(replaced)
            self.path.rename(self._final)
            shutil.rmtree(replaced, ignore_errors=True)
            self.path = self._final
        self.lease.remove()

    def fail(self, reason: str, *, resumable: bool) -> None:
        """Record failure; a failed run counts as not done, and goes on from its resume state where that is kept."""
        self._close("failed", reason=reason)
        if not resumable:
            shutil.rmtree(self.resume, ignore_errors=True)

    def _close(self, status: str, **what: Any) -> None:
        self.lease.check()
        self.record |= {"status": status, "ended": _now(), **what}
        write_text(self.path / RECORD, json.dumps(self.record, indent=1) + "\n")


class RunStore:
    """All records under one root, `<dataset>/<strategy>/<run id>/`; roots merge by copying them together."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, spec: RunSpec) -> Path:
        return self.root / spec.dataset.name / spec.strategy / spec.id

    def status(self, spec: RunSpec) -> str | None:
        """`finished`, `failed`, `running` (begun, and not ended), or None."""
        record = read_record(self.folder(spec) / RECORD)
        return None if record is None else str(record.get("status"))

    def statuses(self) -> dict[str, str]:
        """The status of every run by its id, damaged records left out."""
        records = (read_record(path) for path in self.paths())
        return {str(record["id"]): str(record.get("status")) for record in records if record and "id" in record}

    def reason(self, spec: RunSpec) -> str:
        """Why a run failed."""
        return str((read_record(self.folder(spec) / RECORD) or {}).get("reason", "no reason recorded"))

    def read(self, spec: RunSpec) -> tuple[Path, dict[str, Any]]:
        """A finished run's folder and record.

        Raises:
            UserError: it is not there, or damaged.
        """
        folder = self.folder(spec)
        record = read_record(folder / RECORD)
        if record is None or record.get("status") != "finished":
            raise UserError(f"run {spec.id} of {spec.strategy} is not finished in {self.root}")
        if problem := damage(folder, record):
            raise UserError(f"{problem}; --force runs it again")
        return folder, record

    def leases(self, spec: RunSpec) -> Path:
        """Where it stands who is at work on a run."""
        return self.folder(spec).with_name(f".{spec.id}.leases")

    def begin(self, spec: RunSpec, described: dict[str, Any], lease: Lease, *, force: bool = False) -> RunFolder:
        """Open a run's folder; what an unfinished run left there is gone on from.

        With `force` a finished record stays in place until the new one is finished, and an unfinished run is
        begun anew.

        Raises:
            UserError: the store cannot be written.
        """
        final = self.folder(spec)
        path = final
        if force and self.status(spec) == "finished":
            path = final.with_name(f".{final.name}.forced")
        elif force:
            shutil.rmtree(path, ignore_errors=True)
        record = {
            "schema": SCHEMA,
            "id": spec.id,
            "group": spec.group,
            "status": "running",
            "begun": _now(),
            "spec": spec.stored(),
            **described,
        }
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_text(path / RECORD, json.dumps(record, indent=1) + "\n")
        except OSError as error:
            raise UserError(f"cannot write runs to {self.root}: {error.strerror or error}") from error
        return RunFolder(path, final, record, lease)

    def check_writable(self) -> None:
        """Raises:
        UserError: the store cannot be written, before hours of work find out.
        """
        probe = self.root / f".write-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"cannot write runs to {self.root}: {error.strerror or error}") from error

    def paths(self) -> list[Path]:
        """The `run.json` of every run, in whatever state."""
        return sorted(self.root.glob(f"*/*/[!.]*/{RECORD}"))

    def records(
        self, problems: list[str], files: Collection[str] | None = None
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Every finished record with its folder; `problems` gets a line for each that is damaged, which is left out.

        `files` are those whose content is verified; None: all.
        """
        for path in self.paths():
            record = read_record(path)
            if record is None:
                problems.append(f"{path}: is no record")
            elif record.get("status") == "finished":
                if problem := damage(path.parent, record, files):
                    problems.append(problem)
                else:
                    yield path.parent, record

    def find(self, text: str) -> tuple[Path, dict[str, Any]]:
        """A finished run by its id, by the beginning of it, or by its folder.

        Raises:
            UserError: there is none, several, or it is damaged.
        """
        folder = Path(text)
        if (folder / RECORD).is_file():
            found = [folder]
        else:
            found = [path.parent for path in self.paths() if path.parent.name.startswith(text)]
        if not found:
            known = [path.parent.name for path in self.paths()]
            raise unknown(f"run at {self.root}", text, known)
        if len(found) > 1:
            raise UserError(f"run '{text}' could be {', '.join(sorted(path.name for path in found))}")
        record = read_record(found[0] / RECORD)
        if record is None or record.get("status") != "finished":
            raise UserError(f"run {found[0]} is not finished")
        if problem := damage(found[0], record):
            raise UserError(problem)
        return found[0], record

    def model(self, text: str) -> tuple[Network, dict[str, Any]]:
        """The selected network of a finished run and its record, found as by `find`.

        Raises:
            UserError, ModelError: it is damaged, or the network is not one for the run's images and classes.
        """
        folder, record = self.find(text)
        model = load_model(folder / "model")
        found, data = model.architecture, record["dataset"]
        for what, mine, recorded in (
            ("channels", found.in_channels, len(data["channels"])),
            ("classes", found.out_channels, len(data["classes"])),
            ("spatial dims", found.spatial_dims, len(record["spec"]["dataset"]["size"])),
        ):
            if mine != recorded:
                raise UserError(f"{folder / 'model'}: a network of {mine} {what}, where the record has {recorded}")
        return model, record


def read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def model_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 by name of the files of a run's network."""
    return {
        f"model/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "model").iterdir())
    }


def damage(folder: Path, record: dict[str, Any], files: Collection[str] | None = None) -> str | None:
    """What is wrong with a finished record, if anything is; `files` are those whose content is verified."""
    if record.get("schema") != SCHEMA:
        older = record.get("schema") in range(1, SCHEMA)
        lift = "; 'stampbench store migrate' lifts it" if older else ""
        return f"{folder / RECORD}: has schema {record.get('schema')}, this version reads {SCHEMA}{lift}"
    if not re.fullmatch("[0-9a-f]{12}", str(record.get("id", "0" * 12))):
        return f"{folder / RECORD}: '{record.get('id')}' is no run's id"
    missing = [key for key in ("id", "group", "spec", "label", "summary", "dataset", "files") if key not in record]
    if missing:
        return f"{folder / RECORD}: lacks {', '.join(missing)}"
    for name, checksum in record["files"].items():
        if files is not None and name not in files:
            continue
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            return f"{folder / name}: {error.strerror or error}"
        if hashlib.sha256(content).hexdigest() != checksum:
            return f"{folder / name}: is not what was recorded"
    return None


def write_text(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # after a power cut the new content is there, or the old one
    unfinished.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
