"""Plan to C: the glue around the plugins' headers, one file per hook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import jinja2

from plait.core.api.contract import Hook, KernelFeature, Stage
from plait.core.plan.model import HookPlan, Plan, Step

GC = "plait_gc"
"""Name of the program that forgets idle flows; not attached, but run by the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the engine must know of a hook.

    `zone` is the C expression for where its packets enter (plait_flow.h), `owner` the address by
    which a new flow is an endpoint's (none: the fragments say so themselves), `to_pod` whether the
    packets are on their way into a pod already, `opens` whether flows begin here.
    """

    zone: str
    owner: str | None
    to_pod: bool = False
    opens: bool = True


PLACES = {
    Hook.NETDEV_INGRESS: Place(zone="PLAIT_ZONE_OUTSIDE", owner=None),
    Hook.NETDEV_EGRESS: Place(zone="PLAIT_ZONE_HOST", owner=None, opens=False),
    Hook.POD_EGRESS: Place(zone="ctx->ifindex", owner="saddr"),
    Hook.POD_INGRESS: Place(zone="PLAIT_ZONE_HOST", owner="daddr", to_pod=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketHook:
    """What is generated for a hook of sockets: a program for each family, NAME4 and NAME6.

    `call` is what libbpf knows it by, in the name of a section. `refuses`: the call can fail.
    `mapped`: the kernel asks the IPv6 program about IPv4 addresses, too, when an IPv6 socket has
    them; it asks the IPv4 program of a hook that is not.
    """

    name: str
    call: str
    refuses: bool
    mapped: bool

    def program(self, family: int) -> str:
        """The name of the program for calls of one family."""
        return f"{self.name}{family}"


SOCKETS = {
    Hook.SOCK_CONNECT: SocketHook(name="sock_connect", call="connect", refuses=True, mapped=True),
    Hook.SOCK_SENDMSG: SocketHook(name="sock_sendmsg", call="sendmsg", refuses=True, mapped=False),
    Hook.SOCK_RECVMSG: SocketHook(name="sock_recvmsg", call="recvmsg", refuses=False, mapped=True),
    Hook.SOCK_GETPEERNAME: SocketHook(  # the kernel cuts longer names
        name="sock_getpeer", call="getpeername", refuses=False, mapped=True
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketProgram:
    """One program of a hook of sockets. `only`: the one family of addresses that it is for."""

    name: str
    section: str
    family: int
    only: int | None


CALLS = {
    "admit": (Stage.ADMIT,),
    "service": (Stage.SERVICE,),
    "policy": (Stage.IDENTITY, Stage.POLICY),
    "route": (Stage.ROUTE, Stage.ENCRYPT),
    "apply": (Stage.APPLY,),
}
"""The engine's calls into the stages: replies skip service and policy, so these stand alone."""


def render(plan: Plan) -> dict[str, str]:
    """C source by program name; the same plan gives the same bytes."""
    environment = _environment()
    hook_template = environment.get_template("hook.c.j2")
    sock_template = environment.get_template("sock.c.j2")
    sources = {}
    for hook in plan.hooks:
        if hook.hook.at_sockets:
            source = sock_template.render(_sock(plan, hook))
        else:
            source = hook_template.render(_hook(plan, hook))
        sources[hook.hook.value] = _numbered(source)
    gc_template = environment.get_template("gc.c.j2")
    sources[GC] = gc_template.render(
        plan=plan, headers=_headers(plan, ()), families=plan.flow_families
    )
    return sources


@cache
def _environment() -> jinja2.Environment:
    """Kept: to compile the templates takes ten times as long as to fill them."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("plait.codegen"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML
    )


def _numbered(source: str) -> str:
    """Let each `#line 0` say the number of the line after it: from there on the text is our own."""
    return "\n".join(
        line.replace("#line 0 ", f"#line {number} ", 1) if line.startswith("#line 0 ") else line
        for number, line in enumerate(source.split("\n"), start=2)
    )


def _hook(plan: Plan, hook: HookPlan) -> dict[str, object]:
    stages = [(call, _steps(hook, stages)) for call, stages in CALLS.items()]
    return {
        "plan": plan,
        "hook": hook,
        "headers": _headers(plan, hook.steps),
        "families": plan.families,
        "stages": stages,
        "attachment": PLACES[hook.hook],
        "per_packet": bool(_steps(hook, (Stage.ADMIT, Stage.APPLY))),
    }


def _sock(plan: Plan, hook: HookPlan) -> dict[str, object]:
    kind = SOCKETS[hook.hook]
    return {
        "plan": plan,
        "hook": hook,
        "headers": ("plait_sock.h", *_headers(plan, hook.steps)),
        "programs": tuple(_socket_programs(kind, plan.families)),
        "refusal": _refusal(kind, plan),
    }


def _refusal(kind: SocketHook, plan: Plan) -> str:
    """What a program returns when a fragment refuses the call."""
    if not kind.refuses:
        return "PLAIT_SOCK_GO_ON"
    told = plan.kernel.get(KernelFeature.SOCK_ERRNO, False)
    return "plait_sock_fail(&sock)" if told else "PLAIT_SOCK_FAIL"


def _socket_programs(kind: SocketHook, families: tuple[int, ...]) -> Iterator[SocketProgram]:
    for family in (4, 6):
        met = (4, 6) if family == 6 and kind.mapped else (family,)
        wanted = tuple(each for each in met if each in families)
        if wanted:
            yield SocketProgram(
                name=kind.program(family),
                section=f"cgroup/{kind.call}{family}",
                family=family,
                only=wanted[0] if wanted != met else None,
            )


def _steps(hook: HookPlan, stages: Iterable[Stage]) -> tuple[Step, ...]:
    wanted = tuple(stages)
    return tuple(step for step in hook.steps if step.stage in wanted)


def _headers(plan: Plan, steps: Iterable[Step]) -> tuple[str, ...]:
    parts = (part.header for part in plan.parts)
    fragments = (step.fragment.header for step in steps)
    return tuple(sorted({*parts, *fragments}))
