"""The pages themselves: length, links, tables, settings that exist, and words that readers did not understand."""

from __future__ import annotations

import re
import runpy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from dlzoo import config as configs
from dlzoo.cli import main
from dlzoo.config import executor as executors
from dlzoo.config.overrides import expand, parse
from dlzoo.config.settings import RunSettings, SweepSettings, TrainerSettings
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.schema import check, settings_of
from tests.docs.pages import PAGES, REPOSITORY, Page

TABLES = runpy.run_path(str(REPOSITORY / "scripts" / "doc_tables.py"))
#: Compared by tests/commands/test_list_and_show.py, which builds every model anyway.
ELSEWHERE = {"part_support"}

#: Phrases that native readers stumbled over.
PHRASES = """
one override away · of a detector boxes · on with a run · to the bit · has no place for · callbacks of one's own
one's own pictures · What there is · the internet was not at hand · none was at hand
Every loss of classes but zero_one · What cannot meet is one line · and model=resnet20 is none
lets early layers learn slowly, freeze=3 not at all · move each image against itself
Of a table what is missing is filled in · brings what suits it
the large detectors want less · Measured are the AP · cores that had other work as well · One process over one folder
is found out, or said · what so many seeds can show · the report does not pretend
What makes the arms no fair comparison · is said on top · Written down in · as many at a time as fit · loses its loss
as many as one likes · costs more by · takes longer by · The house in a sentence · its own room · contract stands in
Hold it against · as good as none · Know this before you believe it · what the seed alone does
Differences of equal seeds · try several of each, as many for all · object not found, nor nearly
carry out a run directory · without a gradient where they are apart · 2 run(s) save and end · run(s) save and end
the same line goes on · which nobody says here · stands for no value at all · has no end of values
follows validation, and there is none · there is bn, cmbn · say -m before it · A rank broke · As a sentence begins
"""

#: Words before "=" that a command takes and no run has.
OF_COMMANDS = (
    *("run", "resume", "trials", "count", "low", "high", "steps", "image_size", "num_classes", "in_channels"),
    *("on_bad", "full_size", "parts"),
)
#: Keyword arguments of Python, and words that stand for any setting.
NOT_SETTINGS = ("callbacks", "soft", "decoupled", "closure", "weights_only", "beta", "key")


def test_the_readme_is_at_most_700_words() -> None:
    assert len((REPOSITORY / "README.md").read_text().split()) <= 700


def every_page(function: Any) -> Any:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)(function)


@every_page
def test_links_lead_somewhere(page: Page) -> None:
    pages = {each.path: each for each in PAGES}
    for file, heading in page.links:
        path = (page.path.parent / file).resolve() if file else page.path
        assert path.exists(), file
        assert not heading or heading in pages[path].anchors, f"{file}#{heading}"


def test_every_page_and_image_is_linked() -> None:
    linked = {(page.path.parent / file).resolve() for page in PAGES for file, _ in page.links if file}
    there = {path for path in (REPOSITORY / "docs").rglob("*") if path.is_file()}
    assert there <= linked


@every_page
def test_code_blocks_have_a_language(page: Page) -> None:
    """What has none would be looked at by no test."""
    assert page.text.count("```") == 2 * len(page.blocks)
    assert {block.language for block in page.blocks} <= {"bash", "console", "python", "text", "yaml", "toml"}


@every_page
def test_no_phrase_that_readers_stumbled_over(page: Page) -> None:
    assert _phrases_in(page.text) == []


def test_no_phrase_that_readers_stumbled_over_in_the_product() -> None:
    sources = [*(REPOSITORY / "dlzoo").rglob("*.py"), *(REPOSITORY / "conf").rglob("*.yaml"), REPOSITORY / "train.py"]
    sources += [*(REPOSITORY / "scripts").glob("*.py"), REPOSITORY / "Makefile"]
    found = {str(path): phrases for path in sources if (phrases := _phrases_in(path.read_text()))}
    assert found == {}


def _phrases_in(text: str) -> list[str]:
    words = " ".join(text.split()).lower()
    phrases = [each.strip().lower() for line in PHRASES.strip().splitlines() for each in line.split("·")]
    assert len(phrases) >= 50
    return [each for each in phrases if each in words]


@every_page
def test_tables_are_those_of_the_registries(page: Page) -> None:
    for name, block in TABLES["blocks"](page.text).items():
        assert name in ELSEWHERE or block == TABLES["TABLES"][name](), "run python scripts/doc_tables.py"


def test_every_table_is_on_a_page() -> None:
    assert {name for page in PAGES for name in TABLES["blocks"](page.text)} == set(TABLES["TABLES"])


@pytest.fixture(scope="module")
def schemas() -> Mapping[str, list[dict[str, Any]]]:
    """Key -> the schemas that it has in one entry or another."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, schema in settings_of(RunSettings).items():
        found[key].append(schema)
    for section, settings in (("trainer", TrainerSettings), ("sweep", SweepSettings)):
        for key, schema in settings_of(settings).items():
            found[f"{section}.{key}"].append(schema)
    for name in configs.options("executor"):
        for key, schema in executors.settings_for(name).items():
            found[f"executor.{key}"].append(schema)
    for choice, content in index.load().items():
        for known in (content["common"], *(entry["settings"] for entry in content["entries"].values())):
            for key, schema in known.items():
                found[f"{choice}.{key}"].append(schema)
    return found


def _values(word: str) -> list[str]:
    """The settings that one stands for: of norm=bn,gn two."""
    try:
        return [line for (line,) in expand([word], configs.options)[0]]
    except UserError:  # a range without an end, for a search
        return []


@every_page
def test_settings_in_sentences_exist(page: Page, schemas: Mapping[str, list[dict[str, Any]]]) -> None:
    """Each `key=value` of the prose: the key exists, and some entry takes the value."""
    for line, span in page.spans:
        for word in span.replace("'", "").split():
            key, equals, value = word.partition("=")
            if not equals or not re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)?", key):
                continue
            if key in (*OF_COMMANDS, *NOT_SETTINGS, *configs.COMPARE_ONLY) or "..." in value or "<" in value:
                continue
            if not value:
                assert key in (*configs.choices(), *configs.SWEEP_ONLY) or key in schemas, f"line {line}: {span}"
                continue
            for each in _values(word):
                assert _exists(each, schemas), f"{page.name}:{line}: {span}"


def _exists(word: str, schemas: Mapping[str, list[dict[str, Any]]]) -> bool:
    key, _, text = word.partition("=")
    if key in (*configs.choices(), "executor"):
        return text in configs.options(key)
    for schema in schemas.get(key, []):
        try:
            check(schema, parse(word).value())
            return True
        except ValueError:
            continue
    return False


@every_page
def test_keys_in_sentences_exist(page: Page, schemas: Mapping[str, list[dict[str, Any]]]) -> None:
    """Each `section.key` of the prose and the tables that begins with a section of the config."""
    sections = (*configs.SECTIONS, "sweep", "executor")
    for line, span in page.spans:
        found = re.fullmatch(r"([a-z_]+)\.([a-z0-9_]+)", span)
        if found and found[1] in sections and span not in ("trainer.callback_metrics", "data.yaml", "sweep.json"):
            assert span in schemas, f"{page.name}:{line}: {span}"


def test_metrics_that_are_named_are_measured() -> None:
    from dlzoo.core import index

    (page,) = [page for page in PAGES if page.name == "docs/detection.md"]
    named = {span for _, span in page.spans if span.startswith(("map_", "map5", "map7", "errors_"))}
    assert named == {name for name in index.metrics() if name.startswith(("map", "errors_"))}


def test_the_experiments_of_the_table_are_those_of_the_folder() -> None:
    (page,) = [page for page in PAGES if page.name == "docs/comparisons.md"]
    section = page.text.partition("## Predefined experiments")[2]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted([*rows, "resnet20_cifar10"]) == configs.options("experiment")
    assert f"{len(rows)} ready-made comparisons" in PAGES[0].text


def test_files_that_are_named_exist() -> None:
    """Paths of the repository in code spans: dlzoo/registry.py, tests/models/test_models.py."""
    for page in PAGES:
        for line, span in page.spans:
            if re.fullmatch(r"(dlzoo|tests|scripts|conf)/[\w/]+\.(py|yaml)", span) and "my_" not in span:
                new = span in ("dlzoo/optim/signum.py",)
                assert new or (REPOSITORY / span).exists(), f"{page.name}:{line}: {span}"


def test_the_version_of_the_changelog_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    released = re.findall(r"^## (\d+\.\d+\.\d+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert capsys.readouterr().out.splitlines()[0].split() == ["dlzoo", released[0]]
