// The preview of `trg live`. The format of the messages is stated in browser.py.

const MESH_COLOURS = ["86,196,255", "255,170,92", "140,226,140", "232,144,255", "255,222,92", "255,130,144"];
const AXIS_COLOURS = ["rgb(236,64,64)", "rgb(72,205,84)", "rgb(70,120,255)"];
const HEAD_SIZE_M = 0.3; // that the 3D view shows
const AXIS_LENGTH_M = 0.1;
const SHADES = 32;
const RETRY_MS = 1000;

/** Split a message into its JSON, the meshes and the bytes of the picture. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const headerBytes = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headerBytes)));
  let place = 4 + headerBytes;
  const floats = (count) => {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i += 1, place += 4) values[i] = view.getFloat32(place, true);
    return values;
  };
  const meshM = floats(3 * header.vertices);
  const meshesPx = header.shown.map(() => floats(2 * header.vertices));
  return { header, meshM, meshesPx, jpeg: new Uint8Array(buffer, place) };
}

/** Turn points (x, y, z; y down, z away) about the vertical, then about the horizontal; radians. */
export function turned(points, yaw, pitch) {
  const [cosYaw, sinYaw, cosPitch, sinPitch] =
    [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const result = new Float32Array(points.length);
  for (let i = 0; i < points.length; i += 3) {
    const [x, y, z] = [points[i], points[i + 1], points[i + 2]];
    const depth = cosYaw * z - sinYaw * x;
    result[i] = cosYaw * x + sinYaw * z;
    result[i + 1] = cosPitch * y - sinPitch * depth;
    result[i + 2] = sinPitch * y + cosPitch * depth;
  }
  return result;
}

/** Triangles that show their outer side, the farthest first, each with its brightness 0 to 1. */
export function visibleTriangles(points, triangles) {
  const found = [];
  for (let i = 0; i < triangles.length; i += 3) {
    const [a, b, c] = [3 * triangles[i], 3 * triangles[i + 1], 3 * triangles[i + 2]];
    const [ux, uy, uz] = [points[b] - points[a], points[b + 1] - points[a + 1], points[b + 2] - points[a + 2]];
    const [vx, vy, vz] = [points[c] - points[a], points[c + 1] - points[a + 1], points[c + 2] - points[a + 2]];
    const [nx, ny, nz] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    if (nz >= 0) continue; // it faces away
    const light = (-0.35 * nx - 0.45 * ny - 0.82 * nz) / Math.hypot(nx, ny, nz);
    found.push({ corners: [a, b, c], depth: points[a + 2] + points[b + 2] + points[c + 2],
      brightness: 0.25 + 0.75 * Math.max(0, light) });
  }
  return found.sort((first, second) => second.depth - first.depth);
}

/** The rows of numbers: name and text. */
export function numberRows({ main, status }) {
  const signed = (value, decimals) => {
    const text = Math.abs(value).toFixed(decimals);
    return `${value < 0 && Number(text) ? "−" : "+"}${text}`;
  };
  const rows = [];
  const angles = main ? main.euler_deg.map((each) => `${signed(each, 1)}°`) : ["–", "–", "–"];
  ["Yaw", "Pitch", "Roll"].forEach((name, i) => rows.push([name, angles[i]]));
  rows.push(["x, y, z (cm)", main ? main.translation_m.map((each) => signed(100 * each, 1)).join("  ") : "–"]);
  rows.push(["Distance", main ? `${main.distance_m.toFixed(2)} m` : "–"]);
  rows.push(["Confidence", !main ? "no face" : main.is_seen ? `${Math.round(100 * main.confidence)} %` : "out of sight"]);
  if (status) {
    rows.push(["Frames per second", status.fps.toFixed(1)]);
    rows.push(["Latency (95 %)", `${status.latency_ms[0].toFixed(0)} ms (${status.latency_ms[1].toFixed(0)} ms)`]);
    rows.push(["Dropped", `${status.dropped} of ${status.frames + status.dropped}`]);
  }
  return rows;
}

function drawLines(context, points, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

/** Draw the picture with mesh, box and axes of each person. */
export function drawPicture(canvas, picture, { header, meshesPx }, triangles) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  context.scale(picture.width / header.size_px[0], picture.height / header.size_px[1]);
  const unit = Math.max(1, header.size_px[0] / 640);
  header.shown.forEach(({ id, axes_px: axes, box_px: [x0, y0, x1, y1] }, face) => {
    const colour = MESH_COLOURS[(id ?? face) % MESH_COLOURS.length];
    const mesh = meshesPx[face];
    context.strokeStyle = `rgba(${colour},0.45)`;
    context.lineWidth = 0.5 * unit;
    context.beginPath();
    for (let i = 0; i < triangles.length; i += 3) {
      const [a, b, c] = [2 * triangles[i], 2 * triangles[i + 1], 2 * triangles[i + 2]];
      const area = (mesh[b] - mesh[a]) * (mesh[c + 1] - mesh[a + 1])
        - (mesh[b + 1] - mesh[a + 1]) * (mesh[c] - mesh[a]);
      if (area >= 0) continue; // it faces away
      context.moveTo(mesh[a], mesh[a + 1]);
      context.lineTo(mesh[b], mesh[b + 1]);
      context.lineTo(mesh[c], mesh[c + 1]);
      context.closePath();
    }
    context.stroke();
    context.strokeStyle = `rgb(${colour})`;
    context.lineWidth = 1.5 * unit;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    if (axes) AXIS_COLOURS.forEach((each, i) => drawLines(context, [axes[0], axes[i + 1]], each, 3 * unit));
  });
}

/** Draw the head as the reference frame sees it, turned by the user's view. */
export function drawHead(canvas, { header, meshM }, triangles, view) {
  const context = canvas.getContext("2d");
  const scale = canvas.height / HEAD_SIZE_M;
  const [x0, y0] = [canvas.width / 2, canvas.height / 2];
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!header.main) return;
  const points = turned(meshM, view.yaw, view.pitch);
  const hue = header.main.is_seen ? "205, 45%" : "205, 5%";
  context.lineWidth = 1;
  for (const { corners, brightness } of visibleTriangles(points, triangles)) {
    const light = Math.round(SHADES * brightness) / SHADES;
    context.fillStyle = `hsl(${hue}, ${(12 + 62 * light).toFixed(1)}%)`;
    context.strokeStyle = context.fillStyle; // closes the seams
    context.beginPath();
    corners.forEach((corner, i) => {
      const [x, y] = [x0 + scale * points[corner], y0 + scale * points[corner + 1]];
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.closePath();
    context.fill();
    context.stroke();
  }
  const axes = turned(new Float32Array(header.main.axes.flat()), view.yaw, view.pitch);
  AXIS_COLOURS.forEach((colour, i) => {
    const tip = [x0 + scale * AXIS_LENGTH_M * axes[3 * i], y0 + scale * AXIS_LENGTH_M * axes[3 * i + 1]];
    drawLines(context, [[x0, y0], tip], colour, 3);
  });
}

async function start() {
  const element = (id) => document.getElementById(id);
  const triangles = new Uint16Array(await (await fetch("triangles")).arrayBuffer());
  const view = { yaw: 0, pitch: 0 };
  let socket = null;
  let isPaused = false;
  let isMirrored = false;
  let last = null;

  const say = (text, kind) => {
    const state = element("state");
    if (state.textContent !== text) state.textContent = text;
    state.className = kind;
  };

  const showNumbers = (header) => {
    const list = element("numbers");
    numberRows(header).forEach(([name, text], i) => {
      if (!list.children[2 * i]) list.append(document.createElement("dt"), document.createElement("dd"));
      list.children[2 * i].textContent = name;
      list.children[2 * i + 1].textContent = text;
    });
  };

  const redrawHead = () => last && drawHead(element("head"), last, triangles, view);

  // The next message comes when this one is drawn, so that none waits on the way.
  const show = async (from, buffer) => {
    const message = decode(buffer);
    const picture = await createImageBitmap(new Blob([message.jpeg], { type: "image/jpeg" }));
    if (from !== socket) return; // paused meanwhile
    last = message;
    drawPicture(element("picture"), picture, message, triangles);
    picture.close();
    redrawHead();
    showNumbers(message.header);
    element("source").textContent = message.header.source;
    say("live", "ok");
  };

  // Without a connection no picture is encoded: while the page is paused, or hidden.
  const connect = () => {
    if (socket || isPaused || document.hidden) return;
    const opened = new WebSocket(`ws://${location.host}/${location.search}`);
    socket = opened;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => say("waiting for a picture", "");
    socket.onmessage = (event) => show(opened, event.data).finally(
      () => opened.readyState === WebSocket.OPEN && opened.send(JSON.stringify({ command: "next" })),
    );
    socket.onclose = () => {
      socket = null;
      say(last ? "disconnected; trying again" : "no connection: open the address that trg live has printed", "bad");
      setTimeout(connect, RETRY_MS);
    };
  };
  const disconnect = () => {
    if (!socket) return;
    socket.onclose = null;
    socket.close();
    socket = null;
  };

  const actions = {
    neutral: () => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify({ command: "neutral" })),
    pause: () => {
      isPaused = !isPaused;
      element("pause").setAttribute("aria-pressed", isPaused);
      if (isPaused) {
        disconnect();
        say("paused; poses are still sent", "");
      } else connect();
    },
    mirror: () => {
      isMirrored = document.body.classList.toggle("mirrored");
      element("mirror").setAttribute("aria-pressed", isMirrored);
    },
  };
  const keys = { n: "neutral", p: "pause", m: "mirror" };
  Object.keys(actions).forEach((name) => element(name).addEventListener("click", actions[name]));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    actions[keys[event.key.toLowerCase()]]?.();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));

  const head = element("head");
  const turn = (yaw, pitch) => {
    view.yaw += isMirrored ? -yaw : yaw;
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + pitch));
    redrawHead();
  };
  head.addEventListener("pointerdown", (event) => head.setPointerCapture(event.pointerId));
  head.addEventListener("pointermove", (event) => {
    if (head.hasPointerCapture(event.pointerId)) turn(-0.01 * event.movementX, 0.01 * event.movementY);
  });
  const steps = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  head.addEventListener("keydown", (event) => {
    if (event.key === "Home") {
      view.yaw = 0;
      turn(0, -view.pitch);
    } else if (steps[event.key]) turn(...steps[event.key]);
    else return;
    event.preventDefault();
  });
  connect();
}

if (typeof document !== "undefined") start();
