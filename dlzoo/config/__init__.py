"""Compose the settings that a user typed into a complete, checked config: a plain dict of names and numbers."""

from dlzoo.config.compose import compose, with_changes
from dlzoo.config.defaults import (
    COMPARE_ONLY,
    DEFAULTS_FROM,
    SECTIONS,
    SWEEP_ONLY,
    Config,
    choices,
    conf_dir,
    default_choices,
    default_entry,
    head_comment,
    options,
    resolved_name,
    settings_for,
    unknown_name,
)
from dlzoo.config.finalise import check_section, finalise, read

__all__ = [
    "COMPARE_ONLY",
    "DEFAULTS_FROM",
    "SECTIONS",
    "SWEEP_ONLY",
    "Config",
    "check_section",
    "choices",
    "compose",
    "conf_dir",
    "default_choices",
    "default_entry",
    "finalise",
    "head_comment",
    "options",
    "read",
    "resolved_name",
    "settings_for",
    "unknown_name",
    "with_changes",
]
