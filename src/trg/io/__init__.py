"""Pictures, videos and cameras in; drawings, meshes and records out."""
