"""Reading of files of settings: what is wrong with one is a line with its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import read_text
from dlzoo.core.yaml_text import parse_yaml


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        UserError: if it cannot be read or is not valid YAML; with the line, where that is known.
    """
    try:
        return parse_yaml(read_text(path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        tab = "; indent with spaces" if "'\\t'" in (error.problem or "") else ""
        raise UserError(f"{path}: not valid YAML ({where}{error.problem or error.context}{tab})") from error
    except RecursionError as error:
        raise UserError(f"{path}: not valid YAML (nested too deeply)") from error
    except (yaml.YAMLError, ValueError) as error:  # a control character; a date or a number that is none
        raise UserError(f"{path}: not valid YAML ({first_line(error)})") from error
