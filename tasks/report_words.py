"""Words and style of the report: one page, nothing from outside, readable on a dark screen and on paper."""

import unicodedata
from collections.abc import Sequence
from html import escape


def plain(text: object, longest: int = 600) -> str:
    """Text that may be hostile, as one harmless line: no control or direction characters, bounded. Not yet escaped."""
    kept = "".join(c if unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs", "Cn") else " " for c in str(text))
    return brief(" ".join(kept.split()), longest)


def brief(text: str, longest: int) -> str:
    """Cut, with a mark that says so."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def shown(text: object, longest: int = 600) -> str:
    """The same, escaped for HTML."""
    return escape(plain(text, longest))


def pill(word: str, good: bool | None) -> str:
    """A status that is seen before it is read; the word says it too."""
    kind = "middling" if good is None else "good" if good else "ill"
    return f'<span class="pill {kind}">{shown(word)}</span>'


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], empty: str) -> str:
    """Cells are HTML already."""
    if not rows:
        return f"<p>{escape(empty)}</p>"
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


STYLE = """
:root{--ink:#16202b;--soft:#5b6875;--rule:#dde3e9;--paper:#fff;--wash:#f5f7f9;--good:#0b6e4f;--ill:#b3261e;
--middling:#8a5a00;--blue:#1f5fa8;--unsure:#f3c969;--stripe:#b57f11;--solid:#2f8f6b}
@media (prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#9aa7b4;--rule:#303b46;--paper:#12181f;--wash:#1a222b;
--good:#56c596;--ill:#ff8a80;--middling:#f0b95c;--blue:#7fb4ee;--unsure:#6b531c;--stripe:#d9a53a;--solid:#2b8464}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 32px 56px}
header{display:flex;justify-content:space-between;gap:24px;align-items:flex-start;border-bottom:3px solid var(--ink);
padding-bottom:14px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px}h2{font-size:18px;margin:34px 0 8px}
p{margin:6px 0}.soft,small{color:var(--soft)}.drill{background:var(--blue);color:var(--paper);padding:3px 12px;
border-radius:3px;font-weight:700;letter-spacing:.14em}
.verdict{font-size:19px;margin:18px 0 4px;font-weight:600}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(122px,1fr));gap:10px;margin:18px 0}
.figure{background:var(--wash);border-left:4px solid var(--blue);padding:9px 12px}
.figure b{display:block;font-size:21px;line-height:1.25}.figure span{color:var(--soft);font-size:13px}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:2px solid var(--rule);padding:5px 10px 5px 0}
td{border-bottom:1px solid var(--rule);padding:6px 10px 6px 0;vertical-align:top;overflow-wrap:anywhere}
td:first-child{font-variant-numeric:tabular-nums}.nowrap{white-space:nowrap;font-variant-numeric:tabular-nums}
.pill{display:inline-block;border:1.5px solid currentColor;border-radius:10px;padding:0 9px;font-weight:600;
font-size:13px;white-space:nowrap}.good{color:var(--good)}.ill{color:var(--ill)}.middling{color:var(--middling)}
blockquote{margin:8px 0;padding:8px 14px;background:var(--wash);border-left:4px solid var(--soft);white-space:pre-wrap}
code{font:13px ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
figure{margin:14px 0 0}figcaption{font-size:13px;color:var(--soft);display:flex;flex-wrap:wrap;gap:6px 20px;margin-top:6px}
.key{display:inline-block;width:26px;height:12px;vertical-align:-1px;margin-right:6px}
svg{width:100%;height:auto;display:block;font:12.5px system-ui,sans-serif}
svg text{fill:var(--ink)}svg .lane{font-weight:700;font-size:14px}svg .note,svg .axis{fill:var(--soft)}
svg .strong{fill:var(--ink);font-weight:600}svg .said{font-weight:500}
.rule{stroke:var(--rule)}.span{stroke:var(--soft);stroke-width:2}.item{fill:var(--blue)}.seal{fill:var(--blue)}
.asked{fill:var(--paper);stroke:var(--ink);stroke-width:2}.tick{stroke:var(--ink);stroke-width:2.5}
.yes{fill:var(--good)}.bad{fill:var(--ill)}.unsure{fill:var(--unsure)}.stripe{fill:var(--stripe)}
.striped{fill:url(#striped);stroke:var(--stripe)}.solid{fill:var(--solid)}.known{stroke:var(--ink);stroke-width:3}
.applied{fill:var(--paper);stroke:var(--stripe);stroke-width:3}.back{fill:none;stroke:var(--ink);stroke-width:2.5}
.cut{fill:var(--wash)}.zag{fill:none;stroke:var(--soft);stroke-width:1.5}.moment{stroke:var(--soft);stroke-dasharray:1 4}
@media print{:root{--ink:#000;--soft:#444;--rule:#bbb;--paper:#fff;--wash:#f3f3f3;--good:#0b6e4f;--ill:#b3261e;
--middling:#8a5a00;--blue:#1f5fa8;--unsure:#f3c969;--stripe:#b57f11;--solid:#2f8f6b}main{max-width:none;padding:0}
body{font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
h2{break-after:avoid}tr,figure,.figure{break-inside:avoid}@page{margin:16mm}}
"""
