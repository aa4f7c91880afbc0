"""``python -m wardian``."""

import sys

from wardian.cli.main import main

sys.exit(main())
