"""Light, backgrounds and the camera sensor."""
