"""How heads move: nods, shakes, tilts, speeds and distances from the poses of videos."""
