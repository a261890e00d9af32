"""Commands that are called wrongly, and sweeps that cannot be planned."""

from __future__ import annotations

from pathlib import Path

from tests.corpus.case import Case, lines


def _file(folder: Path, base: Path) -> None:
    (folder / "there").write_text("a file")


def _full(folder: Path, base: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("mine")


KINDS: dict[str, list[Case]] = {
    "commands without what they need": lines(
        "",
        *("eval", "predict", "predict run=x", "run", "diff", "diff a", "report", "show", "show x y z"),
        *("compare", "tune", "tune model=resnet20", "list x y", "lr-find low=2 high=1"),
    ),
    "runs that do not exist": lines(
        "",
        *("eval run=nowhere", "predict run=nowhere a.png", "run nowhere", "report nowhere", "runs nowhere"),
        *("diff nowhere elsewhere", "train resume=nowhere", "train init_from=nowhere", "eval run=", "run ''"),
        *("eval run=../../../nowhere", "report ''", "run /", "eval run=/", "report /dev/null", "runs /dev/null"),
    ),
    "files where folders belong": [
        Case(line, "there", _file)
        for line in (
            "eval run=there",
            "run there",
            "report there",
            "runs there",
            "train resume=there",
            "diff there there",
            "train init_from=there",
            "train run_dir=there",
            "train data=image_folder data.root=there",
            "train data=yolo_txt data.root=there",
            "train data=coco_json data.root=there",
            "train data=voc2007 data.root=there",
            "train run_dir=there/x",
        )
    ],
    "folders that are no runs": [
        Case(line, "full", _full)
        for line in (
            "eval run=full",
            "run full",
            "train resume=full",
            "predict run=full a.png",
            "train run_dir=full",
            "diff full full",
            "report full",
            "train init_from=full",
        )
    ],
    "values of a sweep": lines(
        "",
        *(
            "train -m 'seed=range(0)'",
            "train -m 'seed=range(3,1)'",
            "train -m 'seed=range(nan)'",
        ),
        *("train -m 'seed=range(1e12)'", "train -m 'seed=range(0,1000000000)'", "train -m 'seed=rnage(3)'"),
        *("train -m 'optimizer.lr=interval(0,1)'", "train -m 'optimizer.lr=log(0.1,1)'", "train -m 'seed=glob(*)'"),
        *(
            "train -m 'seed=choice()'",
            "train -m seed=",
            "train -m norm=bn,",
            "train -m norm=,gn",
            "train -m norm=bn,gnn",
        ),
        *("train -m 'seed=range(1,2,0)'", "train -m 'seed=range(a)'", "train -m 'seed=sort(3,1'", "train -m seed=a,b"),
    ),
    "settings of a sweep": lines(
        "",
        *(
            "train -m seed=0,1 executor.workers=0",
            "train -m seed=0,1 executor.workers=-1",
            "train -m seed=0,1 sweep.x=1",
        ),
        *(
            "train -m seed=0,1 sweep.dry_run=maybe",
            "train -m seed=0,1 executor.wrokers=2",
            "train -m seed=0,1 run_dir=x",
        ),
        *("train -m seed=0,1 executor.threads=0", "train -m seed=0,1 name="),
        *("train -m seed=0,1 resume=x", "train sweep.dry_run=true", "train executor=slurm"),
    ),
    "comparisons that compare nothing": lines(
        "",
        *("compare seed=0,1", "compare norm=bn,bn seeds=2", "compare norm=bn,gn seeds=0"),
        *("compare norm=bn,gn seeds=-1", "compare norm=bn,gn seeds=x", "compare model=resnet20 model=resnet20"),
        *("compare norm=bn,gn base='model='", "compare norm=bn,gn base='model=resnet21'"),
        *("compare norm=bn,gn seeds=1000000000", "compare norm=bn,gn baseline=in"),
    ),
    "searches that cannot begin": lines(
        "",
        *("tune 'optimizer.lr=log(0,1)'", "tune 'optimizer.lr=log(1,0.1)'", "tune 'optimizer.lr=log(0.1)'"),
        *(
            "tune 'optimizer.lr=log(a,b)'",
            "tune 'norm=choice()'",
            "tune 'norm=choice(bn,gnn)'",
            "tune 'optimizer.lr=lgo(1,2)'",
        ),
        *(
            "tune 'optimizer.lr=log(0.1,1)' trials=0",
            "tune 'optimizer.lr=log(0.1,1)' trials=x",
            "tune optimizer.lr=0.1",
        ),
        *("tune 'optimizer.lr=log(0.1,1)' metric=nothing", "tune 'optimizer.lr=log(0.1,1)' data.val_fraction=0"),
    ),
    "names of runs and folders": lines(
        "",
        *(
            "train name=",
            "train 'name= '",
        ),
        *(
            f"train run_dir={'x' * 300}",
            f"train run_dir={'a/' * 3000}b",
            "train run_dir=/proc/x",
            "train run_dir=/dev/null/x",
        ),
        *("train run_dir=''", "train run_dir=/dev/null"),
    ),
    "options of commands": lines(
        "",
        *(
            "runs --sort nothing .",
            "report . --metric nothing",
            "report --margin x .",
            "report --alpha 2 .",
            "list --prts",
        ),
        *("show model resnet20 image_size=0", "show model resnet20 image_size=-3", "show model resnet20 in_channels=0"),
        *(
            "show model resnet20 num_classes=0",
            "show model resnet20 norm=gnn",
            "show act mish x=1",
            "show loss focal loss.gama=1",
        ),
        *(
            "show schedule cosine trainer.max_epochs=0",
            "predict run=x --top 0 a.png",
            "version --x",
            "anchors data=digits",
        ),
        *("anchors data=shapes count=0", "anchors data=shapes count=x", "lr-find steps=0", "lr-find low=-1"),
    ),
    "frozen layers and weights": lines(
        "",
        *(
            "train freeze=100",
            "train freeze=-1",
            "train freeze=bakbone",
            "train freeze=1.5",
            "train init_from=x model=resnet20",
        ),
        *("train model.pretrained=true", "train model=resnet18 model.pretrained=maybe", "train freeze=all"),
        *("train init_from=/dev/null", "train init_from=''"),
    ),
    "executors and devices that are not there": lines(
        "",
        *("train trainer=gpu", "train trainer.accelerator=cuda", "train trainer.accelerator=gpu trainer.devices=8"),
        *(
            "train trainer.nodes=2",
            "train -m seed=0,1 executor=slurm",
            "train trainer.nodes=0",
            "train trainer.devices=0",
        ),
        *("train -m seed=0,1 trainer.nodes=2", "train trainer.devices=1000 trainer.accelerator=cpu"),
    ),
}
