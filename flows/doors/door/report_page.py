"""The pages of the report form: plain HTML, no script, nothing that anybody typed."""

from html import escape

STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}label{display:block;margin:1.2rem 0 .3rem;font-weight:600}small{font-weight:400;color:#444}"
    "input,textarea,select,button{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #555;"
    "border-radius:.3rem}button{background:#14532d;color:#fff;border:0;margin:1.5rem 0;padding:.8rem}"
    "code{font-size:1.2rem}.note{border-left:.3rem solid #b45309;padding-left:.8rem}"
)

HOW_BAD = (
    ("", "I cannot say"),
    ("stopped", "It was stopped before harm (a near miss)"),
    ("exposure", "Some customers, money or data are touched"),
    ("uncontrolled_action", "Harm goes on right now, or nobody can stop it"),
    ("rights_or_safety", "Somebody's rights or safety are at stake"),
)


def form_page(nonce: str, note: str = "") -> str:
    """The form; two fields suffice. `nonce` makes a form that is sent twice one report."""
    choices = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in HOW_BAD)
    told = f'<p class="note" role="alert">{escape(note)}</p>' if note else ""
    return _page(
        "Report a problem with an AI system",
        f"""<p>Tell us what you saw. You need not know what it is called or why it happened.</p>{told}
<form method="post" action="report" accept-charset="utf-8">
<input type="hidden" name="nonce" value="{escape(nonce)}">
<label for="system">Which AI system?</label><input id="system" name="system" required maxlength="200">
<label for="what">What happened?</label>
<textarea id="what" name="what_happened" rows="8" required maxlength="20000"></textarea>
<label for="bad">How bad is it? <small>(may stay as it is)</small></label><select id="bad" name="how_bad">{choices}</select>
<label for="began">When did it begin? <small>(may stay empty)</small></label>
<input id="began" name="began_at" type="datetime-local">
<button>Send the report</button></form>""",
    )


def receipt_page(receipt: str, state: str) -> str:
    """What became of a report."""
    return _page(
        "Your report",
        f"""<p>Your receipt: <code>{escape(receipt)}</code></p><p>{escape(state)}</p>
<p>Keep the address of this page: it shows how your report stands.</p>""",
    )


def missing_page() -> str:
    """No such report."""
    return _page("No such report", "<p>There is no report with this receipt. Look at the address again.</p>")


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
