"""A run's folder while it is being written: tables, status, and the final rename."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.record_file import model_checksums, write_record
from stampbench.benchmark.records.replacement import replace_run
from stampbench.benchmark.records.schema import Record, Summary, now
from stampbench.datasets.atomic_file import write_text


class RunFolder:
    """One run's folder; its `run.json` says whether the run is running, finished or failed.

    Attributes:
        path: where the run is written.
        record: its record so far.
        lease: the lease, which is checked before every write.
    """

    def __init__(self, path: Path, final: Path, record: Record, lease: Lease) -> None:
        """`final` is the folder of the finished run; it differs from `path` while an older record is replaced."""
        self.path, self._final, self.record, self.lease = path, final, record, lease

    @property
    def model(self) -> Path:
        """Folder of the selected network."""
        return self.path / "model"

    @property
    def resume(self) -> Path:
        """Folder of the resume state."""
        return self.path / "resume"

    def write_table(self, name: str, model: type[BaseModel], rows: Sequence[dict[str, Any]]) -> None:
        """Write a CSV file and record its checksum.

        Args:
            name: file name.
            model: the rows' schema, which names the columns of a table without rows.
            rows: rows as dictionaries.
        """
        import pandas as pd  # it takes longer than reading a record, which this module's users do too

        columns = None if rows else [field.alias or key for key, field in model.model_fields.items()]
        text = pd.DataFrame(rows, columns=columns).to_csv(index=False)
        self.lease.check()
        write_text(self.path / name, text)
        checksum = hashlib.sha256(text.encode()).hexdigest()
        self.record = self.record.model_copy(update={"files": self.record.files | {name: checksum}})

    def finish(self, summary: Summary) -> None:
        """Record success, delete the resume state, and replace an older record of the same run."""
        files = self.record.files | model_checksums(self.path)
        self._close(status="finished", summary=summary, files=files)
        shutil.rmtree(self.resume, ignore_errors=True)
        if self.path != self._final:
            replace_run(self._final)
            self.path = self._final
        self.lease.remove()

    def fail(self, reason: str, *, resumable: bool) -> None:
        """Record failure; the run can be retried, from its resume state if `resumable`."""
        self._close(status="failed", reason=reason)
        if not resumable:
            shutil.rmtree(self.resume, ignore_errors=True)

    def _close(self, **changes: Any) -> None:
        self.lease.check()
        self.record = self.record.model_copy(update={"ended": now(), **changes})
        write_record(self.path, self.record)
