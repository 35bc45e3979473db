"""Bundles of Open Sound Control messages, encoded by python-osc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder

OscMessage: TypeAlias = tuple[str, Sequence[str | int | float]]
"""Address and arguments; floats are sent with 32 bits."""


def osc_bundle(messages: Sequence[OscMessage]) -> bytes:
    """Return one datagram with these messages."""
    bundle = OscBundleBuilder(IMMEDIATELY)
    for address, arguments in messages:
        message = OscMessageBuilder(address)
        for argument in arguments:
            message.add_arg(argument, "f" if isinstance(argument, float) else None)
        bundle.add_content(message.build())
    return bundle.build().dgram
