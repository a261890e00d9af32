"""Weights & Biases, offline where there is no network or API key. The module imports no torch: the follower uses it."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import socket
from collections.abc import Mapping, Sequence
from importlib import import_module
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from dlzoo.core.registries import HOOKS
from dlzoo.engine.hooks.follower_hook import FollowerHook
from dlzoo.engine.hooks.hook import Hook, Record
from dlzoo.engine.hooks.sender import FollowedRun, Sender
from dlzoo.runs.logged import metrics_of

#: Seconds to find out whether the server can be reached.
_PATIENCE = 3.0
_SERVER = "https://api.wandb.ai"


class WandbSender(Sender):
    """Sends a row for each step, with the time of its record.

    An offline run is a file that cannot be continued: after a kill it is removed, and written again from the start.
    """

    def __init__(self, project: str, entity: str | None, mode: str) -> None:
        self._project, self._entity, self._mode = project, entity, mode

    def starts_over(self, memory: dict[str, Any]) -> bool:
        if "mode" not in memory:  # otherwise as when the run began, so that it stays one run
            memory["mode"] = self._choose_mode()
        return memory["mode"] == "offline"

    def open(self, run: FollowedRun, memory: dict[str, Any]) -> None:
        memory.setdefault("run_id", secrets.token_hex(4))
        folder, online = run.dir / "hooks", memory["mode"] == "online"
        if not online:
            for old in (folder / "wandb").glob(f"offline-run-*-{memory['run_id']}"):
                shutil.rmtree(old)
        options = {"console": "off", "silent": True, "save_code": False, "disable_git": True, "init_timeout": 20.0}
        wandb = import_module("wandb")
        self._run = wandb.init(
            project=self._project,
            entity=self._entity,
            id=memory["run_id"],
            name=run.label,
            config=dict(run.settings),
            dir=str(folder),
            mode=memory["mode"],
            resume="allow" if online else None,
            # The machine and the usage of this process are not those of the training.
            settings=wandb.Settings(**options, x_disable_stats=True),
        )

    def send(self, records: Sequence[Record]) -> None:
        for record in records:
            values = {name: math.nan if value is None else value for name, value in metrics_of(record).items()}
            self._run.log(values | {"epoch": record["epoch"], "_timestamp": record["time"]}, step=record["step"])

    def close(self, state: str, metrics: Mapping[str, float]) -> None:
        self._run.summary.update({f"final/{name}": value for name, value in metrics.items()} | {"state": state})
        self._run.finish(exit_code=0 if state == "finished" else 1)

    def _choose_mode(self) -> str:
        """Return "online", "offline" or "disabled"; the last if the variable WANDB_MODE says so."""
        mode = os.environ.get("WANDB_MODE", "auto") if self._mode == "auto" else self._mode
        if mode in ("online", "offline", "disabled"):
            return mode
        return "online" if _has_key() and _is_reachable() else "offline"


def _server() -> SplitResult:
    return urlsplit(os.environ.get("WANDB_BASE_URL", _SERVER))


def _has_key() -> bool:
    """Return whether there is an API key: in the environment, or where `wandb login` stores it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc(path).authenticators(_server().hostname or "") is not None
    except (OSError, NetrcParseError):
        return False


def _is_reachable() -> bool:
    server = _server()
    port = server.port or (80 if server.scheme == "http" else 443)
    try:
        socket.create_connection((server.hostname or "", port), _PATIENCE).close()
    except OSError:
        return False
    return True


@HOOKS.register("wandb", source="Weights & Biases 0.18 and later: wandb.init, Run.log", package="wandb")
def wandb(
    *, project: str = "dlzoo", entity: str | None = None, mode: Literal["auto", "online", "offline"] = "auto"
) -> Hook:
    """Metrics, settings and the state of the run in Weights & Biases.

    `project`, `entity`: where the run goes; `entity` null is your own.
    `mode`: "auto" is the variable WANDB_MODE, if it is set; otherwise online with an API key and a network, else
    offline: `wandb sync <run>/hooks/wandb/offline-*` uploads the run later.
    """
    return FollowerHook("wandb", f"{__name__}:WandbSender", {"project": project, "entity": entity, "mode": mode})
