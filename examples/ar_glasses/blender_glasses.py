"""Blender: the camera of a photo or clip, and glasses that follow the head through its records.

    trg predict clip.mp4 -o out                            # out/clip.jsonl; a photo serves as well
    python glasses.py first_frame.png -o scene             # scene/scene.json: the meshes
    blender -b -P blender_glasses.py -- out/clip.jsonl scene/scene.json glasses.blend
    blender -b glasses.blend -o //frame_#### -a            # pictures to lay over the clip

Makes a level camera that looks along +y with the intrinsics of the records (without the lens's
distortion), and the first head's glasses and face with a key per frame. The face is a holdout: it
is not drawn, and hides what is behind it. Blender's axes: docs/conventions.md. Blender has no
`trg` in its Python; the functions above `main` therefore use nothing but Python.
"""

import json
import sys


def product(a, b):
    """Return the product of matrices given as rows."""
    return [[sum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]  # noqa: B905


# From OpenCV's axes: of a camera (x right, y up, z backward), and back from those of a head that
# faces -y (x to the person's left, y to the back of the head, z up).
CAMERA_AXES = [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]
HEAD_AXES_BACK = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def blender_pose(face, axes):
    """Return the 4x4 pose of a face of a record, relative to Blender's camera."""
    rows = zip(face["rotation"], face["translation_m"], strict=True)
    pose = [*([*row, place] for row, place in rows), [0, 0, 0, 1]]
    if axes == "blender":  # of `trg predict --frame blender`
        return pose
    if axes != "opencv":
        raise ValueError(f"axes: expected opencv or blender, got {axes}")
    return product(product(CAMERA_AXES, pose), HEAD_AXES_BACK)


def blender_lens(camera, width, sensor_mm=36.0):
    """Return the settings of Blender's camera: focal length, and shifts in shares of the width."""
    _, height = camera["size"]
    return {
        "lens": camera["fx"] * sensor_mm / width,
        "shift_x": 0.5 - camera["cx"] / width,
        "shift_y": (camera["cy"] - 0.5 * height) / width * camera["fx"] / camera["fy"],
    }


def blender_vertices(vertices):
    """Return vertices of scene.json, in OpenGL's axes of a head, in Blender's."""
    return [(x, -z, y) for x, y, z in vertices]


def read_frames(path, face_id):
    """Yield the camera, the axes and the face, or None, of each record."""
    with open(path) as lines:
        for record in map(json.loads, lines):
            faces = [each for each in record["faces"] if face_id in (None, each["id"])]
            camera = {**record["camera"], "size": record["size"]}
            yield camera, record.get("axes", "opencv"), faces[0] if faces else None


def main(records, scene_path, out, face_id=None):
    import bpy
    from mathutils import Matrix

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    frames = list(read_frames(records, face_id))
    camera = frames[0][0]
    width, height = camera["size"]
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width, data.clip_start = "HORIZONTAL", 36.0, 0.01
    for name, value in blender_lens(camera, width).items():
        setattr(data, name, value)
    eye = bpy.data.objects.new("camera", data)
    eye.matrix_world = Matrix([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    scene.collection.objects.link(eye)
    scene.camera = eye
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = max(camera["fy"] / camera["fx"], 1.0)
    scene.render.pixel_aspect_y = max(camera["fx"] / camera["fy"], 1.0)
    scene.render.film_transparent = True
    scene.frame_start, scene.frame_end = 1, len(frames)
    head = bpy.data.objects.new("head", None)
    head.rotation_mode = "QUATERNION"
    scene.collection.objects.link(head)
    with open(scene_path) as file:
        fitted = json.load(file)["heads"][0]
    for part in [fitted["face"], *fitted["glasses"]]:
        mesh = bpy.data.meshes.new(part["name"])
        mesh.from_pydata(blender_vertices(part["vertices"]), [], part["triangles"])
        thing = bpy.data.objects.new(part["name"], mesh)
        thing.parent, thing.is_holdout = head, part["name"] == "face"
        scene.collection.objects.link(thing)
        *colour, alpha = (value / 255 for value in part["rgba"])
        paint = bpy.data.materials.new(part["name"])
        paint.use_nodes = True
        shader = paint.node_tree.nodes["Principled BSDF"].inputs
        shader["Base Color"].default_value = [*(value**2.2 for value in colour), 1.0]
        shader["Alpha"].default_value = 1.0 if thing.is_holdout else alpha
        mesh.materials.append(paint)
    light = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    light.data.energy, light.rotation_euler = 4.0, (0.9, 0.2, 0.0)
    scene.collection.objects.link(light)
    for number, (_, axes, face) in enumerate(frames, 1):
        head.hide_render = face is None
        if face is not None:  # else the last pose stays; the children are hidden
            head.matrix_world = eye.matrix_world @ Matrix(blender_pose(face, axes))
            head.keyframe_insert("location", frame=number)
            head.keyframe_insert("rotation_quaternion", frame=number)
        for each in head.children:
            each.hide_render = face is None
            each.keyframe_insert("hide_render", frame=number)
    bpy.ops.wm.save_as_mainfile(filepath=out)


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    if len(given) not in (3, 4):
        raise SystemExit("expected RECORDS.jsonl scene.json OUT.blend [ID of the face]")
    main(*given[:3], *map(int, given[3:]))
