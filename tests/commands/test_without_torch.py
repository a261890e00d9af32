"""Help, completion and typos are answered without importing torch."""

import subprocess
import sys
import time

from dlzoo.core import index


def test_nothing_that_answers_a_typo_imports_torch() -> None:
    """And it is not slow: it takes less than the import of torch alone, measured beside it."""
    index.load()  # warm
    check = (
        "import sys; from dlzoo.cli import main; code = main({!r}); assert 'torch' not in sys.modules; sys.exit(code)"
    )

    def seconds(code: str, expected: int) -> float:
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == expected, done.stderr
        return time.perf_counter() - started

    torch_seconds = seconds("import torch", 0)
    for words, expected in (
        (["--help"], 0),
        (["train", "model=resnet21"], 2),
        (["train", "optimizer.lr=abc"], 2),
        (["list", "model"], 0),
        (["show", "norm", "gn"], 0),
        (["completion", "--line", "dlzoo train norm=g"], 0),
    ):
        # A second time, if the machine was busy at the first.
        assert any(seconds(check.format(words), expected) < torch_seconds for _ in range(2)), words


def test_a_typo_in_a_comparison_waits_for_neither_torch_nor_scipy():
    program = (
        "import sys; from dlzoo.cli import main; code = main(['compare', 'norm=bn,gm']);"
        " print(code, [name for name in ('torch', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
    assert "unknown norm 'gm'" in done.stderr
