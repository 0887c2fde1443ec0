"""Sphinx's configuration of the site; `make docs` builds it from the pages of this folder."""

import re
import sys
from pathlib import Path

from sphinx.addnodes import pending_xref

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from vtclip import __version__  # noqa: E402

project = "vtclip"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"vtclip {version}"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
# pages of the checkout that are not in this folder, and those that include them
ELSEWHERE = {
    "CONTRIBUTING.md": "site/contributing",
    "SECURITY.md": "site/security",
    "toolkit/README.md": "site/toolkit",
}

# `x` in a docstring is code
default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "attributes")]
nitpick_ignore_regex = [
    # types of other projects, whose sites are not asked while this one is built
    (r"py:.*", r"(torch|nn|np|numpy|PIL|Image|yacs|dassl|pathlib|collections|abc|argparse)\..*"),
    (r"py:.*", r"Tensor|Path|CfgNode"),
    # named for who reads the code
    (
        r"py:.*",
        r"vtclip\.(checkpointing|features\.(checked|shard_files|keys))\..*|datasets\.sampling",
    ),
    (r"py:.*", r"OPTIONS|BISECTIONS|WHEREABOUTS|(Predictions|Result)\.\w+"),
]
# "low, high: bounds" in a list of attributes
SEVERAL = re.compile(r"(\s+)(\w+(?:, \w+)*), (\w+)(?=: )")


def link_pages(app, docname, source):
    """Let links to files beside this folder point at the pages that include them."""
    depth = docname.count("/")
    for file, page in ELSEWHERE.items():
        source[0] = source[0].replace(f"](../{file}", f"]({'../' * depth}{page}.md")


def link_includes(app, doctree):
    """Do the same for the links of README and others that a page includes."""
    for node in doctree.findall(pending_xref):
        if node["reftype"] == "myst" and node["reftarget"] in ELSEWHERE:
            page = f"/{ELSEWHERE[node['reftarget']]}"
            node.attributes |= {
                "refdomain": "std",
                "reftype": "doc",
                "reftarget": page,
                "refexplicit": True,
            }


def resolve(app, env, node, contnode):
    """Find what a docstring names by the path that users import it by, or by its name alone."""
    domain = env.get_domain("py")
    name = node["reftarget"].rsplit(".", 1)[-1]
    found = [full for full in domain.objects if full.rsplit(".", 1)[-1] == name]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    kind = domain.objects[found[0]].objtype
    return domain.resolve_xref(env, node["refdoc"], app.builder, kind, found[0], node, contnode)


def plain_lines(app, what, name, obj, options, lines):
    """Let |x| stay a norm, not a substitution, and give each of several attributes a line."""
    for number, line in reversed(list(enumerate(lines))):
        if not line.lstrip().startswith(">>>"):
            lines[number] = line.replace("|", r"\|")
        if several := SEVERAL.match(line):
            indent, first, last = several.groups()
            lines[number] = f"{indent}{last}{line[several.end() :]}"
            lines[number:number] = [f"{indent}{word}: see {last}." for word in first.split(", ")]


def without_aliases(app, what, name, obj, skip, options):
    """Leave out what the fields of a named tuple say of themselves: "alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Connect the above."""
    app.connect("source-read", link_pages)
    app.connect("doctree-read", link_includes)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", without_aliases)
    # before napoleon, which writes | itself
    app.connect("autodoc-process-docstring", plain_lines, priority=400)
