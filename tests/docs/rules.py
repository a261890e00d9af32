"""How each command of the documentation is made small, what it needs before it, and what it has to leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: With every training: two steps on the CPU.
QUICK = "trainer.max_epochs=1 trainer.limit_batches=2 trainer.accelerator=cpu trainer.threads=1"
DIGITS = "data.limit=60 data.batch_size=20"
NARROW = f"{DIGITS} model.width=4"
#: Objects in images that take no time to draw.
SHAPES = "data.train=24 data.test=8 data.image_size=64 data.batch_size=8 optimizer.lr=0.001"
PETS = "data.batch_size=10 data.image_size=16 model.width=8"
#: Masks of such images.
MASKS = "data.train=24 data.test=8 data.image_size=32 data.batch_size=8 model.width=4"
DETECTED, PREDICTED, SEGMENTED = "test/map50_voc10", "test/r2", "test/miou"


@dataclass(frozen=True)
class Rule:
    """A command that is run.

    Attributes:
        add: settings behind it that make it small.
        swap: words of it that become others: what takes long, or needs a GPU, a download or a cluster. One with a star
            is the file that it matches.
        needs: a command of the documentation that has to be run before; `<run>` is the run that it left.
        metric: of a training, what its run.json has to have.
        prints: what has to be in its output.
        leaves: files, below the folder that it is run in.
    """

    add: str = ""
    swap: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    metric: str = "test/accuracy"
    prints: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()


_PETS = "python train.py data=image_folder data.root=pets data.image_size=64 model=resnet18"
_CIFAR = (
    "python train.py data=image_folder data.root=cifar10 trainer.max_epochs=4 trainer.threads=1 run_dir=outputs/cifar"
)
_SHAPES = "python train.py data=shapes data.batch_size=16"
_NORMS = "python train.py -m name=norms norm=bn,gn data.batch_size=2,8,32 'seed=range(8)'"
_SMALL_BATCH = "dlzoo compare norm=bn,gn base='model=resnet20 data.batch_size=4' seeds=8 name=small_batch"
_OWN_NORM = "python train.py -m parts=./rms.py norm=bn,gn,rms 'seed=range(6)' trainer.max_epochs=5 name=own_norm"
_OF_OTHERS = (
    "python train.py model=resnet50 init_from=resnet50-11ad3fa6.pth data=image_folder data.root=pets"
    " data.image_size=224"
)
_FINE_TUNED = "python train.py data=image_folder data.root=pets model=resnet18 init_from=outputs/<run> freeze=backbone"

#: One run each. A training that is not here is composed, if one of these has all of its keys.
TRAININGS = {
    "python train.py": Rule(NARROW),
    "python train.py model=densenet121 norm=gn": Rule(f"{DIGITS} model.growth_rate=4"),
    "python train.py model=resnet56 act=mish attention=se drop=dropblock conv=separable": Rule(NARROW),
    "python train.py loss=focal optimizer=sam schedule=one_cycle augment=strong augment.mixup=0.2": Rule(NARROW),
    "python train.py loss=focal loss.gamma=2": Rule(NARROW),
    "python train.py loss=cross_entropy loss.label_smoothing=0.1": Rule(NARROW),
    "python train.py loss=cross_entropy loss.class_weights=balanced data.imbalance=20": Rule(
        "data.batch_size=20 model.width=4"
    ),
    "python train.py data=shapes model=unet backbone=resnet18 norm=bn data.image_size=64": Rule(
        f"{MASKS} backbone.width=8", swap={"data.image_size=64": ""}, metric=SEGMENTED
    ),
    "python train.py data=shapes model=unet_tiny loss=sum 'loss.of=[cross_entropy,lovasz]'"
    " 'loss.weights=[1,0.5]'": Rule(MASKS, metric=SEGMENTED),
    "python train.py data=shapes model=unet_tiny augment=several 'augment.steps=[scale,rotate,flip]'"
    " augment.mosaic=0.5": Rule(MASKS, metric=SEGMENTED),
    "python train.py optimizer=adamw optimizer.lr=0.002 optimizer.weight_decay=0.05": Rule(NARROW),
    "python train.py model=linear optimizer=sgd optimizer.l1=0.03": Rule(DIGITS),
    "python train.py optimizer.layer_decay=0.8 optimizer.decoupled=true optimizer.decay=weights freeze=3": Rule(NARROW),
    "python train.py schedule=one_cycle schedule.peak=0.3": Rule(NARROW),
    "python train.py schedule=multi_step 'schedule.milestones=[0.5,0.75]' schedule.warmup=2": Rule(NARROW),
    "python train.py trainer.self_adversarial=0.03 trainer.ema=0.99 trainer.early_stopping=5": Rule(NARROW),
    "python train.py augment=trivialaugment augment.cutout=2": Rule(NARROW),
    "python train.py augment=strong augment.mixup=0.2 augment.cutmix=1 augment.test=flip": Rule(NARROW),
    "python train.py data.imbalance=100 data.label_noise=0.2 data.sampler=balanced": Rule(
        "data.batch_size=20 model.width=4"
    ),
    "python train.py data.test_shift=noise data.test_severity=5": Rule(NARROW),
    "python train.py data.batch_size=128 trainer.accumulate=4 trainer.checkpoint_every=10": Rule(NARROW),
    "python train.py model=resnet50 data.batch_size=256 trainer.checkpoint_activations=true": Rule(NARROW),
    "python train.py trainer.max_steps=300 trainer.validate_every_steps=50 trainer.early_stopping=3"
    " trainer.monitor=val/loss": Rule(NARROW),
    "python train.py trainer.keep_every=10 trainer.keep_best=3": Rule(NARROW),
    "python train.py trainer.compile=true trainer.threads=1": Rule(f"{NARROW} trainer.compile=false"),
    "python train.py trainer=debug": Rule(NARROW),
    "python train.py 'hooks=[tensorboard,csv]' hook.csv.path=numbers.csv": Rule(NARROW, leaves=("<run>/numbers.csv",)),
    # Really run by `make test-extras`, which installs them.
    (
        "python train.py 'hooks=[tensorboard,mlflow]' hook.mlflow.tracking_uri=sqlite:///mlflow.db"
        " hook.mlflow.experiment=norms"
    ): Rule(
        NARROW,
        swap={
            "hooks=[tensorboard,mlflow]": "'hooks=[tensorboard,csv]'",
            "hook.mlflow.tracking_uri=sqlite:///mlflow.db": "hook.csv.path=a.csv",
            "hook.mlflow.experiment=norms": "name=norms",
        },
    ),
    "python train.py 'hooks=[tensorboard,wandb]' hook.wandb.project=norms": Rule(
        NARROW,
        swap={"hooks=[tensorboard,wandb]": "'hooks=[tensorboard,csv]'", "hook.wandb.project=norms": "name=norms"},
    ),
    "python train.py parts=./copies.py 'hooks=[tensorboard,copies]' hook.copies.to=/tmp/copies": Rule(
        NARROW, swap={"hook.copies.to=/tmp/copies": "hook.copies.to=copied"}, leaves=("copied/*/last.ckpt",)
    ),
    "python train.py parts=./rms.py norm=rms trainer.max_epochs=5": Rule(NARROW),
    "python train.py trainer=gpu trainer.devices=4": Rule(
        f"{NARROW} trainer.devices=1", swap={"trainer=gpu": "trainer=cpu"}
    ),
    "python train.py data=diabetes optimizer=adam": Rule(DIGITS, metric=PREDICTED),
    "python train.py data=csv data.path=houses.csv data.target=price": Rule(DIGITS, metric=PREDICTED),
    (
        "python train.py data=csv data.path=houses.csv data.target=kind data.impute=median data.scale=robust"
        " 'data.drop=[id]'"
    ): Rule(DIGITS),
    _PETS: Rule(PETS),
    _FINE_TUNED: Rule(PETS, needs=_PETS),
    _OF_OTHERS: Rule(
        PETS,
        swap={"model=resnet50": "model=resnet18", "init_from=resnet50-11ad3fa6.pth": "init_from=outputs/<run>"},
        needs=_PETS,
    ),
    "python train.py data=cifar10 model=timm model.arch=convnext_tiny norm=gn": Rule(
        f"{DIGITS} model.arch=test_convnext",
        swap={"data=cifar10": "data=image_folder data.root=pets data.image_size=64"},
    ),
    "python train.py data=cifar10 model=torchvision model.arch=resnet18 act=mish": Rule(
        DIGITS, swap={"data=cifar10": "data=image_folder data.root=pets data.image_size=32"}
    ),
    _CIFAR: Rule("data.batch_size=10 model.width=4 trainer.max_epochs=1", swap={"data.root=cifar10": "data.root=pets"}),
    _SHAPES: Rule(SHAPES, metric=DETECTED),
    "python train.py data=shapes data.batch_size=16 box_loss=giou neck=pan": Rule(SHAPES, metric=DETECTED),
    (
        "python train.py data=shapes model=yolov3 backbone=resnet18 backbone.width=16 norm=gn loss=focal"
        " optimizer.lr=0.01"
    ): Rule(f"{SHAPES} neck.depth=1", metric=DETECTED),
    "python train.py data=mask_folder data.root=roads data.crop=256": Rule(
        "data.batch_size=2 trainer.max_epochs=1", metric="test/miou"
    ),
    "python train.py data=mask_folder data.root=streets data.colours=colours.txt 'data.merge=[car+bus:vehicle]'": Rule(
        "data.batch_size=2 trainer.max_epochs=1", metric="test/miou"
    ),
    "python train.py data=yolo_txt data.root=mine": Rule(
        "data.batch_size=2 data.image_size=64 trainer.max_epochs=1 trainer.clip_norm=1", metric=DETECTED
    ),
    (
        "python train.py data=yolo_txt data.root=mine model=retinanet optimizer.lr=0.01 augment.mosaic=0.5"
        " 'augment.multi_scale=[320,416]'"
    ): Rule(
        "backbone=resnet18 backbone.width=16 neck.width=16 model.width=16 model.depth=1 data.batch_size=2"
        " data.image_size=64 augment.multi_scale=[64,96] optimizer.lr=0.001",
        metric=DETECTED,
    ),
}

#: Several runs each, carried out in the test's own process.
SWEEPS = {
    _NORMS: Rule(
        f"model.width=4 data.limit=60 {QUICK}",
        swap={"data.batch_size=2,8,32": "data.batch_size=10,20", "seed=range(8)": "seed=0"},
        prints=("4 of norm x data.batch_size: ", "4 runs: 4 finished"),
        leaves=("outputs/norms/norm=bn,batch_size=20,*/run.json", "outputs/norms/sweep.json"),
    ),
    f"{_NORMS} sweep.dry_run=true": Rule(
        f"{NARROW} {QUICK}",
        swap={"data.batch_size=2,8,32": "", "seed=range(8)": "seed=0,1", "name=norms": "name=planned"},
        prints=("4 of norm x seed: 4 new", "estimate    4 to run"),
    ),
    "python train.py -m data=shapes nms=nms,diou_nms,soft_nms_gaussian trainer.select=last": Rule(
        f"{SHAPES} {QUICK} name=suppressors",
        prints=("3 runs: 3 finished",),
        leaves=tuple(f"outputs/suppressors/*nms={name}*/run.json" for name in ("nms", "diou_nms", "soft_nms_gaussian")),
    ),
    _SMALL_BATCH: Rule(
        QUICK,
        swap={
            "base=model=resnet20 data.batch_size=4": (
                "'base=model=resnet20 data.batch_size=10 model.width=4 data.limit=40'"
            ),
            "seeds=8": "seeds=2",
        },
        prints=("4 of norm x seed: ", "norm=gn", "report.html"),
        leaves=tuple(f"outputs/small_batch/report/report.{kind}" for kind in ("html", "md", "tex", "json")),
    ),
    "dlzoo compare 'model=resnet20 model.width=20' 'model=resnext29_8x64d model.width=16' seeds=8": Rule(
        f"{DIGITS} {QUICK} name=arms sweep.dry_run=true",
        swap={
            "model=resnet20 model.width=20": "'model=resnet20 model.width=8'",
            "model=resnext29_8x64d model.width=16": "'model=resnet20 model.width=4'",
            "seeds=8": "seeds=1",
        },
        prints=("2 of model.width: ", "estimate    2 to run"),
    ),
    _OWN_NORM: Rule(
        f"{NARROW} {QUICK}",
        swap={"seed=range(6)": "seed=0", "trainer.max_epochs=5": ""},
        prints=("3 of norm: ", "3 runs: 3 finished"),
        leaves=("outputs/own_norm/norm=rms*/parts/rms.py",),
    ),
    (
        "dlzoo compare act=sigmoid,relu base='model=mlp model.hidden=[64,64,64,64,64,64] trainer.max_epochs=10' seeds=6"
        " name=sigmoid"
    ): Rule(
        f"{DIGITS} {QUICK}",
        swap={
            "base=model=mlp model.hidden=[64,64,64,64,64,64] trainer.max_epochs=10": (
                "'base=model=mlp model.hidden=[8,8]'"
            ),
            "seeds=6": "seeds=1",
        },
        prints=("2 of act: ", "report.html"),
    ),
    (
        "dlzoo compare drop.place=after_norm,before_norm base='drop=dropout drop.rate=0.5 data.limit=300"
        " data.batch_size=32 trainer.max_epochs=30' seeds=6 name=dropout"
    ): Rule(
        f"{NARROW} {QUICK} sweep.dry_run=true",
        swap={
            "base=drop=dropout drop.rate=0.5 data.limit=300 data.batch_size=32 trainer.max_epochs=30": (
                "'base=drop=dropout drop.rate=0.5'"
            )
        },
        prints=("12 of drop.place x seed: ",),
    ),
    "python train.py experiment=box_simulation scale=tiny": Rule(
        "seeds=1 model.pairs=343 data.points=1 loss=iou,diou trainer.max_epochs=2 trainer.accelerator=cpu",
        prints=("report.html",),
    ),
    "python train.py experiment=activations scale=tiny": Rule(
        f"act=relu,mish seeds=1 {NARROW} {QUICK}",
        prints=("2 of act: ", "report.html"),
        leaves=("outputs/activations_tiny/report/report.md",),
    ),
    "dlzoo tune model=resnet20 'optimizer.lr=log(0.001,1)' 'norm=choice(bn,gn)' trials=40": Rule(
        f"{NARROW} {QUICK} name=searched",
        swap={"trials=40": "trials=2"},
        prints=("2 trials: 2 finished", "next        python train.py model=resnet20"),
        leaves=("outputs/searched/tune.png", "outputs/searched/study.db"),
    ),
}

#: The other commands of dlzoo.
OTHERS = {
    "dlzoo --help": Rule(prints=("  compare ", "  model ", "trainer.max_epochs")),
    "dlzoo --version": Rule(prints=("0.",)),
    "dlzoo tune --help": Rule(prints=("log(0.001,1)", "trials")),
    "dlzoo train --help": Rule(prints=("trainer.max_epochs", "dlzoo --help")),
    "dlzoo find vanishing gradient": Rule(prints=("  vanishing gradient  ", "experiment=plain_vs_residual")),
    "dlzoo find batchnorm": Rule(prints=("  norm=bn  ",)),
    "dlzoo list topics": Rule(prints=("receptive field ", "docs/techniques.md#losses")),
    "dlzoo show gn": Rule(prints=("norm.num_groups=32", "arXiv:1803.08494")),
    "dlzoo list model": Rule(prints=("densenet121\n", "yolov4\n")),
    "dlzoo list experiment --config-dir DIR": Rule(swap={"DIR": "lab"}, prints=("activations", "of_the_lab")),
    "dlzoo list hook": Rule(prints=("csv\ndisplay\nmlflow\ntensorboard\nwandb\n",)),
    "dlzoo show hook mlflow": Rule(prints=("hook.mlflow.tracking_uri=null", "hook.mlflow.experiment=dlzoo")),
    "dlzoo list loss": Rule(prints=("focal          classification, objects, masks\n",)),
    "dlzoo list --parts": Rule(prints=("norm  act", "drop 4/7: not dropblock, spatial, stochastic_depth")),
    "dlzoo show unet model.padding=valid": Rule(prints=("572 -> 388", "31,")),
    "dlzoo show norm gn": Rule(prints=("norm.num_groups=32", "arXiv:1803.08494")),
    "dlzoo show drop dropblock": Rule(prints=("drop.block_size=7", "drop.place=after_norm")),
    "dlzoo show executor slurm": Rule(prints=("executor.partition=null", "executor.minutes=240")),
    "dlzoo show loss focal": Rule(prints=("loss.gamma=2.0",), leaves=("outputs/show/loss_focal.png",)),
    "dlzoo show act sigmoid": Rule(prints=("logistic",), leaves=("outputs/show/act_sigmoid.png",)),
    "dlzoo show act relu": Rule(leaves=("outputs/show/act_relu.png",)),
    "dlzoo show box_loss iou": Rule(leaves=("outputs/show/*iou.png",)),
    "dlzoo show norm rms parts=./rms.py": Rule(prints=("norm.eps=1e-06",)),
    "dlzoo show augment flip data=mask_folder data.root=roads": Rule(
        "data.batch_size=2", leaves=("outputs/show/augment_flip.png",)
    ),
    "dlzoo show augment yolo augment.mosaic=0.5 data=yolo_txt data.root=mine": Rule(
        "data.batch_size=2 data.image_size=64", leaves=("outputs/show/augment_yolo_mosaic=0.5.png",)
    ),
    "dlzoo list experiment": Rule(prints=("box_simulation",)),
    "dlzoo show act mish": Rule(prints=("arXiv:1908.08681",), leaves=("outputs/show/act_mish.png",)),
    "dlzoo show schedule cosine": Rule(prints=("schedule.final=0.0",), leaves=("outputs/show/schedule_cosine.png",)),
    "dlzoo show augment strong": Rule(prints=("augment.hole_side=0.5",), leaves=("outputs/show/augment_strong.png",)),
    "dlzoo show model resnet50 norm=gn image_size=64": Rule(prints=("gn 32 groups", "64 px", "receptive field")),
    "dlzoo anchors data=shapes count=6": Rule("data.train=40 data.test=8", prints=("mean IoU", "'model.anchors=[")),
    "dlzoo lr-find model=resnet20": Rule(
        "model.width=8 trainer.accelerator=cpu low=1e-3 steps=60",
        prints=("optimizer.lr=",),
        leaves=("outputs/*lr-find*/lr_find.png", "outputs/*lr-find*/lr_find.json"),
    ),
    "dlzoo runs outputs/norms": Rule(needs=_NORMS, prints=("norm", "4 runs: 4 finished")),
    "dlzoo diff outputs/<run> outputs/<other>": Rule(
        needs=_NORMS,
        swap={
            "outputs/<run>": "outputs/norms/norm=bn,batch_size=20,*",
            "outputs/<other>": "outputs/norms/norm=gn,batch_size=20,*",
        },
        prints=("these runs differ in exactly one setting: norm\n",),
    ),
    "dlzoo report outputs/small_batch --metric f1_macro --margin 0.02": Rule(
        needs=_SMALL_BATCH, prints=("f1 macro",), leaves=("outputs/small_batch/report/report.html",)
    ),
    "dlzoo report outputs/own_norm": Rule(
        needs=_OWN_NORM, prints=("norm",), leaves=("outputs/own_norm/report/report.tex",)
    ),
    "dlzoo predict run=outputs/<run> photo.jpg": Rule(
        needs=_SHAPES, swap={"photo.jpg": "cat.jpg"}, leaves=("<run>/predictions/cat-found.png",)
    ),
    "dlzoo eval run=outputs/<run> data.cache=none": Rule(needs=_PETS, prints=("test/accuracy",)),
    "dlzoo eval run=outputs/<run>": Rule(needs=_PETS, prints=("test/accuracy",)),
    "dlzoo eval run=outputs/<run> data.test_shift=noise": Rule(needs=_PETS, prints=("test/accuracy",)),
    "dlzoo eval run=outputs/<run> data.test_shift=noise augment.test=flip": Rule(
        needs=_PETS, prints=("test/accuracy",)
    ),
    "dlzoo eval run=outputs/<run> nms=soft_nms_gaussian nms.sigma=0.3": Rule(
        needs=_SHAPES, prints=("test/map50_voc10",), leaves=("<run>/eval/*/detections.json", "<run>/eval/*/*.png")
    ),
    "dlzoo predict run=outputs/<run> cat.jpg": Rule(needs=_PETS, prints=("cat.jpg: ", "%")),
    "dlzoo predict run=outputs/<run> cat.jpg full_size=true on_bad=skip": Rule(
        needs=_SHAPES, prints=("cat.jpg: ",), leaves=("<run>/predictions/cat-found.png",)
    ),
    "dlzoo predict run=outputs/<run> cat.jpg --json": Rule(needs=_PETS, prints=('"probability"', '"cat.jpg"')),
    "dlzoo predict run=outputs/<run> cat.jpg dog.jpg": Rule(needs=_PETS, prints=("cat.jpg: ", "dog.jpg: ")),
}

#: The same line, on a page about detectors.
OF_DETECTORS = {
    "dlzoo predict run=outputs/<run> cat.jpg dog.jpg": Rule(
        needs=_SHAPES,
        prints=("cat.jpg: ", "dog.jpg: "),
        leaves=("<run>/predictions/predictions.json", "<run>/predictions/cat-found.png"),
    ),
}

#: Runs that were stopped, and go on.
RESUMED = ("dlzoo run outputs/<run>", "python train.py resume=outputs/<run>")
