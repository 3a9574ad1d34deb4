"""What the compiled kernels were built from; the one definition for build.py and kernels.py.

build.py compiles `source_hash` into the extension, where `lib.tga_source_hash()` reports it.  With
an editable install the sources lie next to the package, and two different hashes mean that the
extension is not of these sources.  This runs at every import, so it imports next to nothing and is
a checksum: it tells the states of a working tree apart and defends against nobody.
"""

import os
from _imp import source_hash as siphash  # always at hand; zlib or hashlib would take their time


def source_hash(root: str | os.PathLike) -> str | None:
    """16 hexadecimal digits for csrc/ and build.py below `root`; None where there is no source."""
    try:
        names = os.listdir(os.path.join(root, "csrc"))
        sources = [n for n in names if n.endswith((".c", ".h", ".def")) and not n.startswith(".")]
        hashes = b""
        for path in ["build.py", *(f"csrc/{name}" for name in sorted(sources))]:
            with open(os.path.join(root, path), "rb", buffering=0) as file:
                hashes += siphash(0, path.encode()) + siphash(0, file.read())
    except FileNotFoundError:  # an installed wheel
        return None
    return siphash(0, hashes).hex()
