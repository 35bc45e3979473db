"""One module for each target, named after the scheme of its URL: see :mod:`trg.live.sender`."""
