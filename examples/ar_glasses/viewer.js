// Shows scene.json over its photo. three comes from this folder: `npm install three`.
import * as THREE from "./node_modules/three/build/three.module.js";

// The camera of the photo. Its principal point need not be in the middle, which three's own
// parameters cannot say; a lens's distortion is not drawn.
function photoCamera({ fx, fy, cx, cy, width, height }, near = 0.01, far = 100) {
  const camera = new THREE.PerspectiveCamera();
  camera.projectionMatrix.set(
    (2 * fx) / width, 0, 1 - (2 * cx) / width, 0,
    0, (2 * fy) / height, (2 * cy) / height - 1, 0,
    0, 0, -(far + near) / (far - near), (-2 * far * near) / (far - near),
    0, 0, -1, 0,
  );
  camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
  return camera;
}

function toMesh({ vertices, triangles }, material) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(vertices.flat(), 3));
  geometry.setIndex(triangles.flat());
  geometry.computeVertexNormals();
  return new THREE.Mesh(geometry, material);
}

function toHead({ pose, face, glasses }) {
  const head = new THREE.Group();
  head.matrixAutoUpdate = false;
  head.matrix.set(...pose.flat());
  // The face is not drawn, but hides what is behind it.
  const skin = new THREE.MeshBasicMaterial({
    colorWrite: false, side: THREE.DoubleSide, polygonOffset: true, polygonOffsetFactor: 2,
  });
  const hidden = toMesh(face, skin);
  hidden.renderOrder = -1;
  head.add(hidden);
  for (const part of glasses) {
    const [red, green, blue, alpha] = part.rgba.map((value) => value / 255);
    head.add(
      toMesh(
        part,
        new THREE.MeshStandardMaterial({
          color: new THREE.Color().setRGB(red, green, blue, THREE.SRGBColorSpace),
          opacity: alpha, transparent: alpha < 1, depthWrite: alpha === 1,
          side: THREE.DoubleSide, roughness: 0.4,
        }),
      ),
    );
  }
  return head;
}

const scene = await (await fetch("scene.json")).json();
const { width, height } = scene.camera;
document.getElementById("photo").src = scene.photo;
const renderer = new THREE.WebGLRenderer({ alpha: true, antialias: true });
renderer.setSize(width, height, false);
document.getElementById("view").append(renderer.domElement);
const world = new THREE.Scene();
world.add(new THREE.HemisphereLight(0xffffff, 0x888888, 2.5));
const lamp = new THREE.DirectionalLight(0xffffff, 1.5);
lamp.position.set(-0.5, 1, 1);
world.add(lamp);
for (const head of scene.heads) world.add(toHead(head));
renderer.render(world, photoCamera(scene.camera));
document.body.dataset.drawn = scene.heads.length;
