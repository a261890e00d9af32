"""What other programs and papers call our names and commands; used by every suggestion.

Words are simplified (`nearest.simplify`): lower case, without separators. Words that are near enough to one of our
names are left out. Settings are in config/other_keys.py.
"""

from __future__ import annotations

_OFF = dict.fromkeys(("false", "no", "off", "identity"), "none")

#: Choice -> another word for a name -> our name.
NAMES: dict[str, dict[str, str]] = {
    "norm": {
        **_OFF,
        **dict.fromkeys(("batch", "batchnorm", "batchnorm1d", "batchnorm2d", "batchnormalization"), "bn"),
        **dict.fromkeys(("group", "groupnorm", "groupnormalization"), "gn"),
        **dict.fromkeys(("layer", "layernorm", "layernormalization"), "ln"),
        **dict.fromkeys(("instance", "instancenorm", "instancenorm2d"), "in"),
        "syncbatchnorm": "sync_bn", "localresponsenorm": "lrn", "crossiterationbn": "cmbn", "cbn": "cmbn",
    },
    "act": {
        "silu": "swish", "hswish": "hard_swish", "lrelu": "leaky_relu",
        "rectifier": "relu", "logistic": "sigmoid", "gaussianerrorlinearunit": "gelu",
    },
    "conv": {
        "depthwiseseparable": "separable", "dwconv": "depthwise", "atrous": "dilated", "group": "grouped",
        "conv2d": "standard", "local": "locally_connected", "factorized": "asymmetric",
    },
    "attention": {
        **_OFF, "squeezeexcitation": "se", "squeezeandexcitation": "se", "senet": "se", "mhsa": "self_attention",
        "multihead": "self_attention", "channel": "se",
    },
    "pool": {"maxpool": "max", "maxpool2d": "max", "avgpool": "avg", "average": "avg", "mean": "avg",
             "strided": "conv"},
    "drop": {
        **_OFF, "dropout2d": "spatial", "droppath": "stochastic_depth", "layerdrop": "stochastic_depth",
        "channel": "spatial", "uout": "uniform",
    },
    "head": {
        "globalaveragepooling": "gap", "avgpool": "gap", "linear": "gap", "fullyconnected": "fc", "dense": "fc",
        "mlp": "fc",
    },
    "neck": {**_OFF, "featurepyramid": "fpn", "panet": "pan", "pafpn": "pan", "add": "fpn"},
    "upsample": {"deconv": "transposed", "deconvolution": "transposed", "convtranspose": "transposed",
                 "linear": "bilinear", "nn": "nearest"},
    "init": {
        "kaiming": "he", "kaimingnormal": "he", "kaiminguniform": "he", "henormal": "he", "msra": "he",
        "xavier": "glorot", "xavieruniform": "glorot", "xaviernormal": "glorot", "gaussian": "normal",
    },
    "loss": {
        **dict.fromkeys(("ce", "crossentropyloss", "softmax", "xent", "categoricalcrossentropy", "logloss",
                         "logistic"), "cross_entropy"),
        **dict.fromkeys(("bceloss", "bcewithlogits", "bcewithlogitsloss", "binarycrossentropy"), "bce"),
        **dict.fromkeys(("l2", "meansquarederror", "mseloss", "squarederror", "leastsquares"), "mse"),
        **dict.fromkeys(("mae", "l1loss", "absolute", "meanabsoluteerror"), "l1"),
        "focalloss": "focal", "nllloss": "nll", "svm": "hinge", "margin": "hinge", "01": "zero_one",
        "smoothl1loss": "smooth_l1", "huberloss": "huber", "adaboost": "exponential",
        **dict.fromkeys(("lovaszsoftmax", "jaccard", "miou"), "lovasz"), **dict.fromkeys(("combo", "combined"), "sum"),
    },
    "box_loss": {"l2": "mse", "mae": "l1", "giouloss": "giou", "ciouloss": "ciou", "iouloss": "iou"},
    "nms": {"softnms": "soft_nms_gaussian", "soft": "soft_nms_gaussian", "greedy": "nms", "diou": "diou_nms",
            "standard": "nms", "hard": "nms"},
    "optimizer": {
        "heavyball": "momentum", "sgdm": "momentum", "nag": "nesterov", "gradientdescent": "sgd",
        "adamwdecoupled": "adamw", "rms": "rmsprop",
        "sharpnessawareminimization": "sam", "newtonraphson": "newton",
    },
    "schedule": {
        **dict.fromkeys(("cosineannealing", "cosineannealinglr", "cosinedecay"), "cosine"),
        "stepdecay": "step", "milestones": "multi_step",
        **dict.fromkeys(("1cycle", "super"), "one_cycle"),
        **dict.fromkeys(("reducelronplateau", "reduceonplateau"), "plateau"),
        **dict.fromkeys(("exponentiallr", "exp"), "exponential"),
        **dict.fromkeys(("linear", "lineardecay"), "polynomial"),
        **dict.fromkeys(("none", "fixed", "false", "off"), "constant"),
    },
    "data": {
        "fmnist": "fashion_mnist", "voc": "voc0712", "pascal": "voc0712", "pascalvoc": "voc0712",
        "yolo": "yolo_txt", "labelimg": "voc_xml", "images": "image_folder", "table": "csv",
        "tabular": "csv", "sin": "sine", "cifar": "cifar10", "sklearndigits": "digits",
        "breastcancerwisconsin": "breast_cancer", "simplecsv": "csv", "tsv": "csv",
        "masks": "mask_folder", "vocsegmentation": "voc2012_seg", "oxfordiiitpet": "oxford_pets",
    },
    "augment": {
        **_OFF, "standard": "flip_crop", "basic": "flip_crop", "randomcrop": "crop", "horizontalflip": "flip",
        "autoaugment": "randaugment", "randomresizedcrop": "resized_crop", "blur": "gaussian",
    },
    "model": {
        "densenet": "densenet121", "vgg": "vgg16", "wideresnet": "wrn_28_10", "wrn": "wrn_28_10",
        "mobilenet": "mobilenet_v2", "shufflenet": "shufflenet_v2_x1_0", "inception": "googlenet",
        "inceptionv1": "googlenet", "hrnet": "hrnet_w18", "ssd": "ssd300", "yolo": "yolo_tiny",
        "resnext": "resnext29_8x64d", "resnext50": "resnext50_32x4d", "resnext101": "resnext101_32x8d",
        "resnext29": "resnext29_8x64d", "networkinnetwork": "nin",
        **dict.fromkeys(("logistic", "logisticregression", "softmaxregression", "linearregression", "perceptron"),
                        "linear"),
        **dict.fromkeys(("fc", "dense", "fullyconnected", "feedforward", "multilayerperceptron"), "mlp"),
        "fasterrcnnresnet50fpn": "faster_rcnn",
        **dict.fromkeys(("cnn", "resnet"), "resnet20"),
    },
    "trainer": {
        **dict.fromkeys(("cuda", "cuda0", "nvidia", "0"), "gpu"),
        **dict.fromkeys(("distributed", "multigpu"), "ddp"),
        "fast": "debug", "test": "debug", "default": "auto",
    },
    "executor": {"submitit": "slurm", "joblib": "local", "process": "local", "processes": "local", "cluster": "slurm"},
    "hook": {"tb": "tensorboard", "weightsandbiases": "wandb", "progress": "display", "progressbar": "display"},
}  # fmt: skip
NAMES["backbone"] = {word: name for word, name in NAMES["model"].items()
                     if name not in ("lenet", "linear", "mlp", "ssd300", "yolo_tiny", "faster_rcnn")}  # fmt: skip

_TIMM = (
    "networks of torchvision and timm are chosen by model=torchvision model.arch=NAME and model=timm model.arch=NAME"
)

#: Choice -> names that we do not have -> what to do instead.
NO_NAMES = {
    "model": dict.fromkeys(
        ("vit", "vitb16", "visiontransformer", "transformer", "swin", "swint", "convnext", "convnexttiny",
         "efficientnet", "efficientnetb0", "regnet", "squeezenet", "mnasnet", "deit", "inceptionv3", "mobilenetv3",
         "mobilenetv3large", "mobilenetv3small", "senet"), _TIMM),
    "data": {
        "mnist": "data=digits is similar (8 px, no download), and so is data=fashion_mnist data.download=true (28 px)",
        **dict.fromkeys(("imagenet", "imagenet1k", "tinyimagenet", "stl10", "svhn", "food101", "pets", "flowers"),
                        "data=image_folder data.root=FOLDER reads images from a folder for each class"),
        "iris": "data=wine and data=breast_cancer are similar tables of classes",
        **dict.fromkeys(("boston", "california", "californiahousing", "housing", "bostonhousing"),
                        "data=diabetes is a similar table of numbers to predict; data=csv reads your own"),
    },
}  # fmt: skip

#: Choice -> the settings to type for a number: drop=0.5.
NUMBERS = {"drop": "drop=dropout drop.rate={}", "optimizer": "optimizer.lr={}"}

#: Another word for a command -> what to type after `dlzoo`.
COMMANDS = {
    "resume": "run", "continue": "run", "restart": "run", "fit": "train", "learn": "train", "test": "eval",
    "evaluate": "eval", "validate": "eval", "infer": "predict", "inference": "predict", "detect": "predict",
    "ls": "list", "models": "list model", "datasets": "list data", "losses": "list loss",
    "optimizers": "list optimizer", "experiments": "list experiment", "info": "show", "describe": "show",
    "summary": "show", "plot": "show", "history": "runs", "status": "runs", "sweep": "train -m",
    "multirun": "train -m", "grid": "train -m", "benchmark": "compare", "ablate": "compare", "ablation": "compare",
    "search": "find", "topics": "list topics", "topic": "find", "hpo": "tune", "optimize": "tune",
    "findlr": "lr-find", "html": "report",
}  # fmt: skip
