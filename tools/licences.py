"""Writes docs/licences.md from what is installed, and refuses a licence that nobody has allowed (``--print`` prints it).

Every package of requirements.lock that this system installs, by the licence that its metadata name (PEP 639's
expression, else the older fields), and every native library that a wheel brings with it in a folder of its own.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.licenses import canonicalize_license_expression

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0",
    "PSF-2.0", "Zlib",
}  # fmt: skip
"""SPDX identifiers that may ship. MPL-2.0 binds changes of its own files, of which there are none here."""

SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What the older fields say, as SPDX spells it."""

READ = {
    "contourpy": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "PSF-2.0",
    "pandas": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
}
"""Packages whose metadata hold a text or a family of licences: what their licence file was read to be."""

BUNDLED = {
    "libXau": ("MIT", ""),
    "libaec": ("BSD-2-Clause", ""),
    "libavif": ("BSD-2-Clause", ""),
    "libbrotlicommon": ("MIT", ""),
    "libbrotlidec": ("MIT", ""),
    "libcrypto": ("OpenSSL", "OpenSSL 1.1.1k, no longer kept by its makers; GDCM uses it for encrypted files, which the node does not read"),
    "libfreetype": ("FTL", "FreeType may be taken under FTL or GPL-2.0; it is taken under FTL"),
    "libgfortran": ("GPL-3.0-or-later WITH GCC-exception-3.1", "the exception leaves what is linked with it free"),
    "libharfbuzz": ("MIT-Modern-Variant", ""),
    "libhdf5": ("BSD-3-Clause", ""),
    "libhdf5_hl": ("BSD-3-Clause", ""),
    "libjpeg": ("IJG AND BSD-3-Clause", ""),
    "liblcms2": ("MIT", ""),
    "liblzma": ("0BSD", ""),
    "libopenjp2": ("BSD-2-Clause", ""),
    "libpng16": ("libpng-2.0", ""),
    "libquadmath": ("LGPL-2.1-or-later", "GCC's own library, loaded as a file of its own that can be replaced; see below"),
    "libscipy_openblas": ("BSD-3-Clause", ""),
    "libscipy_openblas64_": ("BSD-3-Clause", ""),
    "libsharpyuv": ("BSD-3-Clause", ""),
    "libssl": ("OpenSSL", "as libcrypto"),
    "libsz": ("BSD-2-Clause", ""),
    "libtiff": ("libtiff", ""),
    "libwebp": ("BSD-3-Clause", ""),
    "libwebpdemux": ("BSD-3-Clause", ""),
    "libwebpmux": ("BSD-3-Clause", ""),
    "libxcb": ("MIT", ""),
    "libzstd": ("BSD-3-Clause", "may be taken under BSD-3-Clause or GPL-2.0; it is taken under the first"),
}  # fmt: skip
"""Native libraries in the wheels' ``*.libs`` folders: (SPDX expression, note)."""

BESIDE = (
    ("Debian's base of python:3.11-slim", "images", "many, GPL among them; separate programs, unchanged, under Debian's notices"),
    ("NVIDIA Triton Inference Server", "compose, chart", "BSD-3-Clause; NVIDIA's image holds CUDA under NVIDIA's own terms"),
    ("Apache Kafka", "compose, chart", "Apache-2.0"),
    ("PostgreSQL", "compose, chart", "PostgreSQL"),
    ("S3 server", "compose, chart", "versitygw: Apache-2.0"),
    ("Prometheus", "compose", "Apache-2.0"),
    ("Grafana", "compose", "AGPL-3.0-only: a program of its own, unchanged, for the demonstration; nothing here is linked with it"),
    ("Orthanc", "compose, tests", "GPL-3.0-or-later: the demonstration's PACS, a program of its own"),
)  # fmt: skip
"""(program, where it is named, licence): started beside the node from its makers' images; none is part of what ships."""

HEAD = """# Licences

Prognode is Apache-2.0. What its wheel and images bring with them is listed here, for Linux on x86-64 and the Python of
the images; a test compares this page with what is installed and fails for a licence that is not allowed. The page is
made by `python tools/licences.py`; `make sbom` writes what is installed as a CycloneDX document (`out/sbom.cdx.json`), and
`make audit` asks pip-audit for known vulnerabilities of `requirements.lock`: it fails where one is known, and where the
data base cannot be asked.

## Python packages

| package | version | licence |
|---|---|---|
"""

LIBRARIES = """
## Native libraries inside the packages

| library | in | licence | note |
|---|---|---|---|
"""

REST = """
`libquadmath` comes inside numpy's and scipy's wheels, as `libgfortran` does, which needs it. Both are run-time libraries of
the compiler. `libquadmath` is under the LGPL, not the GPL: it is a shared library that whoever has the image can replace.
It is the one library here under a copyleft licence without an exception, and it ships because numpy and scipy do.

Code that wheels have linked into their own binaries is covered by the notices in those packages. Those of SimpleITK,
onnxruntime, grpcio, python-gdcm and pylibjpeg-openjpeg were searched for GPL, LGPL and AGPL: only onnxruntime names one, as
the other licence of Mbed TLS, which is Apache-2.0 as well. obstore (Rust) and pyjpegls (CharLS, BSD-3-Clause) bring no
notices of what is linked into them. hatchling, editables, pathspec, pluggy, tomlkit and trove-classifiers build the project
and are not needed by what runs.

## Programs beside the node

| program | where | licence |
|---|---|---|
"""


def page() -> str:
    """The whole page. Raises SystemExit for a package or a library whose licence is unknown or not allowed."""
    found = sorted(installed(), key=lambda one: one.name.lower())
    packages = "".join(f"| {one.name} | {one.version} | {licence_of(one)} |\n" for one in found)
    libraries = "".join(
        f"| {name} | {', '.join(sorted(where))} | {licence} | {note} |\n"
        for name, where, (licence, note) in _libraries(found)
    )
    programs = "".join(f"| {name} | {where} | {licence} |\n" for name, where, licence in BESIDE)
    return HEAD + packages + LIBRARIES + libraries + REST + programs


def installed() -> list[Distribution]:
    """Packages of requirements.lock that are installed; another system's are not."""
    names = re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    found = []
    for name in dict.fromkeys(names):
        try:
            found.append(distribution(name))
        except PackageNotFoundError:
            continue
    return found


def licence_of(package: Distribution) -> str:
    """SPDX expression of a package. Raises SystemExit when it is unknown or not allowed."""
    said = package.metadata
    older = [each.split(" :: ")[-1] for each in said.get_all("Classifier") or [] if "License ::" in each]
    named = (
        said.get("License-Expression")
        or READ.get(package.name.lower())
        or said.get("License")
        or " OR ".join(older)
    )
    try:
        expression = canonicalize_license_expression(SPELLINGS.get(named, named))
    except ValueError:
        raise SystemExit(
            f"{package.name}: '{named[:60]}' is no known licence; read its licence file"
        ) from None
    if not any(set(each.split(" AND ")) <= ALLOWED for each in expression.split(" OR ")):
        raise SystemExit(f"{package.name}: {expression} is not allowed; see ALLOWED")
    return expression


def _libraries(packages: list[Distribution]) -> list[tuple[str, set[str], tuple[str, str]]]:
    """(library, packages that bring it, (licence, note))."""
    where: dict[str, set[str]] = {}
    for package in packages:
        for file in package.files or []:
            if file.parts[0].endswith(".libs") and ".so" in file.name:
                where.setdefault(library(file.name), set()).add(package.name)
    unknown = sorted(set(where) - set(BUNDLED))
    if unknown:
        raise SystemExit(f"nobody has read the licence of {', '.join(unknown)}; see BUNDLED")
    return [(name, where[name], BUNDLED[name]) for name in sorted(where, key=str.lower)]


def library(file_name: str) -> str:
    """``libaec-a27cf049.so.0.1.4`` -> ``libaec``."""
    return re.sub(r"(-[0-9a-f]{8})+$", "", file_name.split(".so", maxsplit=1)[0])


def main() -> None:
    """Write the page, or print it."""
    if "--print" in sys.argv:
        print(page(), end="")
    else:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
