"""One-line errors for failures that a user can fix: a full disk, exhausted memory, overflow, a missing compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dlzoo.core import own_parts
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import refusal
from dlzoo.runs.run_dir import RunDir


@contextmanager
def one_line_errors(run: RunDir) -> Iterator[None]:
    """Turn errors of a full disk, exhausted memory, numbers that overflow, a missing compiler or a parts file into a
    UserError.
    """
    with own_parts.one_line_errors(), _errors_of_the_machine(run):
        yield


@contextmanager
def _errors_of_the_machine(run: RunDir) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # a folder that cannot be written, a disk that is full
        raise UserError(refusal(error, run.path)) from error
    except (RuntimeError, MemoryError, OverflowError) as error:
        if isinstance(error, OverflowError) or "without overflow" in str(error):
            raise UserError(
                f"a setting is too large to compute with ({first_line(error)}); check the optimizer.* settings"
            ) from error
        if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
            raise UserError(f"out of memory ({first_line(error)}); choose a smaller data.batch_size, "
                            "trainer.accumulate > 1, or a smaller model") from error  # fmt: skip
        if "C++ compiler" in str(error):
            raise UserError(
                "trainer.compile=true needs a C++ compiler; install g++ or clang++, or leave it out"
            ) from error
        raise
