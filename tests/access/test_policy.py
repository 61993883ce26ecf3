import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.access.policy import TOKEN, Policy, default_policy, default_text, is_shipped, parse
from splnode.errors import ConfigError
from splnode.identity import GROUPS, NOBODY, NODE, Identity

ENGINE, CONTAINERS = "com.splectrum.rpc.SPlectrumEngine", "SPLContainerService"
MEMBER = Identity("spiffe://home/node/b", ("mesh",))


def of(*groups: str) -> Identity:
    return Identity("somebody", groups)


def said(policy: Policy, who: Identity, call: str) -> tuple[bool, int]:
    service, _, message = call.rpartition(".")
    verdict = policy.decide(who, service, message)
    return verdict.allowed, verdict.line


@pytest.mark.parametrize(
    ("who", "may", "may_not"),
    [
        (NODE, [f"{ENGINE}.execute", "SPLDataService.write", "com.acme.Shop.buy"], []),
        (of("own"), [f"{ENGINE}.execute", "SPLDataService.write", "com.acme.Shop.buy"], []),
        (
            of("loopback"),
            ["SPLDataService.write", "com.acme.Shop.buy", "SPLNodeService.callRemote", "splnode.Metrics.text"],
            [f"{ENGINE}.execute", f"{CONTAINERS}.startContainer", "splnode.Terminal.open"],
        ),
        (of("unix"), ["SPLDataService.write"], [f"{ENGINE}.execute"]),
        (
            of("mesh"),
            ["SPLDataService.write", "SPLExecuteService.execute", "SPLNodeService.listNodes", "com.acme.Shop.buy"],
            [f"{ENGINE}.execute", f"{CONTAINERS}.startContainer", "splnode.Terminal.open", "SPLPipelineService.run"],
        ),
        (of("insecure"), ["SPLDataService.write", "com.acme.Shop.buy"], [f"{ENGINE}.execute"]),
        (of(TOKEN), [f"{ENGINE}.execute"], []),
        (
            NOBODY,
            ["splnode.Health.check", "splnode.Reflection.listServices"],
            ["SPLDataService.read", "splnode.Metrics.text", "SPLNodeService.listNodes", "com.acme.Shop.buy"],
        ),
    ],
)
def test_what_holds_where_nobody_says(who: Identity, may: list[str], may_not: list[str]) -> None:
    assert [call for call in may if not said(default_policy(), who, call)[0]] == []
    assert [call for call in may_not if said(default_policy(), who, call)[0]] == []


def test_the_first_rule_that_fits_decides() -> None:
    policy = parse(
        """\
# a comment
[[rule]]
who = ["uid:7"]
deny = ["Shop.buy"]

  [[ rule ]]
who = ["uid:*"]
allow = ["Shop"]

[[rule]]
who = ["*"]
allow = ["*.look"]
""",
        "p.toml",
    )
    assert said(policy, Identity("uid:7"), "Shop.buy") == (False, 2)
    assert said(policy, Identity("uid:7"), "Shop.sell") == (True, 6)
    assert said(policy, Identity("uid:8"), "Shop.buy") == (True, 6)
    assert said(policy, Identity("x"), "Shop.buy") == (False, 0)
    assert said(policy, Identity("x"), "com.acme.Shop.look") == (True, 10)
    assert policy.decide(Identity("x"), "Shop", "buy").place == "no rule of p.toml fits"
    assert policy.decide(Identity("uid:7"), "Shop", "buy").place == "p.toml:2"
    assert policy.decide(Identity("uid:7"), "Shop", "buy").rule == "deny Shop.buy to uid:7"


def test_names_are_taken_as_they_are_but_for_stars() -> None:
    policy = parse('[[rule]]\nwho = ["uid:1.*", "c+[d]"]\nallow = ["a.b"]\n')
    assert said(policy, Identity("uid:1.5"), "a.b")[0]
    assert not said(policy, Identity("uid:105"), "a.b")[0]
    assert not said(policy, Identity("uid:1.5"), "axb.z")[0]
    assert not said(policy, Identity("xuid:1.5"), "a.b")[0]
    assert said(policy, Identity("c+[d]"), "a.b")[0]
    assert not said(policy, Identity("ccd"), "a.b")[0]


def test_groups_of_ones_own() -> None:
    policy = parse(
        """\
then = "default"
[groups]
operators = ["uid:1001", "token:ops-*"]
bots = []
[[rule]]
who = ["@operators"]
allow = ["com.splectrum.*"]
[[rule]]
who = ["@bots"]
deny = ["*"]
""",
        "p.toml",
    )
    assert said(policy, Identity("uid:1001"), f"{ENGINE}.execute") == (True, 5)
    assert said(policy, Identity("token:ops-a", (TOKEN,)), f"{ENGINE}.execute") == (True, 5)
    assert said(policy, Identity("token:b", (TOKEN, "bots")), "splnode.Health.check") == (False, 8)
    verdict = policy.decide(of("loopback"), "SPLDataService", "write")
    assert verdict.allowed
    assert verdict.source == "default policy"
    assert verdict.line == next(n for n, line in enumerate(default_text().split("\n"), 1) if '"@loopback"' in line) - 1


def test_what_is_shipped_is_not_added() -> None:
    for name in ("SPLDataService", "splnode.Health", "splnode.Worker", "SPLPipelineService", ENGINE):
        assert is_shipped(name)
    assert not is_shipped("com.acme.Shop")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]", "not TOML"),
        ("x = 1", "unknown key 'x'; there are then"),
        ('then = "other"', "then = 'other'"),
        ("groups = 1", "groups is a section"),
        ("[groups]\nown = []", "groups.own: who is in own shows by how one comes"),
        ("[groups]\na = 1", "groups.a: a list of texts"),
        ('[groups]\na = ["@own"]', "@own is a group; its members are identities"),
        ("rule = [{}]", "on a line of its own"),
        ("rule = 1", "on a line of its own"),
        ('[[rule]]\nwho = ["""\n[[rule]]\n"""]\nallow = ["*"]', "on a line of its own"),
        ('\n[[rule]]\nwho = ["*"]\nallow = ["*"]\nmay = 1', "p:2: unknown key 'may'"),
        ('[[rule]]\nwho = ["*"]', "p:1: a rule has who, and one of allow and deny"),
        ('[[rule]]\nallow = ["*"]', "p:1: a rule has who"),
        ('[[rule]]\nwho = ["*"]\nallow = ["*"]\ndeny = ["x"]', "p:1: a rule has who, and one of"),
        ('[[rule]]\nwho = "*"\nallow = ["*"]', "p:1: who: a list of texts is needed, not '*'"),
        ('[[rule]]\nwho = []\nallow = ["*"]', "p:1: who: it names nobody"),
        ('[[rule]]\nwho = [""]\nallow = ["*"]', "p:1: who: a list of texts"),
        ('[[rule]]\nwho = ["@operaters"]\ndeny = ["*"]', "p:1: there is no group @operaters; there are @own"),
        ('[[rule]]\nwho = ["*"]\ndeny = ["S.a,S.b"]', "p:1: 'S.a,S.b' names no service and no message"),
        ('[[rule]]\nwho = ["*"]\ndeny = ["@shipped"]', "p:1: deny has services, messages and @added, not @shipped"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p")
    assert said in str(caught.value)


@given(st.text() | st.text("[]rule=who\n\"'@*,{}#.").map(lambda text: f"[[rule]]\n{text}"))
def test_any_text_is_a_policy_or_a_config_error(text: str) -> None:
    try:
        policy = parse(text)
    except ConfigError:
        return
    policy.decide(NOBODY, "S", "m")


WORDS = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "S.m", "S.*", "@added", "S"])
WHO = st.sampled_from(["n", "m", "*", "@own", "@mesh", "@anyone", "n*"])
RULES = st.lists(
    st.tuples(st.lists(WHO, min_size=1), st.sampled_from(["allow", "deny"]), st.lists(WORDS, min_size=1)), max_size=6
)


@given(RULES, st.sampled_from(["n", "m", "nm"]), st.sets(st.sampled_from(GROUPS)), st.sampled_from(["S", "a", "ab"]))
def test_it_is_the_first_fitting_of_its_rules_and_nothing_else(
    rules: list[tuple[list[str], str, list[str]]], name: str, groups: set[str], service: str
) -> None:
    text = "".join(f"[[rule]]\nwho = {who}\n{verb} = {what}\n" for who, verb, what in rules).replace("'", '"')
    policy, who = parse(text, "p"), Identity(name, groups)
    alone = [parse("\n" * 3 * n + part, "p") for n, part in enumerate(_parts(text))]
    fitting = [each.decide(who, service, "m") for each in alone if each.decide(who, service, "m").line]
    verdict = policy.decide(who, service, "m")
    assert verdict == (fitting[0] if fitting else verdict)
    assert verdict.allowed == (bool(fitting) and fitting[0].allowed)


def _parts(text: str) -> list[str]:
    return [f"[[rule]]{part}" for part in text.split("[[rule]]")[1:]]
