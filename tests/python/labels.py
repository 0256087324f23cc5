"""The label of each file named on the command line, one a line, as the package itself gives it."""

import sys
from pathlib import Path

from magika import Magika

magika = Magika()
for path in sys.argv[1:]:
    print("label", magika.identify_bytes(Path(path).read_bytes()).output.label)
