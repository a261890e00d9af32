"""What other programs and papers call our settings and their values; used by every suggestion (suggest.py).

Words are simplified (`nearest.simplify`): lower case, without separators. Words that are near enough to one of our
settings, or to another word here, are left out. A suggestion is checked before it is printed, so that a word may stand
for settings that only some models or data sets have.
"""

from __future__ import annotations

from dlzoo.core.nearest import simplify

#: Another word for a key -> the settings to type; {} is the value that was typed. A word with a dot is a whole key.
KEYS = {
    # Length of the training
    **dict.fromkeys(("epoch", "epochs", "nbepochs", "totalepochs", "trainepochs"), "trainer.max_epochs={}"),
    **dict.fromkeys(("steps", "step", "numsteps", "iterations", "iters", "maxiter", "updates"),
                    "trainer.max_steps={}"),
    **dict.fromkeys(("patience", "earlystoppingpatience"), "trainer.early_stopping={}"),
    # Optimizer
    **dict.fromkeys(("lr", "learningrate", "lrate", "rate", "baselr", "initlr", "maxlr", "eta"), "optimizer.lr={}"),
    **dict.fromkeys(("wd", "decay", "l2", "l2reg", "weightdecayrate", "regularisation"),
                    "optimizer.weight_decay={}"),
    **dict.fromkeys(("l1reg", "l1penalty", "lasso"), "optimizer.l1={}"),
    **dict.fromkeys(("optim", "opt", "optimiser", "solver", "algorithm"), "optimizer={}"),
    **dict.fromkeys(("betas", "beta"), "optimizer=adam optimizer.beta1={}"),
    **dict.fromkeys(("clip", "gradclip", "gradientclipval", "clipgradnorm", "maxnorm", "maxgradnorm",
                     "gradientclipping"), "trainer.clip_norm={}"),
    **dict.fromkeys(("accumulategradbatches", "gradaccum", "accum", "gradientaccumulationsteps", "accumsteps",
                     "accumulationsteps"), "trainer.accumulate={}"),
    **dict.fromkeys(("modelema", "emadecay", "averaging"), "trainer.ema={}"),
    # Schedule
    **dict.fromkeys(("scheduler", "sched", "lrscheduler", "lrschedule", "lrpolicy", "annealing"), "schedule={}"),
    **dict.fromkeys(("warmupepochs", "warmupsteps", "warmupratio", "warmuplength"), "schedule.warmup={}"),
    **dict.fromkeys(("lrsteps", "decayepochs"), "schedule=multi_step schedule.milestones={}"),
    **dict.fromkeys(("stepsize", "steplr", "lrstep"), "schedule=step schedule.every={}"),
    **dict.fromkeys(("lrdecay", "decayrate", "lrgamma"), "schedule=exponential schedule.gamma={}"),
    # Data
    **dict.fromkeys(("bs", "batch", "trainbatchsize", "minibatchsize", "globalbatchsize", "samplespergpu",
                     "imsperbatch"), "data.batch_size={}"),
    **dict.fromkeys(("dataset", "datasets", "ds", "datamodule", "database"), "data={}"),
    **dict.fromkeys(("imgsz", "imagesize", "imsize", "inputsize", "resolution", "inputresolution", "imgdim"),
                    "data=image_folder data.image_size={}"),
    **dict.fromkeys(("datadir", "datafolder", "imagedir", "imagefolder", "folder"), "data=image_folder data.root={}"),
    **dict.fromkeys(("csv", "csvfile", "csvpath", "datafile"), "data=csv data.path={}"),
    **dict.fromkeys(("label", "labelcolumn", "targetcolumn"), "data=csv data.target={}"),
    **dict.fromkeys(("valsplit", "validationsplit", "valsize", "valratio", "validationfraction", "valpercent"),
                    "data.val_fraction={}"),
    **dict.fromkeys(("subset", "maxsamples", "numsamples", "nsamples", "trainsize"), "data.limit={}"),
    **dict.fromkeys(("noisylabels", "labelcorruption", "noiserate"), "data.label_noise={}"),
    **dict.fromkeys(("imbalanceratio", "imbalancefactor", "longtail", "imbfactor"), "data.imbalance={}"),
    "balanced": "data.sampler=balanced", "oversampling": "data.sampler=balanced",
    **dict.fromkeys(("aug", "augs", "augmentation", "augmentations", "transform", "transforms", "dataaugmentation"),
                    "augment={}"),
    **dict.fromkeys(("mixupalpha", "mixupprob"), "augment.mixup={}"),
    **dict.fromkeys(("cutmixalpha", "cutmixprob"), "augment.cutmix={}"),
    **dict.fromkeys(("cutoutlength", "cutoutsize"), "augment.cutout={}"),
    # Model and loss
    **dict.fromkeys(("arch", "architecture", "network", "net", "modelname", "nn", "modeltype"), "model={}"),
    **dict.fromkeys(("imagenet", "imagenetweights"), "model.pretrained={}"),
    **dict.fromkeys(("activation", "activations", "actfn", "actlayer", "activationfn", "activationfunction",
                     "nonlinearity", "nonlin"), "act={}"),
    **dict.fromkeys(("normalization", "normalisation", "normlayer", "normtype", "norms"), "norm={}"),
    **dict.fromkeys(("batchnorm", "bn", "usebn"), "norm=bn"),
    **dict.fromkeys(("groupnorm", "gn"), "norm=gn"),
    **dict.fromkeys(("layernorm", "ln"), "norm=ln"),
    **dict.fromkeys(("dropoutrate", "droprate", "pdrop", "pdropout", "dropprob"), "drop=dropout drop.rate={}"),
    **dict.fromkeys(("droppath", "droppathrate", "stochasticdepthrate"), "drop=stochastic_depth drop.rate={}"),
    **dict.fromkeys(("initialization", "initialisation", "initializer", "initialiser", "weightinit", "kernelinit",
                     "inittype"), "init={}"),
    **dict.fromkeys(("pooling", "pooltype"), "pool={}"),
    **dict.fromkeys(("convolution", "convtype", "convlayer"), "conv={}"),
    **dict.fromkeys(("attn", "attentiontype", "selayer"), "attention={}"),
    **dict.fromkeys(("criterion", "lossfn", "lossfunction", "objective", "cost", "losstype"), "loss={}"),
    "lsr": "loss=cross_entropy loss.label_smoothing={}", "posweight": "loss=cross_entropy loss.class_weights={}",
    **dict.fromkeys(("focalgamma", "gammafocal"), "loss=focal loss.gamma={}"),
    **dict.fromkeys(("bboxloss", "regloss", "locloss"), "model=yolo_tiny data=shapes box_loss={}"),
    **dict.fromkeys(("nms.iou_threshold", "nms.iou_thr", "iouthreshold", "iouthr", "iouthres", "nmsthreshold"),
                    "model=yolo_tiny data=shapes nms=nms nms.iou={}"),
    **dict.fromkeys(("nms.score_thr", "nms.score", "conf", "confthres", "scorethr", "scorethreshold"),
                    "model=yolo_tiny data=shapes nms=nms nms.min_score={}"),
    **dict.fromkeys(("hiddenlayers", "hiddensize"), "model=mlp model.hidden={}"),
    **dict.fromkeys(("groups", "ngroups"), "norm=gn norm.num_groups={}"),
    # Settings of several entries, of which the usual one is suggested
    "drop.rate": "drop=dropout drop.rate={}", "model.hidden": "model=mlp model.hidden={}",
    "data.root": "data=image_folder data.root={}",
    "data.image_size": "data=image_folder data.image_size={}", "loss.link": "loss=mse loss.link={}",
    "schedule.gamma": "schedule=step schedule.gamma={}",
    # Machine
    **dict.fromkeys(("device", "dev", "accelerator", "hardware"), "trainer={}"),
    **dict.fromkeys(("gpus", "numgpus", "ngpu", "nprocpernode", "numdevices"), "trainer=gpu trainer.devices={}"),
    **dict.fromkeys(("gpu", "cuda", "usegpu", "usecuda"), "trainer=gpu"),
    **dict.fromkeys(("cpu", "nocuda"), "trainer=cpu"),
    **dict.fromkeys(("ddp", "distributed", "strategy"), "trainer=ddp"),
    "numnodes": "trainer.nodes={}", "dtype": "trainer.precision={}",
    **dict.fromkeys(("numthreads", "ompnumthreads"), "trainer.threads={}"),
    **dict.fromkeys(("fp16", "amp", "half", "float16", "mixedprecision", "useamp", "autocast"),
                    "trainer.precision=fp16"),
    **dict.fromkeys(("bf16", "bfloat16"), "trainer.precision=bf16"),
    **dict.fromkeys(("fp32", "float32"), "trainer.precision=fp32"),
    **dict.fromkeys(("torchcompile", "jit"), "trainer.compile={}"),
    **dict.fromkeys(("gradientcheckpointing", "gradcheckpointing", "activationcheckpointing", "gradcheckpoint",
                     "checkpointing", "usecheckpoint", "withcp"), "trainer.checkpoint_activations=true"),
    # The run
    **dict.fromkeys(("randomseed", "manualseed", "randomstate", "rngseed"), "seed={}"),
    **dict.fromkeys(("output", "out", "savedir", "logdir", "workdir", "expdir", "savepath"), "run_dir={}"),
    **dict.fromkeys(("runname", "expname", "experimentname", "exp", "tag", "project"), "name={}"),
    **dict.fromkeys(("checkpoint", "checkpointpath", "ckptpath", "weights", "loadfrom", "pretrainedpath", "restore"),
                    "init_from={}"),
    **dict.fromkeys(("freezebackbone", "frozen", "freezeencoder", "linearprobe"), "freeze=backbone"),
    **dict.fromkeys(("checkvaleverynepoch", "evalinterval", "valevery"), "trainer.validate_every_epochs={}"),
    **dict.fromkeys(("logeverynsteps", "loginterval", "logfreq", "printfreq", "logsteps"), "trainer.log_every={}"),
    **dict.fromkeys(("savetopk", "keeptopk"), "trainer.keep_best={}"),
    **dict.fromkeys(("saveevery", "saveinterval", "saveperiod", "checkpointinterval", "savefreq"),
                    "trainer.keep_every={}"),
    **dict.fromkeys(("limittrainbatches", "maxbatches"), "trainer.limit_batches={}"),
    **dict.fromkeys(("fastdevrun", "debug", "dryrun", "overfitbatches", "smoketest"), "trainer=debug"),
    **dict.fromkeys(("wandb", "usewandb"), "hooks=[tensorboard,wandb]"),
    "mlflow": "hooks=[tensorboard,mlflow]", "tensorboard": "hooks=[tensorboard]",
}  # fmt: skip

#: Another word for a key that we do not have -> what to do instead; what is between backticks is a command.
NO_KEYS = {
    **dict.fromkeys(
        ("workers", "numworkers", "nworkers", "njobs", "dataloaderworkers", "pinmemory", "persistentworkers",
         "prefetchfactor"),
        "images are decoded once and loaded without worker processes: leave it out (`dlzoo train data.cache=auto`)",
    ),
    "shuffle": "training samples are drawn in a new order in each epoch: leave it out (data.sampler changes how)",
    **dict.fromkeys(("numclasses", "nclasses", "nc", "classes", "inchannels", "inchans"),
                    "it is taken from the data: leave it out"),
    **dict.fromkeys(("logger", "loggers", "callback", "callbacks"),
                    "loggers and callbacks are hooks: hooks=[tensorboard,csv]"),
    **dict.fromkeys(("scale", "seeds", "base", "baseline", "margin"),
                    "it is a word of a comparison: `dlzoo compare experiment=bn_vs_gn scale=tiny`"),
    **dict.fromkeys(("config", "cfg", "configfile", "configname"),
                    "settings are typed, or stand in the file of an experiment: experiment=./mine.yaml"),
    **dict.fromkeys(("run", "rundirectory"), "a run is resumed by resume=DIR, or `dlzoo run DIR`"),
    **dict.fromkeys(("verbose", "quiet", "progressbar"), "progress is always shown: leave it out"),
    **dict.fromkeys(("deterministic", "cudnndeterministic", "benchmark"),
                    "runs of one seed are repeatable anyway: leave it out"),
}  # fmt: skip

#: Setting -> another word for a value -> our value.
VALUES: dict[str, dict[str, str]] = {
    "trainer.precision": {
        **dict.fromkeys(("16", "16mixed", "16true", "half", "float16", "amp", "mixed", "true"), "fp16"),
        **dict.fromkeys(("32", "32true", "float32", "full", "single", "false", "no", "highest"), "fp32"),
        **dict.fromkeys(("bf16mixed", "bf16true", "bfloat16"), "bf16"),
    },
    "trainer.accelerator": dict.fromkeys(("cuda", "cuda0", "nvidia"), "gpu"),
    "trainer.devices": dict.fromkeys(("auto", "max"), "all"),
    "trainer.select": {"final": "last"},
    "data.batch_size": dict.fromkeys(("all", "max", "fullbatch"), "full"),
    "data.sampler": {**dict.fromkeys(("weighted", "oversample", "classbalanced"), "balanced"),
                     **dict.fromkeys(("random", "shuffle", "none", "default"), "uniform")},
    "data.cache": dict.fromkeys(("ram", "true"), "memory"),
    "freeze": {**dict.fromkeys(("encoder", "body", "features", "true", "all"), "backbone"),
               **dict.fromkeys(("false", "no"), "none")},
    "data.task": {"classification": "classify", "numbers": "regress"},
    "data.scale": dict.fromkeys(("zscore", "normalize"), "standard"),
}  # fmt: skip


def key_meant(word: str) -> str:
    """Return the choice or setting that another word is a name of: "data" for "dataset"; "" for none."""
    meant = KEYS.get(simplify(word), "")
    return meant.removesuffix("={}") if meant.endswith("={}") and " " not in meant else ""
