"""`python -m train`."""

import sys

# Workers that decode import this file too; they need nothing of what follows.
if __name__ == "__main__":
    from train.cli import main

    sys.exit(main(sys.argv[1:]))
