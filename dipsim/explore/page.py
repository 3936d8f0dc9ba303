"""The page: controls at the left, what they give at the right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from html import escape
from pathlib import Path

from nicegui import background_tasks, ui

from dipsim.errors import DipsimError
from dipsim.explore import figures, words
from dipsim.explore.answers import Answer, Stale
from dipsim.explore.chosen import Chosen, address_of, from_address
from dipsim.explore.controls import Controls
from dipsim.explore.work import Work

FIRST = Chosen("phi-3-medium", {"profile": "oneplus-12-ufs4", "method": "dip-ca", "density": 0.5, "dram": "4GB"})
_QUESTION = "How fast is a model on a device, and what would help?"
_SYNTHETIC = (
    "Scores are synthetic: how alike successive tokens are decides what a cache is worth, and of most models nobody "
    "knows it. Low to high is what is known."
)
THIS, PINNED = "this", "pinned"
STYLE = Path(__file__).with_name("explore.css")


class Page:
    """One page in one browser.

    Args:
        work: what is shared.
        query: names and values of its address.
    """

    def __init__(self, work: Work, query: Iterable[tuple[str, str]]) -> None:
        self._work = work
        self._n_asked = 0
        self._address = ""
        self._most_rate = 0.0  # of the last whole answer, so that the scale stays where it is meanwhile
        self._drawn: dict[str, figures.Figure] = {}
        self._client = ui.context.client
        self._client.on_delete(self._leave)
        ui.add_css(STYLE)
        ui.colors(primary="#0072b2")
        try:
            chosen, self._pinned = from_address(query, FIRST)
            refused = ""
        except DipsimError as error:
            chosen, self._pinned, refused = FIRST, None, str(error)
        with ui.element("header"):
            ui.html(f"<h1>dipsim explore</h1><p>{_QUESTION}</p>", sanitize=False)
        with ui.element("main").classes("page"):
            with ui.element("section").classes("controls").props('aria-label="Set-up"'):
                self._runs_menu()
                self._controls = Controls(chosen, self._ask)
                self._pin_buttons()
            with ui.element("section").classes("answer").props('aria-label="Answer"'):
                self._answer_part()
        if refused:
            self._tell(f"The address says nothing that can be shown: {refused}. Here is another set-up.")
        self._ask()

    def _runs_menu(self) -> None:
        self._told = ui.html("", sanitize=False, tag="p").classes("hint")
        self._told.set_visibility(False)
        if not self._work.recorded:
            return
        names = dict(enumerate(run.label for run in self._work.recorded))
        menu = ui.select(names, label="Run of the results", with_input=True, on_change=lambda e: self._take(e.value))
        menu.props('outlined dense options-dense aria-label="Run of the results"').classes("menu")
        menu.move(target_index=0)

    def _pin_buttons(self) -> None:
        with ui.row().classes("pins"):
            look = "outline no-caps dense"
            self._pin = ui.button("Compare with this", on_click=self._pin_this).props(look)
            self._swap = ui.button("Swap", on_click=self._swap_both).props(f'{look} aria-label="Swap with the pinned"')
            self._unpin = ui.button("Unpin", on_click=self._unpin_it).props(look)
        self._pinned_text = ui.label().classes("hint")
        self._show_pins()

    def _answer_part(self) -> None:
        with ui.element("div").classes("card top").props('aria-live="polite"'):
            self._headline = ui.html("...", sanitize=False).classes("headline")
            self._band = ui.html("", sanitize=False).classes("bands")
            self._status = ui.label("starting").classes("status").props("role=status")
        self._error = ui.label().classes("error").props("role=alert")
        self._error.set_visibility(False)
        self._notes = ui.html("", sanitize=False).classes("notes")
        with ui.element("div").classes("card"):
            ui.html("<h2>Numbers</h2>", sanitize=False)
            self._table = ui.html("", sanitize=False).classes("numbers")
        with ui.element("div").classes("figures"):
            self._figures = {name: self._figure(name, title) for name, (title, _) in figures.FIGURES.items()}
            with ui.element("div").classes("card"):
                ui.html("<h2>The same in a shell</h2>", sanitize=False)
                self._command = ui.html("", sanitize=False).classes("command")
                ui.button("Copy command", on_click=self._copy).props("outline no-caps dense")
                ui.html(f'<p class="hint">{_SYNTHETIC}</p>', sanitize=False)

    def _figure(self, name: str, title: str) -> ui.html:
        with ui.element("div").classes("card figure"):
            with ui.row().classes("titled"):
                ui.html(f"<h2>{title}</h2>", sanitize=False)
                for kind in ("svg", "csv"):
                    button = ui.button(kind.upper(), on_click=partial(self._download, name, kind))
                    button.props(f'flat dense no-caps size=sm aria-label="Download {title} as {kind.upper()}"')
            return ui.html("", sanitize=False).classes("drawing")

    def _take(self, place: int | None) -> None:
        """The controls go to a run of the results."""
        if place is None:
            return
        run = self._work.recorded[place]
        self._tell(run.told)
        self._controls.show(run.chosen)
        self._ask()

    def _tell(self, text: str) -> None:
        self._told.set_content(escape(text))
        self._told.set_visibility(True)

    def _pin_this(self) -> None:
        self._pinned = self._chosen()
        self._changed_pins()

    def _swap_both(self) -> None:
        own = self._chosen()
        if own is not None and self._pinned is not None:
            pinned, self._pinned = self._pinned, own
            self._controls.show(pinned)
            self._changed_pins()

    def _unpin_it(self) -> None:
        self._pinned = None
        self._changed_pins()

    def _changed_pins(self) -> None:
        self._show_pins()
        self._ask()

    def _show_pins(self) -> None:
        for button in (self._swap, self._unpin):
            button.set_visibility(self._pinned is not None)
        self._pin.set_text("Compare with this" if self._pinned is None else "Pin this instead")
        pinned = self._pinned
        self._pinned_text.set_text(
            "" if pinned is None else f"Pinned: {pinned.command.removeprefix('dipsim estimate ')}"
        )

    def _chosen(self) -> Chosen | None:
        try:
            return self._controls.chosen()
        except DipsimError as error:
            self._refuse(str(error))
            return None

    def _ask(self) -> None:
        """The set-up is another: whatever was asked before is dropped."""
        self._n_asked += 1
        if (chosen := self._chosen()) is not None:
            background_tasks.create(self._answer(chosen, self._pinned, self._n_asked), name="answer")

    def _leave(self) -> None:
        self._n_asked += 1

    async def _answer(self, chosen: Chosen, pinned: Chosen | None, n_asked: int) -> None:
        def is_stale() -> bool:
            return self._work.is_over or self._n_asked != n_asked

        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            loop.call_soon_threadsafe(lambda: None if is_stale() else self._say(text, is_busy=True))

        shown: dict[str, Answer] = {}
        of_whom = ""
        try:
            questions = {THIS: chosen} | ({} if pinned is None else {PINNED: pinned})
            for name, question in questions.items():
                of_whom = "" if name == THIS else f"{name}: "
                steps = self._work.answers.of(question, is_stale, say)
                while (answer := await self._work.do(partial(next, steps, None))) is not None:
                    if is_stale():
                        return
                    shown[name] = answer
                    self._show(shown, pinned)
            await self._draw(shown, is_stale)
            if not is_stale():
                self._say("up to date")
        except Stale:
            return
        except DipsimError as error:
            if not is_stale():
                self._refuse(f"{of_whom}{error}")
        except OSError as error:
            if not is_stale():
                self._refuse(f"{error.filename or 'system'}: {error.strerror or error}")
        except Exception as error:  # a fault of ours
            if not is_stale():
                self._refuse(f"{type(error).__name__}: {error}; this is a fault of dipsim's, please report it")

    def _show(self, shown: dict[str, Answer], pinned: Chosen | None) -> None:
        """What is known by now."""
        answer = shown[THIS]
        self._error.set_visibility(False)
        self._headline.set_content(words.headline(answer))
        if all(one.is_whole for one in shown.values()):
            self._most_rate = words.most_of(shown)
        self._band.set_content(words.band(shown, self._most_rate))
        self._table.set_content(words.table(shown))
        self._notes.set_content("".join(f"<p>{escape(note)}</p>" for note in answer.notes))
        self._command.set_content(f"<pre><code>{escape(answer.chosen.command)}</code></pre>")
        if self._address != (address := address_of(answer.chosen, pinned)):
            self._address = address
            with self._client:
                ui.navigate.history.replace(address)

    async def _draw(self, shown: dict[str, Answer], is_stale: Callable[[], bool]) -> None:
        """The figures, one after another."""
        for name, drawing in self._figures.items():
            self._say("drawing", is_busy=True)
            figure = await self._work.do(partial(figures.drawn, name, dict(shown)))
            if is_stale():
                return
            self._drawn[name] = figure
            title = figures.FIGURES[name][0]
            drawing.set_content(f'<img alt="{title}" src="data:image/svg+xml;base64,{figure.encoded}">')

    def _say(self, text: str, is_busy: bool = False) -> None:
        self._status.set_text(text)
        for part in (self._status, *self._figures.values()):  # figures are of the set-up before, meanwhile
            part.classes(**({"add": "busy"} if is_busy else {"remove": "busy"}))

    def _refuse(self, sentence: str) -> None:
        self._error.set_text(sentence)
        self._error.set_visibility(True)
        self._say("no answer" + ("; the numbers shown are of the set-up before" if self._drawn else ""))

    def _download(self, name: str, kind: str) -> None:
        if (figure := self._drawn.get(name)) is None:
            ui.notify("not drawn yet")
            return
        content, media = (figure.svg, "image/svg+xml") if kind == "svg" else (figure.csv, "text/csv")
        ui.download.content(content, f"{name}.{kind}", media)

    def _copy(self) -> None:
        if (chosen := self._chosen()) is not None:
            ui.clipboard.write(chosen.command)
            ui.notify("Copied", position="bottom-left")
