"""Words that are no settings."""

from __future__ import annotations

from tests.corpus.case import Case, lines

KINDS: dict[str, list[Case]] = {
    "names that do not exist": [
        Case("train model=resnet21", "did you mean resnet"),
        Case("train norm=gnn", "norm=gnn"),
        Case("train loss=focall", "focal"),
        Case("train optimizer=admw", "adamw"),
        Case("train data=cifar11", "cifar10"),
        Case("train schedule=cosin", "cosine"),
        Case("train augment=strongest", "augment=strongest"),
        Case("train trainer=gpus", "gpu"),
        Case("train act=gleu", "act=gleu"),
        Case("train experiment=none", "experiment"),
        Case("show model resnet21", "resnet"),
        Case("show norms gn", "norm"),
        Case("list models", "model"),
        Case("trian", "train"),
        Case("train -m executor=slrm", "slurm"),
    ],
    "keys that do not exist": lines("did you mean", "train optimizer.lrr=1", "train trainer.max_epoch=1",
                                    "train data.batchsize=1", "train model.widht=3", "train loss.gama=2 loss=focal"),
}  # fmt: skip
