"""Mutated inputs for commands, and the oracle: success, or one line and exit code 2, quickly and within a folder."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from stampbench.benchmark.cli.main import main
from stampbench.datasets.errors import DatasetError

settings.register_profile(
    "fuzz", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "4")), deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)  # fmt: skip

SECONDS, PATIENCE = 10, 60
"""Most seconds of computing of a command, and most seconds of waiting: other programs may use the processor, too."""
BYTES = 2 * 10**9
HOSTILE: tuple[Any, ...] = (
    None, True, "", " ", "../../escaped", "/dev/zero", "a/b", "x" * 5000, "\x1b[2J", "a\nb", "\0", "<!-- end -->",
    "=1+1", "[/red]", "<b>", "\\input{x}",
    -1, 0, 1, 2, 7, 255, 256, 10**9, 10**30, 2**63, -0.5, 1.5, 1e308, 3e38, float("nan"), float("inf"), -float("inf"),
    [], {}, [[]], [None], {"a": 1}, [1, 2, 3], "9" * 5000, "nan", "inf", "1e999", "\ud800", "é" * 300,
)  # fmt: skip
"""Values that replace others in documents; each has been a fault somewhere."""
_PIECES = (b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\x00\x00\xc0\x7f", b"\x7f\x7f\x7f\x7f", b"-", b"9" * 99)
_EXITS = {0, 1, 2}


def edited_json(data: st.DataObject, document: Any) -> bytes:
    """Return a JSON document with up to three values replaced, removed or added, or with its text damaged."""
    changed = json.loads(json.dumps(document))
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(_places(changed))
        holder, key = data.draw(st.sampled_from(places))
        change = data.draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "nest"]))
        value = copy.deepcopy(data.draw(st.sampled_from(HOSTILE)))
        if change == "remove":
            del holder[key]
        elif change == "add" and isinstance(holder, dict):
            holder[value if isinstance(value, str) else repr(value)] = value
        elif change == "nest":
            holder[key] = [holder[key]]
        else:
            holder[key] = value
        if not changed:
            break
    text = json.dumps(changed).encode()
    return edited_bytes(data, text) if data.draw(st.integers(0, 9)) == 0 else text


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def edited_bytes(data: st.DataObject, content: bytes, within: int | None = None) -> bytes:
    """Return content with a few bytes replaced, inserted or cut off.

    Args:
        data: source of decisions.
        content: the original.
        within: only the first bytes are changed; None: any.
    """
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, min(len(changed), within or len(changed)) - 1)))
        piece = data.draw(
            st.one_of(
                st.binary(min_size=1, max_size=4),
                st.sampled_from(_PIECES),
            )
        )
        change = data.draw(st.sampled_from(["replace", "replace", "replace", "insert", "cut", "repeat"]))
        if change == "replace":
            changed[at : at + len(piece)] = piece
        elif change == "insert":
            changed[at:at] = piece
        elif change == "cut":
            del changed[at : at + data.draw(st.sampled_from([1, 4, 100, len(changed)]))]
        else:
            changed[at:at] = changed[at : at + 50]
    return bytes(changed)


def edited_table(data: st.DataObject, text: str) -> str:
    """Return a CSV text with a few cells, columns or rows replaced, or with its text damaged."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(rows) - 1))
        change = data.draw(st.sampled_from(["cell", "cell", "cell", "remove", "repeat", "blank", "longer"]))
        if change == "cell" and rows[row]:
            value = data.draw(st.sampled_from(HOSTILE))
            rows[row][data.draw(st.integers(0, len(rows[row]) - 1))] = str(value)
        elif change == "remove" and len(rows) > 1:
            del rows[row]
        elif change == "repeat":
            rows.append(rows[row])
        elif change == "blank":
            rows.insert(row, [])
        else:
            rows[row] = [*rows[row], "1"]
    return "\n".join(",".join(row) for row in rows) + "\n"


class HangError(BaseException):
    """A command does not end; no command can catch this."""


class Sandbox(NamedTuple):
    """A folder with `input`, which commands read, `out`, which they may write, and everything else untouched."""

    root: Path

    @property
    def input(self) -> Path:
        """Folder of the inputs of an example."""
        return self.root / "work" / "input"

    @property
    def out(self) -> Path:
        """Folder that commands may write."""
        return self.root / "work" / "out"

    def begin(self, material: Path | None = None) -> None:
        """Empty the folders, and fill the input with a copy of a folder."""
        for folder in (self.input, self.out):
            shutil.rmtree(folder, ignore_errors=True)
        if material is None:
            self.input.mkdir(parents=True)
        else:
            shutil.copytree(material, self.input, symlinks=True)
        self.out.mkdir()
        os.chdir(self.out)

    def files(self) -> dict[str, tuple[int, int]]:
        """Return size and time of change of every file that commands must not write."""
        allowed = (self.out, *(self.root / name for name in ("cache", "tmp", "home")))
        return {
            str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in self.root.rglob("*")
            if not path.is_dir() and not any(path.is_relative_to(each) for each in allowed)
        }

    def attempt(self, *words: object, writes_input: bool = False) -> tuple[int, str]:
        """Run a command in this process and check what the oracle demands; return exit code and output.

        Args:
            *words: the command.
            writes_input: whether the command may write its input, such as a store.
        """
        before, started = self.files(), time.process_time()
        outputs = io.StringIO(), io.StringIO()
        code = self._run([str(word) for word in words], *outputs)
        seconds = time.process_time() - started
        out, err = (each.getvalue() for each in outputs)
        shown = f"{' '.join(map(str, words))[:300]}\n{out[-500:]}\n{err[-2000:]}"
        assert code in _EXITS, f"exit code {code}: {shown}"
        assert seconds < SECONDS, f"{seconds:.1f} s: {shown}"
        assert "Traceback" not in err, shown
        assert not re.search(r"MemoryError|[Uu]nable to allocate|RecursionError|recursion depth", err), shown
        lines = err.splitlines()
        assert sum(line.startswith("error: ") for line in lines) == (code == 2), shown
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", out + err), repr(shown)
        after = self.files()
        if writes_input:
            before, after = (
                {name: value for name, value in each.items() if not Path(name).is_relative_to(self.input)}
                for each in (before, after)
            )
        assert after == before, f"files outside were written: {shown}"
        return code, out

    def _run(self, words: list[str], out: io.StringIO, err: io.StringIO) -> int:
        def stop(*_: object) -> None:
            raise HangError(f"no end after {PATIENCE} s")

        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        before = sys.argv
        try:
            sys.argv = ["stampbench", *words]
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.argv = before


class Edit(NamedTuple):
    """Functions that change documents, bytes and tables, and that sign a changed run again."""

    json: Callable[[st.DataObject, Any], bytes] = edited_json
    bytes: Callable[..., bytes] = edited_bytes
    table: Callable[[st.DataObject, str], str] = edited_table

    def sign(self, record: Path) -> None:
        """Write the checksums of a run's files, as they are now, into its record."""
        content = json.loads(record.read_text())
        for name in content["files"]:
            content["files"][name] = hashlib.sha256((record.parent / name).read_bytes()).hexdigest()
        record.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def refusal() -> Callable[[Callable[[], object]], str]:
    """Function that returns the message of the error with which a call ends, or an empty text."""

    def message(call: Callable[[], object]) -> str:
        try:
            call()
        except DatasetError as error:
            return str(error)
        return ""

    return message


@pytest.fixture
def edit() -> Edit:
    """Return the functions that change inputs."""
    return Edit()


@pytest.fixture(scope="session")
def materials(write_decathlon: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `data`, a dataset of four small volumes, and `runs`, the records of a 2D and of a 3D run."""
    root = tmp_path_factory.mktemp("material")
    data = write_decathlon(root, "data", 8, (8, 8, 4), ("CT",), ("background", "a", "b"))
    words = (
        "run", "--strategy", "standard", "--folds", "0", "--protocol", "quick", "--set", "f=1", "--set", "depth=1",
        "--protocol-set", "max_epochs=1", "--protocol-set", "folds=2", "--runs", str(root / "runs"), "--quiet",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAMPBENCH_CACHE", str(root / "cache"))
        for dataset in (str(data), "phantom2d:size=16,cases=6"):
            patch.setattr(sys, "argv", ["stampbench", *words, "--dataset", dataset])
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    return root


@pytest.fixture(scope="module")
def _limited_memory(materials: Path) -> Iterator[None]:
    """Limit the memory of this process once everything that it needs is loaded."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def sandbox(_limited_memory: None, materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An empty sandbox, which is also the folder in which commands are run."""
    for name in ("work", "cache", "tmp", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "victim.txt").write_text("precious")
    monkeypatch.setenv("STAMPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STAMPBENCH_MAX_VOXELS", "20000000")
    monkeypatch.delenv("STAMPBENCH_DATA", raising=False)
    sandbox = Sandbox(tmp_path)
    sandbox.begin()
    monkeypatch.chdir(sandbox.out)
    return sandbox
