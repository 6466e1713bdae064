"""`python -m plait.core.lab.traffic`: one tool per verb, one JSON object at the end."""

import argparse
import json
from dataclasses import asdict

from plait.core.lab.traffic.base import Target, Until
from plait.core.lab.traffic.connect import Connected, connect
from plait.core.lab.traffic.hold import Held, Hold
from plait.core.lab.traffic.serve import Served, Server
from plait.core.lab.traffic.stream import Stream, Streamed

ANYWHERE = (Target(host="0.0.0.0", port=8080), Target(host="::", port=8080))


def main() -> None:
    args = _parser().parse_args()
    until = Until(args.seconds)
    print(json.dumps(asdict(_run(args, until))), flush=True)


def _run(args: argparse.Namespace, until: Until) -> Served | Streamed | Held | Connected:
    match args.tool:
        case "serve":
            listen = args.listen or ANYWHERE
            server = Server(args.name, listen, tell_client=args.tell_client)
            print(json.dumps({"listening": [str(target) for target in listen]}), flush=True)
            return server.run(until)
        case "stream":
            stream = Stream(args.target, rate=args.rate, size=args.size)
            return stream.run(until, grace=args.grace)
        case "hold":
            hold = Hold(args.target, count=args.count, interval=args.interval, limit=args.limit)
            return hold.run(until)
        case _:
            return connect(args.target, until, timeout=args.timeout)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m plait.core.lab.traffic", description=__doc__)
    tools = parser.add_subparsers(dest="tool", required=True)
    timed = argparse.ArgumentParser(add_help=False)
    timed.add_argument("--seconds", type=float, help="end after this time; default: at SIGTERM")
    aimed = argparse.ArgumentParser(add_help=False, parents=[timed])
    aimed.add_argument("target", type=Target.parse, help="ADDR:PORT")

    serve = tools.add_parser("serve", parents=[timed], help="echo with a name")
    serve.add_argument("--name", required=True, help="what every answer begins with")
    serve.add_argument("--listen", type=Target.parse, action="append", help="ADDR:PORT, repeatable")
    serve.add_argument("--tell-client", action="store_true", help="answer as NAME@CLIENT'S ADDRESS")

    stream = tools.add_parser("stream", parents=[aimed], help="numbered UDP, there and back")
    stream.add_argument("--rate", type=float, default=1000, help="datagrams per second")
    stream.add_argument("--size", type=int, default=64, help="bytes of payload")
    stream.add_argument("--grace", type=float, default=1.0, help="seconds to wait for the last")

    hold = tools.add_parser("hold", parents=[aimed], help="TCP connections that stay")
    hold.add_argument("--count", type=int, default=200, help="connections")
    hold.add_argument("--interval", type=float, default=0.1, help="seconds between messages")
    hold.add_argument("--limit", type=float, default=1.0, help="seconds after which one stalls")

    short = tools.add_parser("connect", parents=[aimed], help="TCP connections that ask once")
    short.add_argument("--timeout", type=float, default=1.0, help="seconds per connection")
    return parser


if __name__ == "__main__":
    main()
