#!/usr/bin/env python3
"""Python's process pools at the rows of the bench `processes`, which runs this script.

Standard library only. By hand: `python_peers.py ROW..`, by default all rows. One line for
each pool, in the unit of the row: ratio (to --ratio-to), median, lowest, 99th percentile.
"""

import argparse
import glob
import multiprocessing
import os
import random
import signal
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

WORKERS = 2
EXECUTOR = "Python ProcessPoolExecutor"
POOL = "Python multiprocessing.Pool"
# A row that takes longer hangs.
ROW_LIMIT = 120


def tiny(n):
    return n * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF


def spin(rounds):
    started = time.thread_time_ns()
    state = rounds
    for _ in range(rounds):
        state = (state * 5 + 1) & 0xFFFF
    return time.thread_time_ns() - started


def echo(data):
    return data


def produce(length):
    return b"\1" * length


def block_or_stamp(blocks):
    if blocks:
        time.sleep(10)
    return time.monotonic_ns()




def executor():
    return ProcessPoolExecutor(WORKERS)


def pool():
    return multiprocessing.Pool(WORKERS)


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Table:
    """Runs entrants round by round and prints their lines."""

    def __init__(self, ratio_to, once):
        self.ratio_to = ratio_to
        self.once = once

    def run(self, rounds, entrants):
        rounds = 1 if self.once else rounds
        numbers = {name: [] for name in entrants}
        for current in range(1 if self.once else 0, rounds + 1):
            for name, measure in entrants.items():
                number = measure()
                if current > 0:
                    numbers[name].append(number)
        for name, values in numbers.items():
            values.sort()
            median = statistics.median_high(values)
            p99 = values[-(-(len(values) - 1) * 99 // 100)]
            ratio = f"{median / self.ratio_to:7.2f}" if self.ratio_to else "      -"
            print(f"{ratio} {median:12.2f} {values[0]:12.2f} {p99:12.2f}  {name}")

    @staticmethod
    def say(name, text):
        print(f"      -            -            -            -  {name}: {text}")


def tiny_map(table):
    items = range(1_000_000)
    with executor() as ex, pool() as mp:
        table.run(3, {
            f"{EXECUTOR}, chunksize=10000": lambda: seconds(
                lambda: list(ex.map(tiny, items, chunksize=10_000))) * 1e3,
            POOL: lambda: seconds(lambda: mp.map(tiny, items)) * 1e3,
        })


def submits(table):
    def with_executor():
        futures = [ex.submit(tiny, n) for n in range(5_000)]
        return [future.result() for future in futures]

    def with_pool():
        results = [mp.apply_async(tiny, (n,)) for n in range(20_000)]
        return [result.get() for result in results]

    with executor() as ex, pool() as mp:
        table.run(3, {
            f"{EXECUTOR}, 5 k": lambda: 5_000 / seconds(with_executor),
            f"{POOL}, 20 k": lambda: 20_000 / seconds(with_pool),
        })


def heavy(table, shuffle):
    source = random.Random(7)
    micros = [min(20 * source.paretovariate(1.1), 8000) for _ in range(5000)]
    scale = 500_000 / sum(micros)
    rounds_per_micro = 20_000 * 1000 / min(spin(20_000) for _ in range(20))
    costs = sorted(int(micro * scale * rounds_per_micro) for micro in micros)
    if shuffle:
        source.shuffle(costs)

    def over_ideal(run):
        started = time.perf_counter()
        total = sum(run())
        return (time.perf_counter() - started) / (total / 1e9 / WORKERS)

    with executor() as ex, pool() as mp:
        table.run(3, {
            EXECUTOR: lambda: over_ideal(lambda: ex.map(spin, costs)),
            f"{POOL}, chunksize=1": lambda: over_ideal(lambda: mp.map(spin, costs, chunksize=1)),
        })


def idle_task(table):
    def after_rest(work):
        time.sleep(0.001)
        return seconds(work) * 1e6

    with executor() as ex, pool() as mp:
        table.run(201, {
            EXECUTOR: lambda: after_rest(lambda: ex.submit(tiny, 7).result()),
            POOL: lambda: after_rest(lambda: mp.apply(tiny, (7,))),
        })


def opening(table, closed):
    def with_executor():
        started = time.perf_counter()
        with executor() as ex:
            ex.submit(tiny, 7).result()
            first = time.perf_counter()
        return ((time.perf_counter() if closed else first) - started) * 1e3

    def with_pool():
        started = time.perf_counter()
        mp = pool()
        mp.apply(tiny, (7,))
        first = time.perf_counter()
        mp.close()
        mp.join()
        return ((time.perf_counter() if closed else first) - started) * 1e3

    table.run(11, {f"{EXECUTOR} (fork)": with_executor, f"{POOL} (fork)": with_pool})


def payload(table, items, task):
    def consume(results):
        for result in results:
            del result

    def rate(work):
        return (128 << 20) / seconds(work) / 1e9

    with executor() as ex, pool() as mp:
        table.run(3, {
            EXECUTOR: lambda: rate(lambda: consume(ex.map(task, items))),
            f"{POOL}.imap": lambda: rate(lambda: consume(mp.imap(task, items))),
        })


def blocks(length):
    return [bytes([n % 256]) * length for n in range((128 << 20) // length)]


def killed_chunk(table):
    ex = executor()
    blocked = [ex.submit(block_or_stamp, True) for _ in range(WORKERS)]
    waiting = ex.submit(block_or_stamp, False)
    time.sleep(0.2)
    os.kill(next(iter(ex._processes)), signal.SIGKILL)
    try:
        waiting.result(timeout=5)
        table.say(EXECUTOR, "unexpectedly went on")
    except BrokenProcessPool:
        lost = sum(future.exception() is not None for future in blocked) + 1
        table.say(EXECUTOR, f"the pool is broken, all {lost} tasks are lost")
    ex.shutdown()

    def with_pool():
        with multiprocessing.Pool(1) as mp:
            victim = mp.apply(os.getpid)
            mp.apply_async(block_or_stamp, (True,))
            following = mp.apply_async(block_or_stamp, (False,))
            time.sleep(0.05)
            killed = time.monotonic_ns()
            os.kill(victim, signal.SIGKILL)
            return (following.get(timeout=5) - killed) / 1e6

    name = f"{POOL}, one worker, until the next task runs; waiting for the killed one hangs"
    table.run(5, {name: with_pool})


def descendants():
    parents = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(path.split("/")[2])] = int(fields[1])
    below = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        if not more:
            return below - {os.getpid()}
        below |= more


def cpu_of_others():
    total = 0
    for pid in descendants():
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path) as stat:
                total += int(stat.read().split()[0])
    return total


def burned():
    time.sleep(0.05)
    others = cpu_of_others()
    own = time.process_time_ns()
    time.sleep(0.4)
    own = time.process_time_ns() - own
    return (own + cpu_of_others() - others) / 1e3 / 0.4


def cpu(table, waiting):
    def with_executor():
        with executor() as ex:
            list(ex.map(tiny, range(1000)))
            if waiting:
                ex.submit(time.sleep, 0.6)
            return burned()

    def with_pool():
        with pool() as mp:
            mp.map(tiny, range(1000))
            if waiting:
                mp.apply_async(time.sleep, (0.6,))
            return burned()

    table.run(3, {EXECUTOR: with_executor, POOL: with_pool})


ROWS = {
    "tiny-map": tiny_map,
    "submits": submits,
    "heavy-random": lambda table: heavy(table, shuffle=True),
    "heavy-worst": lambda table: heavy(table, shuffle=False),
    "idle-task": idle_task,
    "open-first": lambda table: opening(table, closed=False),
    "open-close": lambda table: opening(table, closed=True),
    "bytes-256k": lambda table: payload(table, blocks(256 << 10), echo),
    "bytes-1m": lambda table: payload(table, blocks(1 << 20), echo),
    "bytes-1m-in": lambda table: payload(table, blocks(1 << 20), len),
    "bytes-1m-out": lambda table: payload(table, [1 << 20] * 128, produce),
    "killed-chunk": killed_chunk,
    # How soon the pool has a new worker cannot be asked there.
    "killed-worker": lambda table: None,
    "cpu-idle": lambda table: cpu(table, waiting=False),
    "cpu-waiting": lambda table: cpu(table, waiting=True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--ratio-to", type=float)
    parser.add_argument("--test", action="store_true", help="one round each")
    options = parser.parse_args()
    for row in options.rows or ROWS:
        if row not in ROWS:
            sys.exit(f"no such row: {row}")
        if not options.ratio_to:
            print(f"\n{row}, Python {sys.version.split()[0]}")
        # Ends this process, and the pools' workers see their pipes close.
        signal.alarm(ROW_LIMIT)
        ROWS[row](Table(options.ratio_to, options.test))
        sys.stdout.flush()
    signal.alarm(0)


if __name__ == "__main__":
    main()
