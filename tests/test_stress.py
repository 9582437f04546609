"""Threads that import CuPy, arm and disarm in random order, in many processes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from conftest import Interpreter

#: The number of processes; the session ``stress`` sets 300.
PROCESSES = int(os.environ.get("STRESS_PROCESSES", "6"))

PROGRAM = """
import random, sys, threading
sys.setswitchinterval(1e-6)
seed, threads = {seed}, 32
unexpected, states = [], set()
barrier = threading.Barrier(threads)

def work(number):
    chance = random.Random(seed * threads + number)
    barrier.wait()
    for _ in range(6):
        try:
            what = chance.randrange(5)
            import cupy_compat
            if what == 0:
                import cupy
            elif what == 1:
                cupy_compat.uninstall()
            elif what == 2:
                cupy_compat.install(force=True)
            elif what == 3:
                states.add(cupy_compat.status().state)
            else:
                cupy_compat.install()
        except (AttributeError, ImportError) as error:
            # If not armed, CuPy fails in one of these ways.
            if "not writable" not in str(error) and "partially init" not in str(error):
                unexpected.append(repr(error))
        except BaseException as error:
            unexpected.append(repr(error))

all_threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(threads)]
for thread in all_threads: thread.start()
for thread in all_threads: thread.join(120)
assert not any(thread.is_alive() for thread in all_threads), "a deadlock"
assert not unexpected, unexpected
finders = [one for one in sys.meta_path if "waits for cupy._util" in repr(one)]
assert len(finders) <= 1, finders
import cupy_compat
# Afterwards, everything works as usual.
assert cupy_compat.install(force=True).state in ("armed", "repaired")
import cupy
assert cupy.memoize()(len)("abc") == 3
assert cupy_compat.status().state == "repaired", cupy_compat.status()
assert sum("waits for cupy._util" in repr(one) for one in sys.meta_path) == 1
cupy_compat.uninstall()
assert not any("waits for" in repr(one) for one in sys.meta_path)
print("done")
"""


def test_threads_may_import_arm_and_disarm_in_any_order(broken: Interpreter) -> None:
    def start(seed: int) -> tuple[int, str]:
        done = broken.run(PROGRAM.format(seed=seed), CUPY_COMPAT=("auto", "always")[seed % 2])
        return seed, done.stdout.strip() + done.stderr

    with ThreadPoolExecutor(2) as pool:
        failed = [
            (seed, said) for seed, said in pool.map(start, range(PROCESSES)) if said != "done"
        ]
    assert failed == []
