"""The documents that provoke the codes of deployments of LaneGraph specs."""

from __future__ import annotations

from byteord.spec.findings import Severity
from tests.unit.spec.case import Case
from tests.unit.spec.lane_documents import (
    ENDS,
    LANES,
    ROLES,
    deployed,
    end,
    graph,
    ingress,
)

_DURABLE = 'name = "j"\nkind = "journal"\ndurable = true'
_WITH_J = graph(lanes=(*LANES, _DURABLE), ends=(*ENDS, *ingress(("in2", "j"))))
_IN2 = '[adapters.in2]\nkind = "box"\npath = "/data/in2"\n'
_BAD = graph(
    lanes=(*LANES, 'name = "d"'),
    roles=(f'{ROLES[0]}\ndead_letter = "d"',),
    ends=(*ENDS, end("bad", "egress", "d")),
)
_BAD_BOX = '[adapters.bad]\nkind = "box"\npath = "/data/bad"\n'
_TWO_IN = graph(
    lanes=('name = "a"\npublishers_max = 2', 'name = "b"'), ends=(*ENDS, *ingress(("in2", "a")))
)

LANE_DEPLOYED = (
    Case("DEPLOYMENT_JOURNAL_UNBOUND", "journals.j", "[journals.j]", _WITH_J, deployed(_IN2)),
    Case(
        "DEPLOYMENT_JOURNAL_UNKNOWN",
        "journals.jj",
        'did you mean "j"',
        _WITH_J,
        deployed(f'{_IN2}[journals.jj]\ndirectory = "/data/j"'),
    ),
    Case(
        "DEPLOYMENT_JOURNAL_UNKNOWN",
        "journals.j",
        "no durable",
        deployment=deployed('[journals.j]\ndirectory = "/data/j"'),
    ),
    Case(
        "DEPLOYMENT_JOURNAL_SHARED",
        "journals.k.directory",
        "choose another",
        graph(
            lanes=(*LANES, _DURABLE, _DURABLE.replace('"j"', '"k"')),
            ends=(*ENDS, *ingress(("in2", "j"), ("in3", "k"))),
        ),
        deployed(
            f'{_IN2}{_IN2.replace("in2", "in3")}[journals.j]\ndirectory = "/data/j"\n'
            '[journals.k]\ndirectory = "/data/j/"'
        ),
    ),
    Case(
        "DEPLOYMENT_GROUP_ROLE_UNKNOWN",
        "groups.0.roles.1",
        "s, in, out",
        graph(),
        deployed('[[groups]]\nname = "w"\nroles = ["s", "z"]'),
    ),
    Case(
        "DEPLOYMENT_GROUP_DUPLICATE",
        "groups.1.roles.0",
        "w has it",
        graph(),
        deployed('[[groups]]\nname = "w"\nroles = ["s"]\n[[groups]]\nname = "v"\nroles = ["s"]'),
    ),
    Case(
        "DEPLOYMENT_GROUP_DUPLICATE",
        "groups.1.name",
        "of their own",
        graph(),
        deployed('[[groups]]\nname = "w"\nroles = ["s"]\n[[groups]]\nname = "w"\nroles = ["in"]'),
    ),
    Case(
        "DEPLOYMENT_GROUP_CLIENT",
        "groups.0.roles.0",
        "process of its own",
        graph(),
        '[adapters.in]\nkind = "client"\n[adapters.out]\nkind = "client"\n'
        '[[groups]]\nname = "w"\nroles = ["in"]',
    ),
    Case(
        "DEPLOYMENT_GROUPS_UNSUPPORTED",
        "groups",
        "single_ring",
        deployment=deployed('[[groups]]\nname = "w"\nroles = ["keep"]'),
    ),
    Case(
        "DEPLOYMENT_DEAD_LETTER_MISSING",
        "failure.policy",
        "on s",
        graph(),
        deployed('[failure]\npolicy = "dead_letter"'),
    ),
    Case(
        "DEPLOYMENT_DEAD_LETTER_UNUSED",
        "failure.policy",
        "nothing ever arrives",
        _BAD,
        deployed(_BAD_BOX),
        severity=Severity.NOTE,
    ),
    Case(
        "DEPLOYMENT_POLICY_UNSUPPORTED",
        "failure.policy",
        "no lane for dead",
        deployment=deployed('[failure]\npolicy = "dead_letter"'),
    ),
    Case(
        "DEPLOYMENT_CLIENT_LANE",
        "adapters.in2.kind",
        "attach to rings",
        _WITH_J,
        deployed('[adapters.in2]\nkind = "client"\n[journals.j]\ndirectory = "/data/j"'),
    ),
    Case(
        "DEPLOYMENT_CLIENT_ENDPOINT",
        "adapters",
        "--input with 2 endpoints",
        _TWO_IN,
        deployed(_IN2),
        context={"client_input": True},
    ),
    Case(
        "DEPLOYMENT_STDIO_TWICE",
        "adapters.in2.kind",
        "one endpoint with stdin",
        _TWO_IN,
        '[adapters.in]\nkind = "stdin"\n[adapters.in2]\nkind = "stdin"\n'
        '[adapters.out]\nkind = "stdout"',
    ),
    Case("DEPLOYMENT_ENDPOINT_UNBOUND", "adapters.in2", "[adapters.in2]", _TWO_IN),
    Case(
        "POLICY_LANE_GATED",
        "lanes.2.kind",
        'allow_lanes = ["journal"]',
        _WITH_J,
        deployed(f'{_IN2}[journals.j]\ndirectory = "/data/j"'),
        context={"overrides": {"environment": "staging"}},
    ),
    Case(
        "POLICY_PATH_DENIED",
        "journals.j.directory",
        "/data",
        _WITH_J,
        deployed(f'{_IN2}[journals.j]\ndirectory = "/etc/j"'),
    ),
)
