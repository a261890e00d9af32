"""Words that are no settings, or settings that do not fit."""

from __future__ import annotations

from tests.corpus.case import Case, lines

_HUGE = "100000000000"

KINDS: dict[str, list[Case]] = {
    "names that do not exist": [
        Case("train model=resnet21", "did you mean model=resnet"),
        Case("train norm=gnn", "unknown norm 'gnn'"),
        Case("train loss=focall", "did you mean loss=focal"),
        Case("train optimizer=admw", "did you mean optimizer=adam"),
        Case("train data=cifar11", "cifar10"),
        Case("train schedule=cosin", "did you mean schedule=cosine"),
        Case("train augment=strongest", "augment 'strongest'"),
        Case("train trainer=gpus", "did you mean trainer=gpu"),
        Case("train act=gleu", "unknown act 'gleu'"),
        Case("train attention=see", "unknown attention 'see'"),
        Case("train experiment=bn_vs_gm", "bn_vs_gn"),
        Case("train -m executor=slrm seed=0,1", "did you mean executor=slurm"),
        Case("show model resnet21", "resnet"),
        Case("show norms gn", "norm"),
        Case("list models", "model"),
        Case("trian", "did you mean"),
        Case("train model=ResNet20", "resnet20"),
        Case("train model=", "model"),
        Case("train model=resnet20.py", "model"),
    ],
    "keys that do not exist": [
        Case("train optimizer.lrr=1", "did you mean optimizer.lr=1"),
        Case("train trainer.max_epoch=1", "did you mean trainer.max_epochs=1"),
        Case("train data.batchsize=1", "did you mean data.batch_size=1"),
        Case("train model.widht=3", "did you mean model.width=3"),
        Case("train loss=focal loss.gama=2", "did you mean loss.gamma=2"),
        Case("train sead=1", "seed"),
        Case("train optimiser=adam", "optimizer"),
        Case("train trainer.gpus=1", "trainer"),
        Case("train optimizer.lr.value=1", "optimizer.lr"),
        Case("train norm.groups=8 norm=gn", "did you mean norm.num_groups=8"),
        Case("train drop.rate=0.5", "drop"),
        Case("train schedule.milestones=[1]", "schedule"),
        Case("train data.root=x", "data.root"),
        Case("train --lr 0.1", "--lr"),
        Case("train -x", "-x"),
        Case("eval run=. model=resnet20", "run"),
        Case("train +model.depth=3", "model.depth"),
        Case("train ~optimizer", "optimizer"),
    ],
    "text where a number belongs": lines(
        "must be",
        *("train optimizer.lr=abc", "train optimizer.lr=0.1s", "train seed=one"),
        *("train data.batch_size=many", "train trainer.max_epochs=ten", "train model.width=wide"),
        *("train trainer.ema=yes", "train data.val_fraction=half", "train loss=focal loss.gamma=two"),
        *("train optimizer.weight_decay='5e -4'", "train norm=gn norm.num_groups=all", "train data.limit=few"),
    ),
    "fractions where whole numbers belong": lines(
        "must be",
        *("train trainer.max_epochs=1.5", "train data.batch_size=2.5", "train seed=0.5", "train model.width=3.2"),
        *("train norm=gn norm.num_groups=1.5", "train trainer.devices=0.5", "train data.limit=10.5"),
        *("train trainer.accumulate=1.5", "train trainer.log_every=0.1", "train augment.cutout=2.5"),
    ),
    "numbers out of bounds": lines(
        "must be",
        *(
            "train optimizer.lr=-1",
            "train data.batch_size=0",
            "train data.batch_size=-4",
            "train trainer.max_epochs=-1",
        ),
        *("train data.val_fraction=-0.1", "train trainer.ema=1", "train trainer.ema=-0.5"),
        *("train loss=cross_entropy loss.label_smoothing=1", "train data.label_noise=1", "train data.imbalance=0.5"),
        *("train seed=-1", "train data.test_severity=6", "train data.test_severity=0", "train trainer.threads=0"),
        *("train norm=gn norm.num_groups=0", "train drop=dropout drop.rate=1", "train trainer.accumulate=0"),
        *("train trainer.clip_norm=0", "train loss=focal loss.gamma=-1"),
    ),
    "numbers that are none": lines(
        "must be",
        *("train optimizer.lr=nan", "train optimizer.lr=inf", "train optimizer.weight_decay=-inf"),
        *("train data.val_fraction=nan", "train trainer.clip_norm=nan", "train trainer.ema=nan"),
        *("train loss=focal loss.gamma=inf", "train seed=null", "train optimizer.lr=null", "train data.imbalance=inf"),
        *("train optimizer.lr=true", "train trainer.max_epochs=false", "train data.batch_size=null"),
    ),
    "lists and mappings where one value belongs": lines(
        "must be",
        *("train optimizer.lr=[0.1]", "train seed=[1,2]", "train data.batch_size={a:1}", "train trainer.ema=[]"),
        *("train trainer.max_epochs={}", "train model.width=[16,32]", "train loss=focal loss.gamma=[2]"),
    ),
    "words of a fixed set": lines(
        "must be",
        *(
            "train data.sampler=balance",
            "train data.cache=ram",
            "train trainer.precision=fp8",
            "train data.test_shift=fog",
        ),
        *("train trainer.accelerator=tpuu", "train trainer.select=first", "train trainer.compile=maybe"),
        *("train data=csv data.delimiter=;", "train data=csv data.scale=zscore", "train data=csv data.impute=zero"),
    ),
    "sizes without end": lines(
        "from",
        *(
            f"train trainer.max_epochs={_HUGE}",
            f"train model.width={_HUGE}",
            f"train model=mlp 'model.hidden=[{_HUGE}]'",
        ),
        *(f"train data=shapes data.train={_HUGE}", f"train data=shapes data.image_size={_HUGE}"),
        *(
            f"train trainer.devices={_HUGE}",
            f"train trainer.threads={_HUGE}",
            f"train model=densenet121 model.growth_rate={_HUGE}",
        ),
        *(
            f"train data=shapes model=retinanet model.depth={_HUGE}",
            f"train data=shapes neck=bifpn neck.repeats={_HUGE}",
        ),
    ),
    "numbers of thousands of digits": lines(
        "",
        *(
            f"train {key}={'9' * 5000}"
            for key in ("seed", "trainer.max_epochs", "optimizer.lr", "data.limit", "model.width")
        ),
        f"train optimizer.lr=0.{'0' * 5000}1x",
        f"train -m 'seed=range({'9' * 5000})'",
        f"train seed=-{'1' * 5000}",
    ),
    "brackets and quotes that do not close": lines(
        "",
        *(
            "train model.hidden=[1",
            "train 'model.hidden=1]'",
            "train 'data.drop={a'",
            'train "name=\'x"',
            "train 'name=\"x'",
        ),
        *("train -m 'seed=range(3'", "train -m 'seed=choice(1,2'", "train 'model.hidden=[1,[2]'", "train 'name=${'"),
        *("train 'name=${seed'", f"train 'model.hidden={'[' * 3000}'", f"train 'model.hidden={'[' * 500}{']' * 500}'"),
    ),
    "words without a value": lines(
        "",
        *("train augment.mixup", "train optimizer.lr", "train model", "train =3", "train =", "train ''", "train 'a b'"),
        *("train norm==gn", "train optimizer..lr=1", "train .lr=1", "train optimizer.=1", "train model resnet20"),
    ),
    "the same thing twice": lines(
        "twice",
        *("train model=resnet20 model=resnet32", "train seed=1 seed=2", "train optimizer.lr=1 optimizer.lr=2"),
        *("train norm=gn norm=bn", "train trainer=cpu trainer=gpu", "train -m seed=0,1 seed=2,3"),
        *("train data.limit=5 model=mlp data.limit=5", "compare norm=bn,gn norm=in,gn"),
    ),
    "Hydra's own grammar": lines(
        "",
        *("train optimizer@x=adam", "train optimizer@optimizer=adam", "train hydra.run.dir=x", "train --config-name=x"),
        *("train hydra/launcher=basic", "train ~seed", "train --cfg job"),
        *("train --info all", "train hydra.mode=MULTIRUN"),
    ),
    "several values without -m": lines(
        "-m",
        *("train norm=bn,gn", "train seed=0,1,2", "train 'seed=range(8)'", "train 'optimizer.lr=choice(0.1,0.2)'"),
        *("train model=resnet20,resnet32 norm=gn", "train optimizer.lr=0.1,0.2"),
    ),
    "parts that a model does not support": lines(
        "does not support",
        *("train model=alexnet attention=se", "train model=linear norm=gn", "train model=linear attention=se"),
        *("train model=mlp attention=se", "train model=linear act=mish", "train model=mlp conv=separable"),
        *("train model=vgg16 neck=fpn", "train model=resnet20 backbone=resnet18", "train model=resnet20 box_loss=ciou"),
        *("train model=resnet20 nms=nms", "train model=linear drop=dropout"),
    ),
    "losses and models of another task": lines(
        "",
        "train data=diabetes loss=cross_entropy",
        *("train data=diabetes model=resnet20", "train data=digits model=yolov3", "train data=shapes loss=mse"),
        *("train data=shapes model=mlp", "train data=wine model=resnet20", "train data=wine model=yolov3"),
        *("train data=diabetes augment=flip_crop", "train data=wine augment.mixup=0.2 augment=strong"),
    ),
    "settings that do not suit the data": lines(
        "",
        *("train data=diabetes data.imbalance=10", "train data=diabetes data.label_noise=0.1"),
        *("train data=diabetes data.sampler=balanced", "train data=wine data.test_shift=noise"),
        *("train data.batch_size=100000", "train data.limit=1", "train data.val_fraction=0.0001"),
        *("train data.limit=30 data.batch_size=64", "train trainer.accumulate=3", "train trainer.accumulate=128"),
        *("train norm=in model=mlp", "train data.batch_size=1 data.limit=20 model=mlp norm=bn"),
    ),
}

_WITH_TORCH = (
    "parts that a model does not support",
    "losses and models of another task",
    "settings that do not suit the data",
)
WITHOUT_TORCH = [kind for kind in KINDS if kind not in _WITH_TORCH]
