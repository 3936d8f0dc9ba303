"""What can be set on the page, and what does it show of a set-up?"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from nicegui import ui

from dipsim import shipped
from dipsim.description import OPTIONS, Description, flag_of, typed
from dipsim.errors import DipsimError
from dipsim.explore.chosen import Chosen
from dipsim.loads import loads
from dipsim.methods import groups_of, methods
from dipsim.model import ModelSpec
from dipsim.policies import policies
from dipsim.profile import HardwareProfile
from dipsim.simulation.described import fitting, masking_of
from dipsim.units import parse_dram

_STARTS = {"density": 0.7, "gamma": 0.2}  # as of a run that is not told
_GB = 1e9
_SHOWN = ("profile", "method", "density", "gamma", "policy", "dram", "loads")  # each has a control
# Methods of mixtures that are most like those of others.
_INSTEAD = {"dip-ca": ("experts",), "dip": ("experts",), "experts-ca": ("dip-ca",), "experts": ("dip-ca",)}
_SYNTHETIC = (None, "mlp_input", "glu", "router")  # sites of which scores can be made up


class Controls:
    """Sliders and menus, and the set-up that they stand for.

    Args:
        chosen: what they show first.
        on_change: called when a user changed something.
    """

    def __init__(self, chosen: Chosen, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._is_shown = False  # while a set-up is shown, controls move by themselves
        self._beside: dict[str, Any] = {}
        devices = list(shipped.names("hwprofiles", ".toml"))
        self._device = _menu("Device", devices, "profile", self._changed, free=True)
        self._model = _menu("Model", list(ModelSpec.presets()), "model", self._changed, free=True)
        self._method = _menu("Method", list(methods), "method", self._changed)
        self._density = _Number("Density", 0.05, 1, 0.01, "density", self._changed)
        self._gamma = _Number("Gamma", 0, 1, 0.01, "gamma", self._changed)
        self._policy = _menu("Policy", list(policies), "policy", self._changed)
        self._dram = _Dram(self._changed)
        self._loads = _menu("Loads", list(loads), "loads", self._changed, multiple=True)
        self._others = ui.row().classes("others")
        self.show(chosen)

    def chosen(self) -> Chosen:
        """The set-up.

        Raises:
            DipsimError: a value of another kind than its option takes.
        """
        return Chosen.of(str(self._model.value or ""), self._options() | self._beside)

    def show(self, chosen: Chosen) -> None:
        """Moves them to where the set-up has them."""
        self._is_shown = True
        try:
            described = chosen.described
            _set(self._device, described.profile)
            _set(self._model, chosen.model)
            self._fit_method(described.method)
            self._density.value = _first_of(described.density, _STARTS["density"])
            self._gamma.value = _first_of(described.gamma, _STARTS["gamma"])
            _set(self._policy, described.policy)
            _set(self._loads, list(described.loads))
            self._dram.fit(_usable_bytes(described))
            self._dram.show(described.dram)
            self._beside = {name: value for name, value in chosen.options.items() if name not in _SHOWN}
            self._fit()
        finally:
            self._is_shown = False

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"profile": str(self._device.value or ""), "method": self._method.value}
        options |= {name: self._number(name).value for name in _STARTS if self._has(name)}
        return options | {
            "policy": self._policy.value,
            "dram": self._dram.value,
            "loads": tuple(self._loads.value or ()),
        }

    def _number(self, name: str) -> _Number:
        return self._density if name == "density" else self._gamma

    def _has(self, name: str) -> bool:
        """Whether the method has the option, and nothing else says the same."""
        shares = ("keep_input", "keep_glu", "keeps")
        if name == "density" and any(share in self._beside for share in shares):
            return False
        return bool(self._method.value) and _has_option(str(self._method.value), name)

    def _changed(self) -> None:
        if self._is_shown:
            return
        self._is_shown = True
        try:
            self._fit_method(self._method.value)
            self._fit()
        finally:
            self._is_shown = False
        self._on_change()

    def _fit_method(self, method: str | None) -> None:
        """Methods that the model has; another, that looks at residency or not as it does, where it lacks the one that
        is asked."""
        names = _methods_of(str(self._model.value or ""))
        if method not in names:
            method = next((name for name in _INSTEAD.get(str(method), ()) if name in names), names[0])
        self._method.set_options(names, value=method)

    def _fit(self) -> None:
        """What does not apply is not there."""
        for name in _STARTS:
            self._number(name).row.set_visibility(self._has(name))
        usable_bytes = _usable_bytes_of(str(self._device.value or ""))
        if usable_bytes is not None:
            self._dram.fit(usable_bytes)
        self._others.clear()
        with self._others:
            if self._beside:
                ui.label("Also set:").classes("hint")
            for name, value in self._beside.items():
                words = " ".join(typed(name, value))
                button = ui.button(words, icon="close", on_click=lambda name=name: self._drop(name))
                button.props(f'outline dense no-caps size=sm aria-label="Leave out {flag_of(name)}"')

    def _drop(self, name: str) -> None:
        del self._beside[name]
        self._changed()


class _Number:
    """A slider, and the number beside it."""

    def __init__(
        self, label: str, low: float, high: float, step: float, option: str, on_change: Callable[[], None]
    ) -> None:
        with ui.column().classes("number") as self.row:
            with ui.row().classes("named"):
                ui.label(label).classes("name").tooltip(OPTIONS[option].help)
                self._number = ui.number(min=low, max=high, step=step, format="%.2f", on_change=self._typed)
                self._number.props(f'dense borderless aria-label="{label}, as a number"').classes("figure")
            self._slider = _slider(label, low, high, step, self._moved)
        self._on_change = on_change

    @property
    def value(self) -> float:
        """The number."""
        return round(float(self._number.value), 4)

    @value.setter
    def value(self, number: float) -> None:
        self._number.value = number
        self._slider.value = number

    def _moved(self) -> None:
        if self._slider.value is not None and self._number.value != self._slider.value:
            self._number.value = round(self._slider.value, 4)

    def _typed(self) -> None:
        if self._number.value is None:
            return
        self._slider.value = self._number.value
        self._on_change()


class _Dram:
    """Memory for the model: as text, or by a slider whose right end is all that the device has."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._most = 0.0
        with ui.column().classes("number"):
            with ui.row().classes("named"):
                ui.label("DRAM").classes("name").tooltip(OPTIONS["dram"].help)
                self._text = ui.input(placeholder="all of the device's", on_change=self._typed)
                self._text.props('dense borderless debounce=300 aria-label="DRAM, as text: 4GB, 0.5x or mlp:0.5"')
                self._text.classes("figure wide")
            self._slider = _slider("DRAM in GB", 0.25, 1, 0.25, self._moved)
        self._on_change = on_change

    @property
    def value(self) -> str | None:
        """As an option of a run has it."""
        return (self._text.value or "").strip() or None

    def fit(self, usable_bytes: float) -> None:
        """The slider goes up to what a device has for models."""
        if usable_bytes != self._most:
            self._most = usable_bytes
            step = 0.25 if usable_bytes > 4 * _GB else 0.05
            self._slider.props(f"max={usable_bytes / _GB} step={step} min={step}")

    def show(self, dram: str | float | None) -> None:
        """Moves to a value."""
        self._text.value = "" if dram is None else str(dram)
        self._slider.value = self._in_gb()

    def _in_gb(self) -> float:
        """Where the slider stands; at its end, where the text is no number of bytes."""
        try:
            amount, of = parse_dram(self.value or self._most)
        except DipsimError:
            return self._most / _GB
        return amount / _GB if of == "bytes" else self._most / _GB

    def _moved(self) -> None:
        if self._slider.value is None or self._slider.value == self._in_gb():
            return
        is_all = self._slider.value >= self._most / _GB
        self._text.value = "" if is_all else f"{round(self._slider.value, 2):g}GB"

    def _typed(self) -> None:
        self._slider.value = self._in_gb()
        self._on_change()


def _slider(label: str, low: float, high: float, step: float, on_change: Callable[[], None]) -> ui.number:
    """The browser's own, which keyboards and screen readers know, unlike that of the library."""
    slider = ui.number(min=low, max=high, step=step, value=low, on_change=on_change).classes("slider")
    return slider.props(f'type=range dense borderless hide-bottom-space aria-label="{label}"')


def _menu(
    label: str, names: list[str], option: str, on_change: Callable[[], None], free: bool = False, multiple: bool = False
) -> ui.select:
    """A menu of names; `free` takes the path of a file too."""
    more: dict[str, Any] = {"with_input": True, "new_value_mode": "add-unique"} if free else {}
    menu = ui.select(names, label=label, multiple=multiple, on_change=on_change, **more)
    menu.props(f'outlined dense options-dense aria-label="{label}"' + (" use-chips" if multiple else ""))
    return menu.classes("menu").tooltip(OPTIONS[option].help if not free else _free_help(option))


def _free_help(option: str) -> str:
    return {
        "profile": "A name of 'dipsim list profiles', or type the path of a TOML file.",
        "model": "A name of 'dipsim list models', or type the path of a .gguf or a config.json.",
    }[option]


def _set(menu: ui.select, value: Any) -> None:
    """A value that is not on the menu comes onto it."""
    missing = [own for own in (value if isinstance(value, list) else [value]) if own not in menu.options]
    menu.set_options([*menu.options, *missing], value=value)


@lru_cache
def _methods_of(model: str) -> list[str]:
    """Methods whose scores can be made up for the model; all of them where that cannot be known."""
    try:
        spec = ModelSpec.load(model)
    except (DipsimError, OSError):
        return list(methods)
    return [name for name in methods if _can_run(name, spec)]


def _can_run(name: str, spec: ModelSpec) -> bool:
    density = {"density": 0.9} if _has_option(name, "density") else {}
    try:
        own = groups_of(masking_of(Description.parse({"method": name} | density, "options")), spec)
    except DipsimError:
        return False
    return all(group.site in _SYNTHETIC for group in own)


@lru_cache
def _has_option(method: str, name: str) -> bool:
    asked = Description.parse({"method": method, name: 0.5}, "options")
    return getattr(fitting(asked), name) is not None


def _usable_bytes(described: Description) -> float:
    return _usable_bytes_of(described.profile) or 8 * _GB


@lru_cache
def _usable_bytes_of(profile: str) -> float | None:
    """What a device has for models; None where it is none."""
    try:
        dram = HardwareProfile.load(profile).dram
    except (DipsimError, OSError):
        return None
    return float(dram.capacity_bytes - dram.reserved_bytes)


def _first_of(value: Any, other: float) -> float:
    return other if value is None else float(value)
