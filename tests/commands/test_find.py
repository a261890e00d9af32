"""`dlzoo find` and `dlzoo list topics`: from the word of a textbook to what there is about it."""

import json
import re
from pathlib import Path

import pytest

from dlzoo import commands, config
from dlzoo.cli import main
from dlzoo.core import index
from dlzoo.show.find import GROUPS, find, pages, topic_of
from dlzoo.show.topics import ALSO, TOPICS

ROOT = Path(__file__).parents[2]


def exists(thing: str) -> bool:
    """Whether a thing of a topic is a name of a choice, a setting, a command or a section of a page."""
    if thing.startswith("docs/"):
        return thing in {page.name for page in pages()}
    if thing.startswith("dlzoo "):
        return thing.split()[1] in commands.names()
    if "=" in thing:
        choice, _, name = thing.partition("=")
        return name in config.names_of(choice)
    section, _, name = thing.rpartition(".")
    if section in index.load():
        entries = index.entries(section).values()
        return name in config.settings_for(section) or any(name in entry["settings"] for entry in entries)
    return name in config.settings_for("trainer") if section else thing in config.compose([])


@pytest.mark.parametrize("topic", TOPICS)
def test_everything_that_a_topic_lists_exists_and_is_found(topic: str) -> None:
    assert [thing for thing in TOPICS[topic] if not exists(thing)] == []
    names = [each.name for each in find(topic, commands.summaries())]
    assert topic in names
    assert [thing for thing in TOPICS[topic] if thing not in names] == []


def test_other_words_lead_to_topics() -> None:
    for word, topic in ALSO.items():
        assert topic in TOPICS
        assert word not in TOPICS
        assert topic_of(word) == topic
    assert topic_of("Vanishing gradients") == "vanishing gradient"
    assert topic_of("zzz") is None


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("gradient", ["vanishing gradient", "optimizer=sgd", "trainer.clip_norm"]),
        ("vanishing gradient", ["experiment=plain_vs_residual", "act=sigmoid"]),
        ("receptive field", ["conv=dilated", "docs/models_and_parts.md#looking-at-a-model"]),
        ("overfitting", ["drop=dropout", "optimizer.weight_decay", "docs/techniques.md#regularisation"]),
        ("imbalance", ["data.imbalance", "loss=focal", "experiment=focal_vs_ce"]),
        ("learning rate warm-up", ["schedule.warmup"]),
        ("anchors", ["dlzoo anchors", "model=retinanet"]),
        ("batchnorm", ["norm=bn", "batch normalisation"]),
        ("epochs", ["trainer.max_epochs"]),
        ("label smoothing", ["loss.label_smoothing", "experiment=label_smoothing"]),
        ("resume", ["dlzoo run", "docs/runs_and_resume.md#stop-kill-resume"]),
        ("1803.08494", ["norm=gn", "experiment=bn_vs_gn"]),
    ],
)
def test_a_word_of_a_textbook_leads_to_what_there_is(query: str, names: list[str]) -> None:
    found = find(query, commands.summaries())
    assert [name for name in names if name not in {each.name for each in found}] == []
    assert [GROUPS.index(each.group) for each in found] == sorted(GROUPS.index(each.group) for each in found)
    assert len({(each.group, each.name) for each in found}) == len(found)


def test_every_word_must_be_found() -> None:
    assert find("gradient zzz", {}) == []
    assert find("", {}) == []
    assert not any(each.name == "norm=bn" for each in find("overfitting", {}))  # "over" is not "overfitting"


def test_anchors_of_pages_are_those_of_their_headings() -> None:
    names = {page.name for page in pages()}
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= names
    text = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    linked = {f"docs/{link}" for link in re.findall(r"\]\(([\w/.]+\.md#[\w-]+)\)", text)}
    assert linked
    assert linked <= names


def test_the_command(capsys: pytest.CaptureFixture) -> None:
    assert main(["find", "vanishing", "gradient"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("topics\n  vanishing gradient  ")
    assert "\n\nexperiments\n  experiment=activations " in text
    assert main(["find", "image"]) == 0
    assert re.search(r"^  \.\.\. \d+ more: --all$", capsys.readouterr().out, re.MULTILINE)
    assert main(["find", "image", "--all"]) == 0
    assert "more: --all" not in capsys.readouterr().out
    assert main(["find", "iou", "--json"]) == 0
    assert {
        "group": "topics",
        "name": "intersection over union",
        "about": ", ".join(TOPICS["intersection over union"]),
    } in (json.loads(capsys.readouterr().out))
    assert main(["find", "overfiting zzz"]) == 2
    assert "nothing is found for 'overfiting zzz'" in capsys.readouterr().err
    assert main(["find", "receptiv fild"]) == 2
    assert "did you mean 'receptive field'?" in capsys.readouterr().err
    assert main(["list", "topics"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(TOPICS)
