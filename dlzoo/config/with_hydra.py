"""Composition of the files under conf/ with Hydra."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from threading import Lock

from dlzoo.config.conf_files import experiment_files
from dlzoo.config.defaults import Config, conf_dir, conf_dirs, default_settings, is_path, options
from dlzoo.core import index, own_parts
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.registries import REGISTRIES

_composing = Lock()


@lru_cache(maxsize=256)
def compose_files(chosen: tuple[str, ...], state: tuple[tuple[str, int], ...]) -> Config:
    """Compose choices (trainer=cpu, experiment=/absolute/path.yaml) with Hydra. The result is shared.

    Args:
        state: unused; a changed file makes a new cache key.

    Raises:
        UserError: if a file is no config.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    for name in (word.partition("=")[2] for word in chosen if word.startswith("experiment=")):
        experiment_files(name)
    words = list(chosen)
    if added := [f"file://{folder.absolute()}" for folder in conf_dirs()[1:]]:
        words.append(f"hydra.searchpath={json.dumps(added, ensure_ascii=False)}")
    try:
        with _composing:  # Hydra's state is global to the process
            _fill_store()
            words = [_stored(word) for word in words]
            with initialize_config_dir(str(conf_dir().absolute()), version_base="1.3"):
                composed = hydra_compose("config", overrides=words)
        raw = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException) as error:
        reason = first_line(error) if str(error) else f"{' '.join(chosen)}: {first_line(error.__cause__ or error)}"
        raise UserError(_in_files(reason, chosen)) from error
    except (OSError, ValueError, TypeError, RecursionError, YAMLError) as error:  # a file that is no config
        reason = str(error) if isinstance(error, YAMLError) else first_line(error)  # YAML's has the file and the line
        raise UserError(f"{' '.join(chosen) or 'conf/config.yaml'} cannot be composed: {reason}") from error
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def _stored(word: str) -> str:
    """Return a choice, after storing an experiment of any folder in Hydra's ConfigStore under a name of its own."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    choice, _, path = word.partition("=")
    if not is_path(choice, path):
        return word
    name = _stored_name(path)
    ConfigStore.instance().store(group="experiment", name=name, node=OmegaConf.load(path), package="_global_")
    return f"{choice}={name}"


def _in_files(reason: str, chosen: tuple[str, ...]) -> str:
    """Return Hydra's reason with the paths of experiments of any folder instead of their names in the store."""
    for word in chosen:
        choice, _, path = word.partition("=")
        reason = reason.replace(_stored_name(path), path) if is_path(choice, path) else reason
    return reason


def _stored_name(path: str) -> str:
    return f"file_{hashlib.sha1(path.encode()).hexdigest()[:12]}"


@own_parts.cached
def _fill_store() -> None:
    """Store the entries of the registries and the trainer's defaults in Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for choice in REGISTRIES:
        for name in {*options(choice), *index.entries(choice)}:
            store.store(group=choice, name=name, node={"name": name} | default_settings(choice, name))
    store.store(group="trainer", name="base", node=default_settings("trainer"))
