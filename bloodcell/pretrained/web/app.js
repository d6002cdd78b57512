"use strict";
// One picture in, an answer out, in the browser alone. The search for the nucleus, the orientations of the crop, their average and the calibration are part of the network.
const SIDE = 160, GRID = 40;
const WORDS = { ig: "immature granulocyte" };
const state = document.getElementById("state"), answers = document.getElementById("answers"), problems = document.getElementById("problems");
let session, facts;

ort.env.wasm.numThreads = 1;  // more need headers that a plain server does not send
const ready = (async () => {
  facts = await (await fetch("model.json")).json();
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  const trained = facts.trained_on.map((site) => `${site.title}: ${site.images.toLocaleString("en")} images, ${site.licence}`).join("; ");
  document.getElementById("about").textContent = `Version ${facts.version}. Classes: ${inWords(facts.classes)}. Trained on ${trained}.`;
  state.textContent = "Ready.";
})();
ready.catch((error) => { state.textContent = `The network could not be loaded (${error.message}). Reload the page.`; });

function inWords(classes) {
  return classes.map((name) => WORDS[name] ?? name).join(", ");
}

// The picture on a square of its own background, not distorted, SIDE pixels wide.
function square(image) {
  const canvas = document.createElement("canvas"), wide = Math.max(image.width, image.height);
  canvas.width = canvas.height = SIDE;
  const brush = canvas.getContext("2d", { willReadFrequently: true }), scale = SIDE / wide;
  brush.imageSmoothingQuality = "high";
  if (image.width !== image.height) {
    brush.drawImage(image, 0, 0, SIDE, SIDE);
    brush.fillStyle = `rgb(${background(brush.getImageData(0, 0, SIDE, SIDE).data).join(",")})`;
    brush.fillRect(0, 0, SIDE, SIDE);
  }
  brush.drawImage(image, (wide - image.width) / 2 * scale, (wide - image.height) / 2 * scale, image.width * scale, image.height * scale);
  return canvas;
}

// Red, green and blue of the background: the mean of the brightest tenth of a grid, by green.
function background(data) {
  const wide = SIDE / GRID, places = Array.from({ length: GRID * GRID }, () => [0, 0, 0]);
  for (let row = 0; row < SIDE; row++) for (let column = 0; column < SIDE; column++)
    for (let channel = 0; channel < 3; channel++) places[Math.floor(row / wide) * GRID + Math.floor(column / wide)][channel] += data[(row * SIDE + column) * 4 + channel] / wide ** 2;
  const bright = places.sort((one, other) => other[1] - one[1]).slice(0, places.length / 10);
  return [0, 1, 2].map((channel) => bright.reduce((sum, place) => sum + place[channel], 0) / bright.length);
}

function pixelsOf(canvas) {
  const data = canvas.getContext("2d").getImageData(0, 0, SIDE, SIDE).data, pixels = new Float32Array(SIDE * SIDE * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) for (let channel = 0; channel < 3; channel++) pixels[to++] = data[from + channel];
  return pixels;
}

// What the network computes of one picture.
async function run(pixels) {
  const found = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", pixels, [1, SIDE, SIDE, 3]) });
  return { probabilities: [...found.probabilities.data], ood_score: found.ood_score.data[0], nucleus: found.nucleus.data[2], crop: found.crop, map: found.class_map };
}

function named(answer) {
  const order = answer.probabilities.map((_, place) => place).sort((one, other) => answer.probabilities[other] - answer.probabilities[one]);
  const held = order.filter((place, rank) => rank === 0 || answer.probabilities[place] >= facts.set_threshold), found = answer.nucleus > 0;
  return { name: found ? facts.classes[order[0]] : "", probability: found ? answer.probabilities[order[0]] : null, set: found ? held.map((place) => facts.classes[place]) : [], in_distribution: found && answer.ood_score <= facts.ood_limit };
}

// The crop that the network was given, and over it, in orange, the places that add most to the class named.
function paint(canvas, answer) {
  const size = answer.crop.dims[1], [, rows, columns, classes] = answer.map.dims, best = answer.probabilities.indexOf(Math.max(...answer.probabilities));
  const values = Array.from({ length: rows * columns }, (_, place) => answer.map.data[place * classes + best]), least = Math.min(...values), most = Math.max(...values);
  canvas.width = canvas.height = size;
  const brush = canvas.getContext("2d"), picture = brush.createImageData(size, size);
  for (let row = 0; row < size; row++) for (let column = 0; column < size; column++) {
    const place = row * size + column, value = values[Math.floor(row / size * rows) * columns + Math.floor(column / size * columns)];
    const share = 0.5 * (value - least) / Math.max(most - least, 1e-6);
    [213, 60, 0].forEach((colour, channel) => { picture.data[4 * place + channel] = answer.crop.data[3 * place + channel] * (1 - share) + colour * share; });
    picture.data[4 * place + 3] = 255;
  }
  brush.putImageData(picture, 0, 0);
}

function element(kind, text, name) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function show(file, canvas, answer) {
  const said = named(answer), row = element("article", "", "cell"), words = element("div");
  if (said.name) {
    const meter = element("meter"), why = element("button", "What does it depend on?");
    meter.value = said.probability;
    meter.setAttribute("aria-label", "probability");
    why.onclick = () => { why.disabled = true; paint(canvas, answer); why.textContent = "Orange: places that add most to this class"; };
    words.append(element("h2", `${inWords([said.name])}, ${(100 * said.probability).toFixed(1)} %`), meter, element("p", `prediction set: ${inWords(said.set)}`), element("p", said.in_distribution ? "" : "Above the out-of-distribution limit.", "strange"), why);
  } else words.append(element("h2", "no nucleus found"), element("p", "Take a picture of one nucleated cell in focus."));
  words.append(element("p", file, "file"));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `the picture ${file}`);
  row.append(canvas, words);
  row.dataset.answer = JSON.stringify({ file, ...said, probabilities: answer.probabilities, ood_score: answer.ood_score, nucleus: answer.nucleus });
  answers.prepend(row);
}

async function take(files) {
  await ready;
  for (const file of files) {
    state.textContent = `Classifying ${file.name} …`;
    try {
      const image = await createImageBitmap(file, { colorSpaceConversion: "none" });
      if (Math.min(image.width, image.height) < 64) throw new Error(`needs at least 64 pixels, got ${Math.min(image.width, image.height)}`);
      const canvas = square(image);
      show(file.name, canvas, await run(pixelsOf(canvas)));
    } catch (error) {
      problems.append(element("p", `${file.name} cannot be used (${error.message}). Take a JPEG or PNG of one cell.`));
    }
  }
  state.textContent = "Ready.";
  document.body.dataset.done = "yes";
}

for (const name of ["file", "camera"]) document.getElementById(name).onchange = (event) => take(event.target.files);
const drop = document.getElementById("drop");
addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files); });

// Pictures named in the address, such as #cells/a.png,cells/b.png, are opened as if they had been chosen.
if (location.hash.length > 1) Promise.all(location.hash.slice(1).split(",").map(async (path) => new File([await (await fetch(path)).blob()], path.split("/").pop()))).then(take);

if ("serviceWorker" in navigator) navigator.serviceWorker.register("offline.js").catch(() => {});  // without it the page needs its server
