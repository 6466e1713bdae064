"""A plugin from outside the tree does what a bundled one does; a broken one is named."""

import json
import os
import subprocess
import sys
from io import BytesIO
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from plait.codegen.compile import find_compiler
from plait.core.api import Entry, PlaitError
from plait.core.config.load import load_config
from plait.core.errors import Position
from plait.core.objects.kinds import KINDS
from plait.core.objects.parse import kind_table, parse_text
from support.plugin_example import EXAMPLE, Copy


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the plugin's package is installed in."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(EXAMPLE)], check=True)
    return target


@pytest.fixture
def quota(tmp_path: Path) -> Copy:
    """A copy of the plugin that is this test's own."""
    return Copy.make(tmp_path / "plugins.d")


def plait(installed: Path, *arguments: str) -> str:
    """What `plait` prints where the plugin is installed."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "plait", *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_an_installed_plugin_is_listed(installed: Path) -> None:
    plugins = json.loads(plait(installed, "plugin", "list", "--json"))

    [quota] = [each for each in plugins if each["name"] == "quota"]
    assert quota["version"] == "1.0"
    assert quota["features"] == ["quota"]


def test_its_keys_are_in_the_schema(installed: Path) -> None:
    schema = json.loads(plait(installed, "schema"))

    keys = schema["properties"]["features"]["properties"]["quota"]["properties"]
    assert list(keys) == ["enforce", "destinations", "growth"]


def test_a_config_with_its_feature_is_valid(installed: Path) -> None:
    said = plait(installed, "validate", "-c", str(EXAMPLE / "plait.yaml"))

    assert "features: quota, routing" in said


def test_its_fragments_are_in_the_generated_program(installed: Path, tmp_path: Path) -> None:
    plait(installed, "render", "-c", str(EXAMPLE / "plait.yaml"), "-o", str(tmp_path))

    source = (tmp_path / "pod_egress.c").read_text()
    assert '#include "quota.h"' in source
    assert "quota_look_up(ctx, pkt, flow, &parts->quota_flow)" in source
    assert "quota_spend(ctx, pkt, flow, &parts->quota_flow)" in source


def test_what_is_rendered_compiles_by_itself_to_what_would_run(quota: Copy, tmp_path: Path) -> None:
    out = tmp_path / "c"
    verb = ("--plugins-dir", quota.folder.parent, "render", "-c", EXAMPLE / "plait.yaml", "-o", out)
    for _ in range(2):  # a folder that was rendered to before will do
        subprocess.run([sys.executable, "-m", "plait", *verb], check=True, capture_output=True)

    clang = [find_compiler(), "@compile_flags.txt", "-c", "pod_egress.c"]
    subprocess.run(clang, cwd=out, check=True)

    compiled = quota.prepare().compiled.objects["pod_egress"]
    assert _code((out / "pod_egress.o").read_bytes()) == _code(compiled)


def test_its_objects_become_entries_of_its_map(quota: Copy) -> None:
    plugins = quota.load()
    file = EXAMPLE / "quotas.yaml"
    config = load_config(EXAMPLE / "plait.yaml", plugins.features())

    parsed = parse_text(file.read_text(), file, kind_table((*KINDS, *plugins.kinds())))
    [handler] = plugins.handlers(config)
    wanted = list(handler.wanted("default/license-server", parsed.objects))

    server = IPv4Address("192.0.2.7")
    assert wanted == [
        Entry(
            map="quota_limits",
            key={"addr": server, "port": 443, "proto": 6},
            value={"packets": 1000},
            touches=(server,),
        )
    ]


def test_a_mistake_in_its_object_is_named_with_its_place(quota: Copy) -> None:
    text = (EXAMPLE / "quotas.yaml").read_text().replace("port: 443", "port: https")

    parsed = parse_text(text, Path("quotas.yaml"), kind_table(quota.load().kinds()))

    [problem] = parsed.problems
    assert (
        str(problem) == "quotas.yaml:7:9: port is 'https'; expected a whole number from 1 to 65535"
    )


def test_a_plugin_that_raises_when_imported_is_named(quota: Copy) -> None:
    line = quota.edit(quota.module, "PROTOCOLS = {", "raise OSError('no disk')\nX = {")

    with pytest.raises(PlaitError) as refused:
        quota.load()

    assert refused.value.what == "plugin 'quota' failed to load: OSError: no disk"
    assert refused.value.at == Position(file=quota.module, line=line)


def test_a_plugin_that_raises_when_asked_is_named(quota: Copy) -> None:
    line = quota.edit(quota.module, "headers=Path(__file__)", "headers=Path(__path__[7])")

    with pytest.raises(PlaitError) as refused:
        quota.plan()

    what = "plugin 'quota' failed in plait_contribute: IndexError: list index out of range"
    assert refused.value.what == what
    assert refused.value.at == Position(file=quota.module, line=line)


def test_c_that_does_not_compile_is_named_with_its_place(quota: Copy) -> None:
    line = quota.edit(quota.header, "part->sent++;", "part->parrots++;")

    with pytest.raises(PlaitError) as refused:
        quota.prepare()

    what = "plugin 'quota' does not compile: no member named 'parrots' in 'struct quota_flow'"
    assert refused.value.what == what
    assert refused.value.at == Position(file=quota.header, line=line, column=8)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("quota_spend(plait_ctx *ctx", "quota_spend(int mode, plait_ctx *ctx", "too few arguments"),
        ("quota_spend(plait_ctx *ctx", "quota_spend(struct quota_key *ctx", "incompatible pointer"),
    ],
    ids=["a-parameter-more", "another-parameter"],
)
def test_a_fragment_of_another_signature_is_named_where_it_is_defined(
    quota: Copy, before: str, after: str, says: str
) -> None:
    line = quota.edit(quota.header, before, after)

    with pytest.raises(PlaitError) as refused:
        quota.prepare()

    assert refused.value.what.startswith("plugin 'quota' does not compile: ")
    assert says in refused.value.what
    assert refused.value.expected == (
        "expected a fragment, called as quota_spend(ctx, pkt, flow, &parts->quota_flow)"
    )
    assert refused.value.at == Position(
        file=quota.header, line=line, column=len("static __always_inline int ") + 1, width=11
    )


def test_fragments_that_wait_for_each_other_are_named(quota: Copy) -> None:
    quota.edit(quota.module, "Stage.APPLY", "Stage.POLICY")
    both = "{'quota_look_up', 'quota_spend'}"
    quota.edit(quota.module, "stage=stage,", f"stage=stage, after=(*({both} - {{function}}),),")

    with pytest.raises(PlaitError) as refused:
        quota.plan()

    assert "at pod_egress, policy wait for each other" in refused.value.what
    assert "quota_look_up (quota)" in refused.value.what
    assert "quota_spend (quota)" in refused.value.what


def test_two_plugins_with_a_map_of_one_name_are_named(quota: Copy, tmp_path: Path) -> None:
    Copy.make(quota.folder.parent, "quota_b")
    quota.edit(quota.module, 'name="quota_limits"', 'name="quota_b_limits"')
    config = tmp_path / "plait.yaml"
    config.write_text((EXAMPLE / "plait.yaml").read_text() + "  quota_b: {}\n")

    with pytest.raises(PlaitError) as refused:
        quota.plan(config)

    assert refused.value.what == (
        "'quota_b_limits' is a map of plugin 'quota' and a map of plugin 'quota_b'"
    )


def test_two_plugins_with_one_feature_are_named(quota: Copy) -> None:
    other = Copy.make(quota.folder.parent, "quota_b")
    other.edit(other.module, 'key="quota_b"', 'key="quota"')

    with pytest.raises(PlaitError) as refused:
        quota.plan()

    assert refused.value.what == (
        f"feature 'quota' has two owners: plugin 'quota' in {quota.module}"
        f" and plugin 'quota_b' in {other.module}"
    )


def _code(image: bytes) -> dict[str, bytes]:
    """The instructions in an object. Its types are not always in the same order: clang hashes the
    addresses of those that are only declared.
    """
    sections = ELFFile(BytesIO(image)).iter_sections()
    return {
        each.name: each.data() for each in sections if each["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
    }
