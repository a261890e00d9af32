"""The door: python train.py model=densenet121 norm=gn (the same as `dlzoo train ...`)."""

import sys

try:
    from dlzoo.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"dlzoo: {error}; type `make train` once, then `source .venv/bin/activate`")

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
