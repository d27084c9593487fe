"""Where the members of a zip archive lie in its file."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

from semanticvla_jax.errors import InputError

LOCAL_HEADER = struct.Struct("<4s22xHH")  # Signature, ..., lengths of name and extra field.


class Member(NamedTuple):
    """Bytes of a member's content in the archive's file."""

    start: int
    size: int


def stored_members(path: Path) -> dict[str, Member]:
    """Name -> place of each member.

    Raises:
      InputError: not a whole zip archive, compressed or encrypted members (which could grow without
        bound), a name that occurs twice, or members beyond the file's end.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            members = {entry.filename: _place(file, entry) for entry in entries}
    except (zipfile.BadZipFile, struct.error) as error:
        raise _refusal(path, f"{error}", "a whole zip archive", "download it again") from error
    packed = [e.filename for e in entries if e.compress_type or e.flag_bits & 1]
    if packed:
        found = f"{len(packed)} compressed or encrypted members: {packed[:4]}"
        fix = "write it again without compression (np.savez, torch.save)"
        raise _refusal(path, found, "members stored as they are", fix)
    if len(members) < len(entries):
        raise _refusal(path, "a member name twice", "each name once", "write it again")
    size = path.stat().st_size
    outside = [name for name, member in members.items() if sum(member) > size]
    if outside:
        found = f"members beyond the file's {size} bytes: {outside[:4]}"
        raise _refusal(path, found, "a whole zip archive", "download it again")
    return members


def _place(file, entry: zipfile.ZipInfo) -> Member:
    """The content follows the member's own header, whose length only that header tells."""
    file.seek(entry.header_offset)
    signature, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    if signature != b"PK\3\4":
        raise zipfile.BadZipFile(f"no header where {entry.filename!r} should begin")
    return Member(entry.header_offset + LOCAL_HEADER.size + name + extra, entry.file_size)


def _refusal(path: Path, found: str, expected: str, fix: str) -> InputError:
    return InputError(str(path), found=found, expected=expected, fix=fix)
