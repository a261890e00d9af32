"""The door: python train.py model=densenet121 norm=gn (the same as `dlzoo train ...`)."""

import sys

from dlzoo.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
