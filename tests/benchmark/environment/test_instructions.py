"""Instructions of the CPU that low precisions need."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.environment import instructions
from stampbench.benchmark.environment.instructions import check_instructions
from stampbench.benchmark.errors import UserError

OLD = "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-4770\nflags\t\t: fpu sse4_2 avx2\n"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (OLD, {"int8", "bf16"}),
        (OLD.replace("avx2", "avx2 avx_vnni"), {"bf16"}),
        (OLD.replace("avx2", "avx512f avx512_vnni avx512_bf16"), set()),
        (OLD.replace("avx2", "amx_tile amx_int8 amx_bf16"), set()),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", {"bf16"}),
        ("processor\t: 0\n", set()),  # a system that does not tell
    ],
)
def test_cpus_without_instructions_are_refused(
    text: str, refused: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(instructions, "_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(instructions, "_instructions", instructions._instructions.__wrapped__)
    check_instructions("fp32")
    for precision in ("int8", "bf16"):
        if precision in refused:
            with pytest.raises(UserError, match=f"precision '{precision}': this CPU has no instructions"):
                check_instructions(precision)
        else:
            check_instructions(precision)
