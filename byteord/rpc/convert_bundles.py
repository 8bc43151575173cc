"""Bundles to messages of the API."""

from __future__ import annotations

from byteor.v1 import bundles_pb2 as pb
from byteord._cext.stages import crc32c
from byteord.rpc.bundles import MadeBundle


def bundle_to_proto(bundle: MadeBundle) -> pb.CreateBundleResponse:
    """Return the answer that describes a bundle."""
    files = [
        pb.BundleFile(
            name=file.name,
            size_bytes=len(file.content),
            sha256=file.sha256,
            sensitivity=file.sensitivity,
        )
        for file in bundle.files
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


def chunk_to_proto(offset: int, data: bytes, end: bool) -> pb.ReadBundleResponse:  # noqa: FBT001  fields of the message
    """Return a piece of an archive with its checksum."""
    return pb.ReadBundleResponse(data=data, offset=offset, crc32c=crc32c(data, 0), end=end)
