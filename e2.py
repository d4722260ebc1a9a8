import os
import shutil
import signal
import time
from pathlib import Path

from stampbench.benchmark.claim import Claim

f = Path("cl")
with Claim(f) as c:
    shutil.rmtree(f)
    try:
        c.check()
        print("check passes after folder gone")
    except Exception as e:
        print(repr(e))
    c._write("held")
    print("lost", c._lost)
    try:
        c.check()
        print("check passes although _lost")
    except Exception as e:
        print(repr(e))
c = Claim(Path("cl2"))
orig = Path.write_text


def full(self, *a, **k):
    raise OSError(28, "No space left on device")


try:
    with c:
        Path.write_text = full
except BaseException as e:
    print("exit raised", repr(e))
Path.write_text = orig
if __name__ == "__main__":
    from stampbench.benchmark.executors.local import LocalExecutor
    from stampbench.benchmark.job import Machine

    ex = LocalExecutor(Machine(runs=Path("x"), threads=1), 1)
    ex._pool(0)
    os.kill(ex._pids[0], signal.SIGKILL)
    time.sleep(1)
    try:
        ex.start([None])
        print("ok", ex._running)
    except BaseException as e:
        print("start raised", repr(e))
    import timeit

    a = {str(i): 1 for i in range(10000)}
    b = {}
    print("union", timeit.timeit(lambda: a.keys() | b.keys(), number=20) / 20)
