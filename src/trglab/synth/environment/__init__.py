"""Light, surroundings and the sensor."""
