"""Ten thousand services from YAML: time into the kernel, time of one change, memory."""

import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial
from ipaddress import IPv4Address
from itertools import batched, islice
from pathlib import Path

from bench.agent import Place, agent, quickstart, wait_until
from bench.figures import Figure, Run, Suite
