import json
import time
from pathlib import Path

from stampbench.benchmark import claim as c

c.STALE_SECONDS = 2
import stampbench.benchmark.schedule as s

s._LATER_SECONDS = 0.5
from stampbench.benchmark.executors.base import attempt
from stampbench.benchmark.job import Machine
from stampbench.benchmark.store import RunStore
from stampbench.benchmark.suite import load_suite
from stampbench.benchmark.unfold import unfold

Path("a.yaml").write_text(
    'strategies: [{name: standard, set: {f: 2, depth: 1}}]\ndatasets: ["phantom2d:size=16,cases=14"]\nfolds: [0]\nprotocol: quick\nprotocol_set: {folds: 2, max_epochs: 1}\n'
)
tasks = unfold(load_suite("a.yaml"), None)
store = RunStore(Path("rr").absolute())
f = store.claims(tasks[0].run.spec)
f.mkdir(parents=True, exist_ok=True)
(f / "000001.json").write_text(
    json.dumps({"host": "far", "boot": "b", "pid": 1, "token": "t", "beat": 0, "state": "held"})
)


class Ex:
    out = []
    n = 0
    free = 1

    def start(self, jobs):
        for j in jobs:
            o = attempt(j, Machine(runs=store.root, threads=1, device="cpu"))
            Ex.n += 1
            print(round(time.monotonic() - t0, 1), o, flush=True)
            self.out.append(o)
        if Ex.n > 5:
            raise SystemExit("never taken over")

    def ended(self):
        o, self.out = self.out, []
        return o

    def stop(self):
        pass

    kill = stop


t0 = time.monotonic()
print(s.complete(tasks, store, Ex(), s.Report(print)))
