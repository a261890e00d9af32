"""A run from Python: its results, its network, and predictions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlzoo.api.plots import Plots
from dlzoo.core.errors import UserError
from dlzoo.runs import kept_parts
from dlzoo.runs.history import as_columns
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row

if TYPE_CHECKING:
    from torch import nn

    from dlzoo.builder.predict import Network
    from dlzoo.core.given import MapDataset
    from dlzoo.data.storage.image_source import Images
    from dlzoo.data.table_rows import Rows
    from dlzoo.engine.callbacks import Callback
    from dlzoo.tasks.prediction import Prediction, Trained


def load(path: str | os.PathLike[str]) -> Run:
    """Open a run directory: load("outputs/x").

    Raises:
        UserError: if there is no run in the folder.
    """
    return Run(RunDir.open(Path(path).expanduser()).path)


class Run:
    """A run: its directory, what it measured, and the network that it trained.

    `dlzoo.train` and `dlzoo.load` return one. Properties are read from the files when they are used, so a run that is
    still running, or was interrupted, can be looked at. What such a run does not have yet is a UserError.

    Attributes:
        dir: the run directory.
    """

    def __init__(self, dir: Path) -> None:
        self.dir = dir
        self._cache: tuple[tuple[object, ...], Trained] | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json: state, config, metrics, sizes, times, versions.

        Raises:
            UserError: if the file is damaged.
        """
        return RunDir.open(self.dir).read()

    @property
    def state(self) -> str:
        """One of created, running, finished, failed, interrupted."""
        return self.record["state"]

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run, section by section: run.config["optimizer"]["lr"]."""
        return self.record["config"]

    @property
    def metrics(self) -> dict[str, float]:
        """The final metrics, {"test/accuracy": 0.93, ...}; a number that was not finite is NaN.

        Raises:
            UserError: if the run is not finished.
        """
        metrics = self.record.get("metrics")
        if not metrics:
            raise UserError(f"{self.dir} has no metrics: {self._why()}; run.history has what it logged")
        return {name: float("nan") if value is None else value for name, value in metrics.items()}

    @property
    def history(self) -> Any:
        """What the run logged, one row for each logged step: step, epoch, time (seconds since 1970) and the metrics.

        A pandas DataFrame if pandas is installed, else a dictionary of NumPy arrays by the same names. A value that was
        not logged at a step is NaN.
        """
        columns = as_columns(read_metrics(RunDir.open(self.dir).metrics_file))
        try:
            pandas = import_module("pandas")
        except ImportError:
            return columns
        return pandas.DataFrame(columns)

    @property
    def plots(self) -> Plots:
        """The plots of the run: name -> PNG file; empty until the run is finished."""
        run = RunDir.open(self.dir)
        known = {name: run.pictures / f"{name}.png" for name in run.read().get("pictures", [])}
        return Plots(self.dir, {name: path for name, path in known.items() if path.is_file()})

    def network(self, model: nn.Module | None = None) -> Network:
        """Return the trained network: a plain nn.Module on the CPU in evaluation mode, a new one with each call.

        It has the weights that the run reports: of the best epoch (or the last, with trainer.select=last), averaged if
        trainer.ema is set. Its attribute `preprocess` turns images into its input, (N, C, H, W) float32:

            network = run.network()
            outputs = network(network.preprocess(["cat.jpg", "dog.jpg"]))

        Images are paths, PIL images, arrays (H, W, C) or tensors (C, H, W) of uint8, one or several.

        Args:
            model: the network that was given to `dlzoo.train`, if one was; it gets the weights.

        Raises:
            UserError: if the run has no checkpoint yet.
        """
        from dlzoo.builder.given import check_objects
        from dlzoo.builder.predict import load_trained, with_preprocess
        from dlzoo.core.given import giving

        with self._parts(), giving(check_objects(model, None)):
            return with_preprocess(load_trained(RunDir.open(self.dir)))

    def predict(
        self, images: Images | Rows, *, most: int = 5, overrides: Sequence[str] = (), model: nn.Module | None = None
    ) -> Sequence[Prediction]:
        """Return a prediction for each image: a ClassPrediction, a NumberPrediction or an ObjectPrediction, by task.

        Args:
            images: paths, PIL images, arrays (H, W, C) or tensors (C, H, W) of uint8; one or several. For a run that
                was trained on a table, its rows: an array (N, columns) in the order of the table without its targets,
                a data frame, or a list of dictionaries, of which other columns are not used. They are prepared as in
                the training, whose data is read again.
            most: the largest number of classes for an image or row.
            overrides: settings that apply after training, such as ["nms.iou=0.6"].
            model: the network that was given to `dlzoo.train`, if one was; it gets the weights.

        Raises:
            UserError: for something that is not an image, for rows that lack a column or have a wrong value, or if the
                run has no checkpoint yet.
        """
        from dlzoo.builder.given import check_objects
        from dlzoo.builder.predict import check_predicts, predict_inputs
        from dlzoo.core.given import giving

        with self._parts(), giving(check_objects(model, None)):
            check_predicts(RunDir.open(self.dir), overrides)
            return predict_inputs(self._trained(overrides, model), images, most)

    def evaluate(
        self,
        overrides: Sequence[str] = (),
        *,
        model: nn.Module | None = None,
        data: Sequence[str] | Sequence[MapDataset] = (),
    ) -> dict[str, float]:
        """Measure the metrics of the test split again, {"test/accuracy": ...}, and return them.

        Args:
            overrides: other conditions, such as ["data.test_shift=noise", "data.test_severity=5"],
                ["augment.test=flip"] or ["nms=diou_nms"].
            model: the network that was given to `dlzoo.train`, if one was; it gets the tested weights.
            data: the data sets that were given to `dlzoo.train`; or where the data is now, if it was moved:
                ["data.root=FOLDER"].

        Raises:
            UserError: if the run has no checkpoint yet, its data has changed, or a setting does not apply.
        """
        from dlzoo.builder.evaluate import evaluate
        from dlzoo.builder.given import check_objects
        from dlzoo.core.given import giving

        words = [word for word in data if isinstance(word, str)]
        with giving(check_objects(model, None if len(words) == len(data) else data)):
            return evaluate(str(self.dir), [*overrides, *words])

    def resume(self, *, quiet: bool = False, callbacks: Sequence[Callback] = ()) -> Run:
        """Run the rest of a run that is not finished, from its last checkpoint; a finished one is not changed.

        Raises:
            UserError: as `dlzoo.train`.
            Interrupted: after Ctrl-C, once the checkpoint is written.
        """
        from dlzoo.builder.execute import execute
        from dlzoo.engine.display import PatientConsole

        execute(RunDir.open(self.dir), PatientConsole(quiet=quiet), callbacks)
        return self

    def _parts(self) -> AbstractContextManager[None]:
        """Return the context in which the entries of the run's own parts files are used."""
        return kept_parts.using_kept(self.dir, self.record)

    def _trained(self, overrides: Sequence[str], model: nn.Module | None) -> Trained:
        """Return the network for predictions, loaded once for each checkpoint."""
        from dlzoo.builder.predict import load_trained

        run = RunDir.open(self.dir)
        status = run.selected_checkpoint().stat()
        key = (status.st_mtime_ns, status.st_size, status.st_ino, *overrides)
        # A network of the user may have been trained since.
        if self._cache is None or self._cache[0] != key or model is not None:
            self._cache = (key, load_trained(run, overrides))
        return self._cache[1]

    def _why(self) -> str:
        """Say why a run lacks its results."""
        row = Row.of(self.dir)
        done, total = row.steps
        at = f" at step {done:,} of {total:,}" if total else ""
        return {
            "created": "it has not started, and run.resume() starts it",
            "running": f"it is still running{at}",
            "interrupted": f"it was interrupted{at}, and run.resume() resumes it",
        }.get(row.state, f"it failed{at} ({row.error})" if row.error else f"it failed{at}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.dir.absolute() == other.dir.absolute()

    def __hash__(self) -> int:
        return hash(self.dir.absolute())

    def __repr__(self) -> str:
        row = Row.of(self.dir)
        return f"Run({', '.join(filter(None, (repr(str(self.dir)), row.word, row.metric)))})"

    def _repr_html_(self) -> str:
        row = Row.of(self.dir)
        metrics = (row.record.get("metrics") or {}).items()
        cells = [(name, f"{value:.4f}") for name, value in metrics if name.startswith("test/") and value is not None]
        facts = [("run", str(self.dir)), ("state", row.word), *cells, *([("error", row.error)] if row.error else [])]
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts)
        return f"<table>{rows}</table>"
