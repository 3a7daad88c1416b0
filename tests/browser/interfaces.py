"""How a person uses Prefect's two interfaces: the words and buttons of each, in one place."""

import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.browser.ground import Ground

FIELDS = ("1. Which request?", "2. Who are you?", "3. Your answer", "4. Why?", "5. One-time code")
"""How the titles of the form begin."""
PRESSES, STAYS_SECONDS = 6, 20


def press_until(button: Locator, form: Locator, taken: Callable[[], bool]) -> None:
    """Press, and again when the form stays: it may still check what was typed, or Prefect's database may be busy."""
    for _ in range(PRESSES):
        button.click()
        deadline = time.monotonic() + STAYS_SECONDS
        while time.monotonic() < deadline and form.is_visible() and not taken():
            form.page.wait_for_timeout(100)
        if taken() or not form.is_visible():
            return
        said = form.page.locator("[data-sonner-toast], .p-toast").all_inner_texts()
        print(f"the form stayed; the page says: {said}")
    raise AssertionError(f"the form was not taken after {PRESSES} presses")


def choose_until(open_list: Callable[[], None], option: Locator, shown: Locator, start: str) -> None:
    """Open the list and choose, until the form shows it: a page that refreshes itself closes an open list."""
    for _ in range(PRESSES):
        with contextlib.suppress(PlaywrightTimeoutError, AssertionError):
            if not option.is_visible():
                open_list()
            option.click(timeout=STAYS_SECONDS * 1000)
            expect(shown).to_contain_text(start, timeout=STAYS_SECONDS * 1000)
            return
    raise AssertionError(f"{start} could not be chosen in {PRESSES} tries")


class Interface(Protocol):
    """What the tests do in either."""

    page: Page

    def sign_in(self) -> None: ...
    def open_run(self, run: str) -> None: ...
    def open_resume(self) -> Locator: ...
    def fill_in(self, form: Locator, request: str, person: str, answer: str, reason: str) -> None: ...
    def type_code(self, form: Locator, code: str) -> None: ...
    def send(self, form: Locator, taken: Callable[[], bool]) -> None: ...


class Newer:
    """The default interface, at /v2."""

    def __init__(self, page: Page, ground: Ground) -> None:
        self.page = page
        self.ground = ground

    def ask_who(self) -> Locator:
        """The sign-in page, which comes by itself."""
        self.page.goto(self.ground.url)
        asked = self.page.get_by_placeholder("admin:pass")
        asked.wait_for()
        return asked

    def sign_in(self) -> None:
        asked = self.ask_who()
        asked.fill(self.ground.credential)
        asked.press("Enter")
        self.page.get_by_role("link", name="Deployments").wait_for()

    def open_deployment(self, flow: str, name: str) -> None:
        self.page.get_by_role("link", name="Deployments").click()
        self.page.get_by_role("row").filter(has_text=flow).get_by_role("link", name=name).click()
        self._open_tab("Description")

    def open_run_form(self) -> None:
        self.page.get_by_role("button", name="Run").click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def open_run(self, run: str) -> None:
        self.page.goto(f"{self.ground.url}/v2/runs/flow-run/{run}")

    def wait_for_state(self, word: str) -> None:
        expect(self.page.locator("main").get_by_text(word, exact=True).first).to_be_visible()

    def _open_tab(self, name: str) -> None:
        """A click while the page still loads is lost: the tab jumps back to the first."""
        tab = self.page.get_by_role("tab", name=name)
        tab.wait_for()
        self.page.wait_for_load_state("networkidle")
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")

    def open_artifacts(self) -> None:
        self._open_tab("Artifacts")

    def open_artifact(self, run: str, kind: str, number: int = 0) -> None:
        """Two pages: the artifact's history, then the newest version."""
        self.open_run(run)
        self.open_artifacts()
        self.page.locator(f"a[href*='/artifacts/key/{kind}-']").first.click()
        self.page.locator("a[href*='/artifacts/artifact/']").nth(number).click()
        self.page.get_by_role("tab", name="Raw").wait_for()
        self.page.locator(".prose").first.wait_for()

    def open_menu(self) -> Locator:
        resume = self.page.get_by_role("menuitem", name="Resume")
        self.wait_for_state("Suspended")
        self.page.get_by_role("button", name="Open menu").first.click()
        resume.wait_for()
        return resume

    def open_resume(self) -> Locator:
        self.open_menu().click()
        form = self.page.get_by_role("dialog")
        form.get_by_text(FIELDS[-1]).wait_for()
        return form

    def choose(self, form: Locator, label: str, start: str) -> None:
        button = form.get_by_role("button", name=f"Select {label}")
        option = self.page.get_by_role("option").filter(has_text=start).first
        choose_until(button.click, option, button, start)

    def fill_in(self, form: Locator, request: str, person: str, answer: str, reason: str) -> None:
        self.choose(form, FIELDS[0], request)
        self.choose(form, FIELDS[1], f"{person}:")
        self.choose(form, FIELDS[2], answer)
        form.get_by_label(FIELDS[3]).fill(reason)

    def type_code(self, form: Locator, code: str) -> None:
        form.get_by_label(FIELDS[4]).fill(code)

    def send(self, form: Locator, taken: Callable[[], bool]) -> None:
        press_until(form.get_by_role("button", name="Resume", exact=True), form, taken)


class Older:
    """The older interface, at /; it has a Resume button on the run's page."""

    def __init__(self, page: Page, ground: Ground) -> None:
        self.page = page
        self.ground = ground

    def ask_who(self) -> Locator:
        self.page.goto(f"{self.ground.url}/runs")
        asked = self.page.get_by_placeholder("admin:pass")
        asked.wait_for()
        return asked

    def sign_in(self) -> None:
        asked = self.ask_who()
        asked.fill(self.ground.credential)
        asked.press("Enter")
        self.page.get_by_role("button", name="Deployments").wait_for()

    def open_run(self, run: str) -> None:
        self.page.goto(f"{self.ground.url}/runs/flow-run/{run}")

    def open_resume(self) -> Locator:
        self.page.get_by_role("button", name="Resume").click()
        self.page.get_by_text(FIELDS[-1]).wait_for()
        return self.page.locator(".p-modal").last

    def field(self, form: Locator, label: str, kind: str) -> Locator:
        return form.locator(f"xpath=.//label[contains(., '{label}')]/following::{kind}[1]")

    def choose(self, form: Locator, label: str, start: str) -> None:
        button = self.field(form, label, "fieldset").locator("button").first
        option = self.page.locator(".p-select-option").filter(has_text=start).first

        def open_list() -> None:
            button.focus()
            self.page.keyboard.press("ArrowDown")  # a click would open the list and close it again

        choose_until(open_list, option, button, start)

    def fill_in(self, form: Locator, request: str, person: str, answer: str, reason: str) -> None:
        self.choose(form, FIELDS[0], request)
        self.choose(form, FIELDS[1], f"{person}:")
        self.choose(form, FIELDS[2], answer)
        self.field(form, FIELDS[3], "textarea").fill(reason)

    def type_code(self, form: Locator, code: str) -> None:
        self.field(form, FIELDS[4], "textarea").fill(code)

    def send(self, form: Locator, taken: Callable[[], bool]) -> None:
        press_until(form.get_by_role("button", name="Submit"), form, taken)
