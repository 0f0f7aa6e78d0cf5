"""The viewer's web site: nginx with the built pages in front of a PACS's DICOMweb."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

import components

HERE = Path(__file__).parent
VIEWER = HERE.parents[1] / ".cache" / "ohif"


@dataclass
class Site:
    """A running web site with the viewer in it."""

    program: components.Program
    url: str

    def stop(self) -> None:
        """End it."""
        self.program.stop()


def start_site(folder: Path, pacs_url: str) -> Site:
    """Serve OHIF on a free port in front of ``pacs_url`` (the server that has ``/dicom-web/``); the caller stops it."""
    if not (VIEWER / "index.html").is_file():
        components.missing("the OHIF viewer is not fetched (run tools/fetch_ohif.sh, which needs npm)")
    nginx = components.require("nginx", apt="nginx-light")
    folder.mkdir(parents=True, exist_ok=True)
    port = components.free_port()
    configuration = Template((HERE / "nginx.conf").read_text()).substitute(
        folder=folder, port=port, viewer=VIEWER, app_config=HERE / "app-config.js", pacs=pacs_url
    )
    path = folder / "nginx.conf"
    path.write_text(configuration)
    program = components.Program.start([nginx, "-e", str(folder / "error.log"), "-c", str(path)], folder)
    site = Site(program, f"http://127.0.0.1:{port}")
    components.wait_until(lambda: program.require_alive() and components.listens(port), "nginx's start")
    return site
