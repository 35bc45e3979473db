"""Input of images, videos and cameras; output of drawings, meshes and records."""
