"""Cold start: what importing a function costs beside importing functions-framework alone.

Whole processes, interleaved, processor time (user and system) so that a busy machine does not blur
it; the bundle is compiled before, as the buildpack does. Limit: 1.6 times.

    python benchmarks/cold_start.py
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from infra import bundle, topology

ROUNDS = 15
LIMIT = 1.6
FUNCTIONS = ("api", "step-gcp", "dead-letter")
DEPLOYED = topology.load(topology.DEFAULT_PATH)
ENVIRONMENT = {"PATH": os.environ["PATH"]}
for _name in FUNCTIONS:
    ENVIRONMENT |= DEPLOYED.function_environment(_name, "convergence-bench")


def processor_seconds(code: str, folder: Path) -> float:
    """User and system time of a fresh interpreter that runs `code` in `folder`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=ENVIRONMENT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        folders = {}
        for name in FUNCTIONS:
            archive = bundle.build(name, DEPLOYED, Path(directory))
            folders[name] = bundle.extract(archive, Path(directory) / name)
        samples: dict[str, list[float]] = {
            name: [] for name in ("framework", "api, routes made", *FUNCTIONS)
        }
        for _ in range(ROUNDS):
            alone = processor_seconds("import functions_framework", Path(directory))
            samples["framework"].append(alone)
            code = "import main; from functions.api.main import application; application()"
            samples["api, routes made"].append(processor_seconds(code, folders["api"]))
            for name, folder in folders.items():
                samples[name].append(processor_seconds("import main", folder))
    reference = statistics.median(samples["framework"])
    print(f"functions-framework alone  {reference:.3f} s")
    worst = 0.0
    for name in FUNCTIONS:
        seconds = statistics.median(samples[name])
        worst = max(worst, seconds / reference)
        print(f"{name:26} {seconds:.3f} s  ratio {seconds / reference:.2f}  (limit {LIMIT})")
    ready = statistics.median(samples["api, routes made"])
    print(f"api, ready for a request   {ready:.3f} s  ratio {ready / reference:.2f}  (no limit)")
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
