"""What the compiled kernels were built from; the one definition for build.py and kernels.py.

build.py compiles `source_hash` into the extension, where `lib.tga_source_hash()` reports it.  With
an editable install the sources lie next to the package, and two different hashes mean that the
extension is not of these sources.  This runs at every import, so it imports next to nothing and is
a checksum: it tells the states of a working tree apart and defends against nobody.
"""

import os
from zlib import crc32


def source_hash(root: str | os.PathLike) -> str | None:
    """8 hexadecimal digits for csrc/ and build.py below `root`; None where there are no sources."""
    try:
        names = os.listdir(os.path.join(root, "csrc"))
        sources = [n for n in names if n.endswith((".c", ".h", ".def")) and not n.startswith(".")]
        checksum = 0
        for path in ["build.py", *(f"csrc/{name}" for name in sorted(sources))]:
            with open(os.path.join(root, path), "rb", buffering=0) as file:
                checksum = crc32(file.read(), crc32(path.encode(), checksum))
    except FileNotFoundError:  # an installed wheel
        return None
    return f"{checksum:08x}"
