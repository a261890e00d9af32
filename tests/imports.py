"""Import everything that a command may need; `tests.processes` forks from a process that has done so."""

import gc
import pkgutil
from importlib import import_module

import torch

import dlzoo

torch.set_num_threads(1)
for module in pkgutil.walk_packages(dlzoo.__path__, "dlzoo."):
    if not module.name.startswith("dlzoo.show"):  # looks into registries, before the plug-ins of a test are there
        import_module(module.name)

# What has been imported stays: collections skip it, and children share its pages with this process.
gc.collect()
gc.freeze()
