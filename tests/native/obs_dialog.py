"""Loads the plugin into libobs alone, without a screen, and tells about a filter's dialog as JSON.

`python -m tests.native.obs_dialog PLUGIN_FOLDER FILTER_ID SETTINGS_JSON OUT_FILE [BUTTON]`; it presses the button.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libobs.so.0", mode=ctypes.RTLD_GLOBAL)
    pointers = ("obs_get_source_properties", "obs_get_source_defaults", "obs_data_create_from_json")
    for name in (*pointers, "obs_properties_get", "obs_properties_first"):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("obs_property_name", "obs_property_description"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


def describe(folder: Path, filter_id: str, settings: dict[str, Any], button: str | None) -> list[dict[str, Any]]:
    """The dialog's properties in order: name, text, whether they are visible. Presses a button, where one is given."""
    obs = _library()
    assert obs.obs_startup(b"en-US", None, None) & 1
    module = ctypes.c_void_p()
    binary, data = folder / "bin" / "64bit" / "gest_stream.so", folder / "data"
    assert obs.obs_open_module(ctypes.byref(module), str(binary).encode(), str(data).encode()) == 0
    assert obs.obs_init_module(module) & 1
    dialog = ctypes.c_void_p(obs.obs_get_source_properties(filter_id.encode()))
    chosen = ctypes.c_void_p(obs.obs_data_create_from_json(json.dumps(settings).encode()))
    defaults = ctypes.c_void_p(obs.obs_get_source_defaults(filter_id.encode()))
    obs.obs_data_apply(defaults, chosen)
    obs.obs_properties_apply_settings(dialog, defaults)
    properties = []
    current = ctypes.c_void_p(obs.obs_properties_first(dialog))
    while current:
        name = obs.obs_property_name(current).decode()
        text = (obs.obs_property_description(current) or b"").decode()
        properties.append({"name": name, "text": text, "visible": bool(obs.obs_property_visible(current) & 1)})
        if not obs.obs_property_next(ctypes.byref(current)) & 1:
            break
    if button is not None:
        obs.obs_property_button_clicked(ctypes.c_void_p(obs.obs_properties_get(dialog, button.encode())), None)
    obs.obs_properties_destroy(dialog)
    obs.obs_data_release(chosen)
    obs.obs_data_release(defaults)
    obs.obs_shutdown()
    return properties


def main() -> None:
    """Write the JSON to a file: libobs logs to stdout."""
    folder, filter_id, settings, out, *button = sys.argv[1:]
    told = describe(Path(folder), filter_id, json.loads(settings), button[0] if button else None)
    Path(out).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
