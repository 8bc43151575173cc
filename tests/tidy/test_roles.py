"""Every method of the API has a role, or nobody could call it."""

from __future__ import annotations

from byteor.v1 import control_service_pb2
from byteord.rpc.identity import ROLE_OF_METHOD


def test_every_method_has_its_role() -> None:
    """A new method of the API needs a line in `ROLE_OF_METHOD` of byteord/rpc/identity.py."""
    service = control_service_pb2.DESCRIPTOR.services_by_name["ControlService"]
    assert set(ROLE_OF_METHOD) == {method.name for method in service.methods}
