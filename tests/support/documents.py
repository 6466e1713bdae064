"""Objects as text, and what is made of it."""

from pathlib import Path
from textwrap import dedent

from plait.core.api import Object
from plait.core.objects.kinds import KINDS
from plait.core.objects.parse import Parsed, kind_table, parse_text

FILE = Path("objects.yaml")

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  clusterIPs: [10.96.0.1, fd00::1]
  ports:
    - {name: http, port: 80, targetPort: web-port}
    - {name: dns, port: 53, targetPort: 5353, protocol: UDP}
"""

ENDPOINT = """\
apiVersion: plait/v1
kind: Endpoint
metadata: {name: db, labels: {app: db}}
spec:
  interface: pl0
  addresses: [10.244.1.5, fd00:10:244:1::5]
  mac: 0a:58:0a:f4:01:05
"""


def parse(text: str, *kinds: type[Object], first_line: int = 1) -> Parsed:
    return parse_text(dedent(text), FILE, kind_table((*KINDS, *kinds)), first_line=first_line)


def complaints(text: str) -> list[str]:
    return [str(problem) for problem in parse(text).problems]
