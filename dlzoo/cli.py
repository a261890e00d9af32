"""argv -> commands. No logic: each command is one call, and this file prints what it returns."""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from inspect import getdoc
from pathlib import Path
from typing import Any, NamedTuple

from dlzoo.core.errors import ERROR_FILE, Interrupted, Remark, UserError, did_you_mean
from dlzoo.show import listing

_AS_USUAL = warnings.formatwarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name); the exit code: 0, 2 for a user's error, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    warnings.formatwarning = _in_a_line
    try:
        _look_at_folder()
        return _dispatch(words)
    except (UserError, Interrupted) as error:
        if ERROR_FILE in os.environ:
            Path(os.environ[ERROR_FILE]).write_text(str(error))
        elif os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0":
            print(f"dlzoo: {error}", file=sys.stderr)  # torchrun's ranks all say the same
        return 2 if isinstance(error, UserError) else 130
    except KeyboardInterrupt:
        print("dlzoo: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # of `dlzoo list model | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        if ERROR_FILE not in os.environ:
            raise
        Path(os.environ[ERROR_FILE]).write_text(traceback.format_exc())
        return 1


def _in_a_line(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A remark of ours as other lines of ours; a warning of somebody else's with its place in the code, as usual."""
    if issubclass(category, Remark):
        return f"dlzoo: {message}\n"
    return _AS_USUAL(message, category, filename, lineno, line)


def _look_at_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the folder that you are in does not exist any more") from None


def _dispatch(words: list[str]) -> int:
    if not words or any(word in ("-h", "--help") for word in words):
        print(_help() if not words or words[0] not in _COMMANDS or words[0] == "train" else _help_of(words[0]))
        return 0
    if words == ["--version"]:
        import dlzoo

        print(dlzoo.__version__)
        return 0
    command, *rest = words
    if command not in _COMMANDS:
        # Settings alone are a training: dlzoo model=resnet20.
        if "=" in command:
            command, rest = "train", words
        else:
            raise UserError(f"unknown command {command!r}; {did_you_mean(command, _COMMANDS)}")
    return _COMMANDS[command].function(rest) or 0


def train(words: list[str]) -> int | None:
    """Settings alone: a new run. resume=DIR: an old one goes on. -m: a run for each combination of values."""
    several = [word for word in words if word in ("-m", "--multirun")]
    if several:
        from dlzoo.sweep.request import of_sweep
        from dlzoo.sweep.sweep import sweep

        return 0 if sweep(of_sweep([word for word in words if word not in several])).ok else 1
    if any(word.startswith("experiment=") for word in words):
        from dlzoo.sweep.experiment import named

        if named(words):
            return compare(words)
    flags = [word for word in words if word.startswith("-")]
    if flags:
        raise UserError(f"unknown option {flags[0]!r}; settings are key=value, and --help lists them")
    resumed = [word.removeprefix("resume=") for word in words if word.startswith("resume=")]
    if resumed:
        if len(words) > 1:
            raise UserError("resume=DIR goes on with a run as it was begun: it takes no other setting")
        run(resumed)
        return None
    from dlzoo.config import compose

    config = compose(words)  # a typo is answered before torch is imported
    from dlzoo.builder.execute import begin

    begin(config)
    return None


def run(words: list[str]) -> None:
    """DIR"""
    (path,) = _exactly(words, "dlzoo run DIR")
    from dlzoo.runs.run_dir import RunDir

    directory = RunDir.open(path)
    from dlzoo.builder.launch import end_with_parent

    end_with_parent()
    from dlzoo.builder.execute import execute

    execute(directory)


def compare(words: list[str]) -> int:
    """<settings, some with several values> [base='<settings>'] [seeds=8]

    Or experiment=NAME [scale=tiny]: a comparison that is written down. Settings that vary together are quoted, an arm
    each: 'model=resnet20 model.width=20' 'model=resnext29_8x64d model.width=16'. The report that ends it takes
    baseline=norm=bn, metric=test/f1_macro, margin=0.01 (differences that are as good as none).
    """
    if flags := [word for word in words if word.startswith("-")]:
        raise UserError(f"unknown option {flags[0]!r}; what compare takes is key=value: baseline=norm=bn")
    from dlzoo.sweep.request import of_comparison
    from dlzoo.sweep.sweep import sweep

    swept = sweep(of_comparison(words))
    if not swept.dry and any(row.state == "finished" for row in swept.rows):
        report([str(swept.folder)])
    return 0 if swept.ok else 1


def runs(words: list[str]) -> None:
    """[FOLDER] [--json]"""
    as_json, words = _flag(words, "--json")
    (folder,) = _exactly(words or ["outputs"], "dlzoo runs [FOLDER] [--json]")
    from dlzoo.runs import table

    if as_json:
        found = table.rows(table.find(Path(folder)))
        print(json.dumps([{"path": str(row.path), **row.record} for row in found]))
        return
    from rich.console import Console

    from dlzoo.show import runs as table_of_runs

    table_of_runs.show(Path(folder), Console())


def report(words: list[str]) -> None:
    """FOLDER [--baseline norm=bn] [--metric test/f1_macro] [--margin 0.01] [--out DIR]

    What the runs of a folder say, as report.html, .md, .tex, .json and pictures in FOLDER/report, or in --out. It finds
    by itself what varies and what repeats; runs that still go on are left out and listed. --baseline: what the others
    are held against (else what the sweep said, or the default). --metric: of those in run.json (else the test result of
    what was watched). --margin: differences that are as good as none, in the metric's unit (else 0.01 for accuracies).
    """
    options, names = {}, ("--baseline", "--metric", "--margin", "--out")
    words = [f"--{word}" if f"--{word.partition('=')[0]}" in names else word for word in words]
    for name in names:
        options[name[2:]], words = _option(words, name)
    (folder,) = _exactly(words, "dlzoo report FOLDER [--baseline norm=bn] [--metric NAME] [--margin 0.01] [--out DIR]")
    from dlzoo.report.report import write

    print(write(folder, **options))


def diff(words: list[str]) -> None:
    """RUN RUN [--json]"""
    as_json, words = _flag(words, "--json")
    first, second = _exactly(words, "dlzoo diff RUN RUN [--json]", 2)
    from dlzoo.show import diff as differences

    found = differences.diff(first, second)
    print(json.dumps(found, indent=1) if as_json else differences.text(found))


def tune(words: list[str]) -> int:
    """<settings> [trials=20] [name=NAME]

    A setting to search: log(a,b), uniform(a,b), interval(a,b) (whole numbers where the setting takes no others),
    range(a,b), choice(x,y) or x,y. The trials lie in outputs/NAME, tune.png with them; the same line goes on.
    """
    from dlzoo.sweep.tune import tune as search

    return 0 if search(words) else 1


def lr_find(words: list[str]) -> None:
    """<settings> [low=1e-6] [high=10] [steps=100]"""
    from dlzoo.config import compose

    test = [word for word in words if word.partition("=")[0] in ("low", "high", "steps")]
    compose([word for word in words if word not in test])  # a typo is answered before torch is imported
    from dlzoo.builder.lr_find import lr_find as find

    find(words)


def list_names(words: list[str]) -> None:
    """<choice> [--json], or --parts [--json]: which models take which parts"""
    as_json, words = _flag(words, "--json")
    of_parts, words = _flag(words, "--parts")
    if of_parts:
        _exactly([word for word in words if word != "model"], "dlzoo list --parts [--json]", 0)
        from rich.console import Console

        from dlzoo.show import parts

        found = parts.matrix()
        print(json.dumps(found, indent=1)) if as_json else parts.show(found, Console())
        return
    (choice,) = _exactly(words, "dlzoo list <choice> [--json]")
    print(json.dumps(listing.names(choice), indent=1) if as_json else "\n".join(listing.lines(choice)))


def show(words: list[str]) -> None:
    """<choice> <name> [--json] [settings]

    Of a model: image_size=224 num_classes=1000 in_channels=3 and settings such as norm=gn. Of a loss, an activation, a
    schedule or an augmentation a picture is drawn: dlzoo show augment strong data=cifar10
    """
    as_json, words = _flag(words, "--json")
    _exactly(words[:2], "dlzoo show <choice> <name> [--json]", 2)
    (choice, name), settings = words[:2], words[2:]
    from dlzoo.show import entry

    found = entry.entry(choice, name)
    if choice != "model":
        _show_entry(found, settings, as_json)
        return
    from rich.console import Console

    from dlzoo.show import model

    profile = model.profile(name, settings)
    if as_json:
        print(json.dumps(found | profile, indent=1))
    else:
        print(entry.text(found | {"asked": settings}) + "\n")
        model.show(profile, Console())


def _show_entry(found: dict[str, Any], settings: list[str], as_json: bool) -> None:
    """An entry that is no model: in words, and some as a picture."""
    from dlzoo.show import entry

    choice, name = found["choice"], found["name"]
    if choice not in listing.DRAWN:
        _exactly(
            settings, f"dlzoo show {choice} {name} [--json]; settings are for models, {', '.join(listing.DRAWN)}", 0
        )
        print(json.dumps(found, indent=1) if as_json else entry.text(found))
        return
    from dlzoo.show import picture

    path = str(picture.draw(choice, name, settings))
    if as_json:
        print(json.dumps(found | {"picture": path}, indent=1))
    else:
        print(entry.text(found | {"asked": settings}) + f"\n\npicture  {path}")


def evaluate(words: list[str]) -> None:
    """run=DIR [--json] [data.test_shift=noise] [data.test_severity=5] [augment.test=flip] [nms=diou_nms] [nms.iou=0.6]

    Of a detector: pictures with the boxes drawn, and every box in detections.json, in DIR/eval.
    """
    as_json, words = _flag(words, "--json")
    path, conditions = _run_and_rest(words)
    from rich.console import Console

    from dlzoo.builder.evaluate import evaluate as measured
    from dlzoo.builder.evaluate import folder
    from dlzoo.builder.summary import metrics_table

    metrics = measured(path, conditions)
    if as_json:
        print(json.dumps(metrics))
        return
    metrics_table(Console(), metrics)
    if (drawn := folder(path, conditions)).is_dir():
        print(f"pictures and boxes  {drawn}")


def predict(words: list[str]) -> None:
    """run=DIR FILE ... [--json] [--out FOLDER] [nms=diou_nms] [nms.iou=0.6]

    Of a detector: copies of the pictures, with the boxes drawn that have a score of 0.3 or more, and all boxes (x1, y1,
    x2, y2 in pixels) in predictions.json, in FOLDER, or else in DIR/predictions in place of the last ones.
    """
    as_json, words = _flag(words, "--json")
    out, words = _option(words, "--out")
    path, rest = _run_and_rest(words)
    conditions = [
        word for word in rest if word.startswith(("nms=", "nms.")) and "=" in word and not Path(word).exists()
    ]
    from dlzoo.builder.predict import predict as predicted

    answers = predicted(path, [word for word in rest if word not in conditions], out=out, conditions=conditions)
    if as_json:
        print(json.dumps(answers, indent=1))
        return
    for answer in answers:
        if "objects" in answer:
            found = ", ".join(f"{one['name']} {one['score']:.0%}" for one in answer["objects"]) or "nothing"
            print(f"{answer['file']}: {found}; drawn in {answer['picture']}")
            continue
        classes = ", ".join(f"{found['name']} {found['probability']:.1%}" for found in answer["classes"][:3])
        print(f"{answer['file']}: {classes}")


def anchors(words: list[str]) -> None:
    """data=<set with boxes> [data.<setting>=...] [count=9] [--json]

    k-means of the training boxes' sizes, with IoU as the distance, as a line to paste behind model=yolov3.
    """
    as_json, words = _flag(words, "--json")
    from dlzoo.show import anchors as clusters

    found = clusters.anchors(words)
    print(json.dumps(found, indent=1) if as_json else clusters.text(found))


def completion(words: list[str]) -> None:
    """Nothing: the lines for a shell. --line LINE: how the line may go on."""
    if words[:1] == ["--line"]:
        print("\n".join(listing.candidates(words[1] if len(words) > 1 else "", _COMMANDS)))
    else:
        print(listing.COMPLETION)


class _Command(NamedTuple):
    function: Callable[[list[str]], int | None]
    help: str


_COMMANDS = {
    "train": _Command(train, "train a network: dlzoo train model=densenet121 norm=gn (python train.py is the same)"),
    "run": _Command(run, "carry out a run directory, from its last checkpoint if it has one: dlzoo run DIR"),
    "runs": _Command(runs, "how far the runs of a folder are, live while some go on: dlzoo runs [FOLDER] [--json]"),
    "compare": _Command(compare, "a sweep and its report: dlzoo compare norm=bn,gn base='data.batch_size=4' seeds=8"),
    "report": _Command(report, "what the runs of a folder say, as a page, tables and pictures: dlzoo report FOLDER"),
    "diff": _Command(diff, "what is different between two runs, and nothing else: dlzoo diff RUN RUN [--json]"),
    "tune": _Command(tune, "search for settings: dlzoo tune model=mlp 'optimizer.lr=log(0.001,1)' trials=20"),
    "lr-find": _Command(lr_find, "try all learning rates in one short run: dlzoo lr-find model=resnet20"),
    "list": _Command(list_names, "the names of a choice: dlzoo list model; which model takes what: dlzoo list --parts"),
    "show": _Command(
        show, "what an entry is and takes; a model layer by layer, a loss as a picture: dlzoo show loss focal"
    ),
    "eval": _Command(
        evaluate, "a run's test numbers again, or on a shifted test: dlzoo eval run=DIR [data.test_shift=noise]"
    ),
    "predict": _Command(predict, "classes for pictures, or objects in them: dlzoo predict run=DIR FILE ... [--json]"),
    "anchors": _Command(anchors, "anchor boxes that suit a data set: dlzoo anchors data=voc2007 [count=9]"),
    "completion": _Command(completion, 'tab completion: eval "$(dlzoo completion)"'),
}


def _help() -> str:
    return listing.help_text({name: command.help for name, command in _COMMANDS.items()})


def _help_of(name: str) -> str:
    return f"dlzoo {name} {getdoc(_COMMANDS[name].function)}\n\n{_COMMANDS[name].help}"


def _flag(words: list[str], flag: str) -> tuple[bool, list[str]]:
    return flag in words, [word for word in words if word != flag]


def _option(words: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of --name VALUE or --name=VALUE, and the other words."""
    words = [part for word in words for part in (word.split("=", 1) if word.startswith(f"{name}=") else [word])]
    if name not in words:
        return None, words
    at = words.index(name)
    if name in words[at + 1 :] or at + 1 == len(words):
        raise UserError(f"{name} takes one value, and is said once")
    return words[at + 1], words[:at] + words[at + 2 :]


def _exactly(words: list[str], usage: str, count: int = 1) -> list[str]:
    if len(words) != count:
        raise UserError(f"usage: {usage}")
    return words


def _run_and_rest(words: list[str]) -> tuple[str, list[str]]:
    """The directory of run=DIR, or of the first word, and the other words."""
    runs = [word for word in words if word.startswith("run=")] or words[:1]
    path = runs[0].removeprefix("run=") if len(runs) == 1 else ""
    if not path:
        raise UserError("say which run: run=DIR")
    return path, [word for word in words if word is not runs[0]]


if __name__ == "__main__":
    sys.exit(main())
