"""`python -m hybrid_attention`."""

import sys

from hybrid_attention.cli import main

sys.exit(main())
