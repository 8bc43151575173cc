"""Bundles to messages of the API and back."""

from __future__ import annotations

from collections.abc import Iterable

from byteor.v1 import bundles_pb2 as pb
from byteord._cext.stages import crc32c
from byteord.capture.slice import SliceWanted
from byteord.capture.store import Stored
from byteord.rpc.bundles import NOT_GRANTED, BundleWanted, MadeBundle


def wanted_from_create(request: pb.CreateBundleRequest, *, sees: bool) -> BundleWanted:
    """Return what a request of somebody asks for, who may see payloads or not."""
    first = request.from_sequence if request.HasField("from_sequence") else None
    part = SliceWanted(request.last_messages, request.last_ns, first)
    return BundleWanted(part, withheld="" if sees else NOT_GRANTED)


def bundle_to_proto(bundle: MadeBundle) -> pb.CreateBundleResponse:
    """Return the answer that describes a bundle."""
    files = [
        pb.BundleFile(
            name=row.name, size_bytes=row.size, sha256=row.sha256, sensitivity=row.sensitivity
        )
        for row in bundle.files
    ]
    return pb.CreateBundleResponse(
        bundle_id=bundle.id,
        run_id=bundle.run_id,
        size_bytes=bundle.size,
        sha256=bundle.sha256,
        files=files,
        left_out=[pb.LeftOut(name=name, reason=why) for name, why in bundle.left_out.items()],
        took_ns=bundle.took_ns,
    )


def bundles_to_proto(bundles: Iterable[Stored], run_id: str) -> pb.ListBundlesResponse:
    """Return the list of what is kept, of one run or (empty) all."""
    rows = [
        pb.BundleEntry(
            bundle_id=each.id,
            run_id=each.run,
            pipeline=each.pipeline,
            why=each.why,
            created_unix_ns=each.created_unix_ns,
            size_bytes=each.size,
            sha256=each.sha256,
        )
        for each in bundles
        if run_id in ("", each.run, each.pipeline)
    ]
    return pb.ListBundlesResponse(bundles=rows)


def chunk_to_proto(offset: int, data: bytes, end: bool) -> pb.ReadBundleResponse:  # noqa: FBT001  fields of the message
    """Return a piece of an archive with its checksum."""
    return pb.ReadBundleResponse(data=data, offset=offset, crc32c=crc32c(data, 0), end=end)
