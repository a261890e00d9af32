import pytest

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.registries import DATASETS, MODELS, REGISTRIES, TASKS
from dlzoo.core.registry import Registry
from dlzoo.core.schema import Fraction, PositiveInt, check, describe, schema_of, settings_of, wiring_of


def make() -> Registry:
    registry = Registry("part", "dlzoo.losses", "a tuple")

    @registry.register("pair", source="here")
    def pair(channels: int, *, width: PositiveInt = 3, share: Fraction = 0.5, kind: str | None = None) -> tuple:
        """A pair."""
        return channels, width, share, kind

    return registry


def test_an_entry_waits_for_its_wiring_and_checks_its_settings() -> None:
    registry = make()
    assert registry.build("pair", width=4)(7) == (7, 4, 0.5, None)
    assert registry.build("pair", wiring={"channels": 7, "unused": 1}, share=1) == (7, 3, 1.0, None)
    for wrong in ({"width": 0}, {"width": 2.5}, {"width": True}, {"share": 1.5}, {"share": float("nan")}, {"kind": 3}):
        with pytest.raises(UserError, match="part=pair"):
            registry.build("pair", **wrong)
    with pytest.raises(UserError, match="did you mean 'width'"):
        registry.build("pair", widht=3)


def test_a_duplicate_raises_and_an_unknown_name_names_the_closest() -> None:
    registry = make()
    with pytest.raises(ValueError, match="pair is already registered"):
        registry.register("pair", source="there")(lambda: None)
    with pytest.raises(UserError, match="did you mean 'pair'"):
        registry["pairs"]


def test_every_entry_has_a_source_a_docstring_and_settings_that_accept_their_defaults() -> None:
    for choice, registry in REGISTRIES.items():
        assert registry.names(), choice
        for name in registry.names():
            entry = registry[name]
            assert entry.source, (choice, name)
            assert entry.doc, (choice, name)
            for setting, schema in entry.settings.items():
                check(schema, schema["default"])
                assert describe(schema), (choice, name, setting)


def test_every_default_that_a_registration_names_exists() -> None:
    for name in MODELS.names():
        for choice, part in MODELS[name].marks.as_json().items():
            if choice == "torchvision":
                assert set(part) <= set(REGISTRIES["norm"].names())
            elif choice == "tasks":
                assert set(part) <= set(TASKS.names())
            elif choice in REGISTRIES:  # the others are facts about the model
                part = {"name": part} if isinstance(part, str) else part
                assert part["name"] in (*REGISTRIES[choice].names(), "default"), (name, choice)
                if len(part) > 1:
                    common = REGISTRIES[choice].common_settings()
                    known = {*REGISTRIES[choice][part["name"]].settings, *(settings_of(common) if common else ())}
                    assert set(part) - {"name"} <= known, (name, choice)
    for name in DATASETS.names():
        for choice in ("model", "loss", "augment"):
            part = getattr(DATASETS[name].marks, choice)
            assert part is None or part in REGISTRIES[choice].names(), (name, choice)
        assert set(DATASETS[name].marks.tasks) <= set(TASKS.names())
    for name in TASKS.names():
        for choice, part in TASKS[name].marks.defaults.items():
            assert part in REGISTRIES[choice].names(), (name, choice)


def test_a_misspelt_mark_is_an_error_when_its_module_is_imported() -> None:
    for registry in (*REGISTRIES.values(), TASKS):
        with pytest.raises(TypeError, match="sofft"):
            registry.register("new", source="nowhere", sofft=True)


def test_schemas() -> None:
    assert schema_of(int | None) == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert check(schema_of(tuple[PositiveInt, ...]), [1, 2]) == (1, 2)
    with pytest.raises(ValueError, match=r"must be a list, each an integer >= 1, not \[0\]"):
        check(schema_of(tuple[PositiveInt, ...]), [0])
    with pytest.raises(TypeError, match="cannot have the type"):
        schema_of(dict)

    def function(a: int, *, b: float = 1.0) -> None: ...

    assert wiring_of(function) == ["a"]
    assert settings_of(function) == {"b": {"type": "number", "default": 1.0}}


def test_did_you_mean() -> None:
    assert did_you_mean("GN", ["gn", "bn"]) == "did you mean 'gn'?"
    assert did_you_mean("zzz", ["gn", "bn"]) == "available: bn, gn"
