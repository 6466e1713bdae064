"""A verifier's log becomes an error at the plugin's own line."""

from pathlib import Path

import pytest

from plait.core.kernel.bpfobject import VerifierRefused
from plait.core.kernel.verifier import Header, explain

SOURCE = """\
static int lb_service(void)
{
	return slot->port;
}
"""

INVALID_ACCESS = """\
0: R1=ctx() R10=fp0
; if (!service) @ lb.h:1
1: (b7) r1 = 0                        ; R1=0
; return slot->port; @ lb.h:3
from 9 to 16: R0=map_value_or_null(id=1,map=lb_slots,ks=16,vs=20)
16: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 10 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
"""

TOO_COMPLEX = """\
; return slot->port; @ lb.h:3
BPF program is too large. Processed 1000001 insn
processed 1000001 insns (limit 1000000) max_states_per_insn 40 total_states 9 peak_states 9
"""


ENDLESS = """\
; return slot->port; @ lb.h:3
9: (85) call bpf_get_prandom_u32#7    ; R0=scalar()
infinite loop detected at insn 9
cur state: R0=scalar() R10=fp0
old state: R0=scalar() R10=fp0
processed 10 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
"""

STACK = """\
combined stack size of 5 calls is 576. Too large
verification time 91 usec
stack depth 64+0+288+0
processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


@pytest.fixture
def headers(tmp_path: Path) -> dict[str, Header]:
    path = tmp_path / "lb.h"
    path.write_text(SOURCE)
    return {"lb.h": Header(plugin="lb", path=path)}


def test_the_error_names_plugin_line_and_reason(headers: dict[str, Header]) -> None:
    error = explain(VerifierRefused("pod_egress", INVALID_ACCESS), headers)

    assert error.what == (
        "plugin lb: the kernel's verifier refused pod_egress: "
        "R0 invalid mem access 'map_value_or_null'"
    )
    assert str(error.at) == f"{headers['lb.h'].path}:3:2"
    assert error.at and error.at.width == len("return slot->port;")


def test_before_linux_6_10_the_line_is_found_by_its_text(headers: dict[str, Header]) -> None:
    log = INVALID_ACCESS.replace(" @ lb.h:1", "").replace(" @ lb.h:3", "")

    error = explain(VerifierRefused("pod_egress", log), headers)

    assert error.what.startswith("plugin lb: ")
    assert error.at and error.at.line == 3


def test_a_line_of_a_file_that_is_nobodys_is_shown_as_it_is() -> None:
    error = explain(VerifierRefused("pod_egress", INVALID_ACCESS), {})

    assert error.what.startswith("the kernel's verifier refused pod_egress: R0")
    assert str(error.at) == "lb.h:3:1"


def test_a_program_that_is_too_complex_says_how_much(headers: dict[str, Header]) -> None:
    error = explain(VerifierRefused("pod_egress", TOO_COMPLEX), headers)

    assert "BPF program is too large" in error.what
    assert error.expected and "processed 1000001" in error.expected
    assert error.hint


def test_an_empty_log_is_no_crash() -> None:
    error = explain(VerifierRefused("pod_egress", ""), {})

    assert error.what.endswith("it gave no reason")
    assert error.at is None


def test_a_loop_without_an_end_is_told_without_the_states_of_the_verifier(
    headers: dict[str, Header],
) -> None:
    error = explain(VerifierRefused("pod_egress", ENDLESS), headers)

    assert error.what.endswith("refused pod_egress: infinite loop detected at insn 9")
    assert error.at and error.at.line == 3
    assert error.hint == "give it a constant bound, or use bpf_loop()"


def test_too_much_stack_names_whose_fragments_share_it(headers: dict[str, Header]) -> None:
    core = {"plait.h": Header(plugin="core", path=headers["lb.h"].path)}

    error = explain(VerifierRefused("pod_egress", STACK), core | headers)

    assert "combined stack size of 5 calls is 576. Too large" in error.what
    assert error.expected and error.expected.endswith("through the fragments of lb")
