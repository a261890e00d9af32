"""Make the same small runs from two checkouts and say what differs: the proof that new code changes no number.

    python scripts/goldens.py OLD_CHECKOUT [NEW_CHECKOUT] [--keep FOLDER] [--only CASE ...] [--jobs 2]

NEW_CHECKOUT is the checkout that this script lies in unless another is named. The runs (`goldens_cases.py`) are carried
out as a user would, in processes of their own, on one thread each, with the interpreter that runs this script. What is
compared, and what is not, is in `goldens_compare.py`: tensors of checkpoints and numbers bit for bit, except the
metrics in its table REORDERED, whose differences are printed as allowed.

With --keep the runs stay in FOLDER: those of OLD in FOLDER/old-<commit>, from where a later call takes them if the
commit, the command lines and the packages are the same, and those of NEW in FOLDER/new. So a long restructuring makes
the old runs once. A checkout with changes that are not committed is not taken for its commit.

Exit code 0 if nothing differs. 1 if something does, with a line for each difference: case, file, key, old -> new. 2 if
the runs cannot be made at all: a folder that is no checkout, or a command line that OLD does not carry out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from goldens_cases import CASES, prepare, restart
from goldens_compare import MADE, Differences, compare

#: Lines that are printed of a case, and of one of its files.
SHOWN, SHOWN_OF_FILE = 20, 4
#: Seconds that one command line may take.
TIMEOUT = 900


@dataclass(frozen=True)
class Side:
    """A checkout, the folder of its runs, and whether runs that are there may be taken as they are."""

    name: str
    checkout: Path
    folder: Path
    kept: bool

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the processes: dlzoo of this checkout, on one thread."""
        return os.environ | {"PYTHONPATH": str(self.checkout), "OMP_NUM_THREADS": "1"}

    def made_by(self, case: str) -> dict[str, Any]:
        """What decides the numbers of a case."""
        packages = {name: version(name) for name in ("torch", "torchvision", "pytorch-lightning", "numpy", "timm")}
        machine = {"python": platform.python_version(), "cpu": torch.backends.cpu.get_cpu_capability()}
        return {"commit": commit(self.checkout), "lines": CASES[case], **machine, **packages}


def commit(checkout: Path) -> str:
    """The commit of a checkout, with "-dirty" behind it if something that runs was changed or added since."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotADirectoryError(f"{checkout} is no checkout: {done.stderr.strip()}")
        return done.stdout.strip()

    return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "dlzoo", "conf", "train.py") else "")


def make(side: Side, case: str) -> str | None:
    """Carry out the lines of a case in its folder; what went wrong, or None."""
    folder, made_by = side.folder / case, side.made_by(case)
    if side.kept and (folder / MADE).exists() and json.loads((folder / MADE).read_text()) == made_by:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    prepare(folder)
    began = time.perf_counter()
    for number, line in enumerate(CASES[case]):
        error = carry_out(side, folder, number, line)
        if error is not None:
            return f"{line}: {error}"
    (folder / MADE).write_text(json.dumps(made_by, indent=1) + "\n")
    print(f"{side.name} {case}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return None


def carry_out(side: Side, folder: Path, number: int, line: str) -> str | None:
    """Carry out one line in the folder; what went wrong, or None. What a line with --json prints is kept in a file."""
    program, *words = line.split()
    if program == "restart":
        return restart(folder / words[0])
    start = [str(side.checkout / "train.py")] if program == "train" else ["-m", "dlzoo.cli"]
    command = [sys.executable, *start, *words]
    try:
        done = subprocess.run(
            command, cwd=folder, env=side.environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not finished after {TIMEOUT} s"
    if done.returncode:
        output = (done.stderr.strip() or done.stdout.strip() or "nothing was printed").splitlines()
        return f"exit code {done.returncode}: {output[-1]}"
    suffix = ".json" if "--json" in words else ".txt"
    (folder / f"{number}_{words[0] if program == 'dlzoo' else 'train'}{suffix}").write_text(done.stdout)
    return None


def make_all(sides: Sequence[Side], cases: Sequence[str], jobs: int) -> dict[tuple[str, str], str]:
    """Carry out all cases, `jobs` at a time; (side, case) -> what went wrong."""
    # The cases of many runs stand last in the table, and take longest: they begin first.
    tasks = [(side, case) for case in reversed(cases) for side in sides]
    with ThreadPoolExecutor(jobs) as pool:
        errors = list(pool.map(lambda each: make(*each), tasks))
    return {(side.name, case): error for (side, case), error in zip(tasks, errors, strict=True) if error}


def show(case: str, differences: Differences) -> None:
    """Print what is allowed and how a case differs."""
    for name, relative in differences.allowed.items():
        print(f"{case}: {name}: relative {relative:.1g}, allowed")
    lines = [
        f"{file}: {line}" for file, file_lines in differences.lines.items() for line in file_lines[:SHOWN_OF_FILE]
    ][:SHOWN]
    for line in lines:
        print(f"{case}: {line}")
    if more := sum(map(len, differences.lines.values())) - len(lines):
        print(f"{case}: {more} more differences in {len(differences.lines)} files")


def sides_of(old: Path, new: Path, folder: Path) -> tuple[Side, Side]:
    """The two checkouts, each looked at: that its own dlzoo is what runs."""
    at = commit(old)
    kept = not at.endswith("-dirty")
    sides = (
        Side("old", old, folder / (f"old-{at[:12]}" if kept else "old"), kept),
        Side("new", new, folder / "new", False),
    )
    for side in sides:
        words = [sys.executable, "-c", "import dlzoo; print(dlzoo.__file__)"]
        done = subprocess.run(words, cwd=folder, env=side.environment, capture_output=True, text=True, check=False)
        if Path(done.stdout.strip()).parent != side.checkout / "dlzoo":
            imported = done.stdout.strip() or "nothing"
            raise NotADirectoryError(f"{side.checkout} is no checkout of dlzoo: what runs is {imported}")
    return sides


def arguments_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what was typed."""
    parser.add_argument("old", type=Path, help="a checkout")
    parser.add_argument("new", type=Path, nargs="?", default=Path(__file__).parents[1], help="another one")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the runs here, and take old ones from here")
    parser.add_argument("--only", choices=CASES, nargs="+", metavar="CASE", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at a time")
    return parser.parse_args()


def main() -> int:
    """Make the runs, compare them, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments = arguments_of(parser)
    cases, began = arguments.only or list(CASES), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="goldens_") as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            old, new = sides_of(arguments.old.resolve(), arguments.new.resolve(), folder)
        except NotADirectoryError as error:
            parser.error(str(error))
        errors = make_all([old, new], cases, arguments.jobs)
        if wrong := [f"{case}: {error}" for (side, case), error in errors.items() if side == "old"]:
            print("old does not carry out", *wrong, sep="\n", file=sys.stderr)
            return 2
        results = {}
        for case in cases:
            failed = errors.get(("new", case))
            results[case] = Differences({"new": [failed]}) if failed else compare(old.folder / case, new.folder / case)
            show(case, results[case])
    equal = sum(not each.lines for each in results.values())
    tensors, values = sum(each.tensors for each in results.values()), sum(each.values for each in results.values())
    seconds = time.perf_counter() - began
    print(f"{equal} of {len(cases)} cases are equal: {tensors:,} tensors, {values:,} other values ({seconds:.0f} s)")
    return 0 if equal == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
