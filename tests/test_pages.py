"""The report and the site: built without a warning, and to be used with a keyboard, a screen reader and weak eyes (axe-core)."""

import json
import subprocess
import sys
import tarfile

import pytest
from browser import needs_browser
from conftest import REPOSITORY

from bloodcell.reporting import report

AXE = "axe-core@4.14.1"
PAGES = ("index", "docs/findings", "study/04_sravani_cnn", "study/14_laboratories", "api", "docs/guide", "figures", "blood8")
CHECK = """window.found = null;
document.querySelectorAll("details").forEach((one) => { one.open = true; });
axe.run(document, {resultTypes: ["violations"]}).then((all) => { window.found = JSON.stringify(all.violations
  .filter((one) => ["serious", "critical"].includes(one.impact))
  .map((one) => [one.id, one.nodes.length, one.nodes[0].html.slice(0, 200)])); }); 1"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "workflow/build_site.py", str(folder)], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]  # a warning, such as a link that leads nowhere, is an error
    return folder / "html"


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {AXE} here: {done.stderr[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


def test_the_site_has_its_pages(site):
    for page in PAGES:
        assert (site / f"{page}.html").is_file(), page
    assert "#| export" not in (site / "training/00_recipes.html").read_text()


def findings(tab, address, axe):
    tab.go(address)
    tab.value(f"{axe}; 1")
    tab.value(CHECK)
    return json.loads(tab.wait("window.found"))


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    profile = {"name": "quick", "about": "minutes on two CPU cores"}
    manifest = {"data": "synthetic", "profile": profile, "seed": 0, "records": {}, "environments": []}
    return (
        report.write_report_page(folder / "report.html", "the stored chapters", report.list_chapters(), manifest),
        report.write_report_page(folder / "findings.html", "results on real cells", sorted((REPOSITORY / "nbs/docs").glob("[af]*.ipynb"))),
    )


def test_the_reports_can_be_sent_by_mail(reports):
    assert max(page.stat().st_size for page in reports) < 4_000_000


class TestAccessibility:
    pytestmark = needs_browser

    def test_of_the_site(self, site, axe, tab):
        opened = tab("about:blank")
        assert {page: found for page in PAGES if (found := findings(opened, f"file://{site}/{page}.html", axe))} == {}

    def test_of_the_reports(self, axe, tab, reports):
        opened = tab("about:blank")
        for page in (*reports, REPOSITORY / "bloodcell/pretrained/web/index.html"):
            assert findings(opened, f"file://{page}", axe) == [], page
