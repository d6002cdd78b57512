"use strict";
// One picture in, an answer out, in the browser alone. The search for the nucleus and the preparation of the pixels are part of the network.
const SIDE = 160, PATCH = 32, STEP = 16;
const WORDS = { ig: "immature granulocyte" };
const state = document.getElementById("state"), answers = document.getElementById("answers"), problems = document.getElementById("problems");
let session, facts;

ort.env.wasm.numThreads = 1;  // more need headers that a plain server does not send
const ready = (async () => {
  facts = await (await fetch("model.json")).json();
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  const trained = facts.trained_on.map((site) => `${site.title}: ${site.images.toLocaleString("en")} images, ${site.licence}`).join("; ");
  document.getElementById("about").textContent = `Version ${facts.version}. The network knows ${inWords(facts.classes)}. It learned from ${trained}.`;
  state.textContent = "Ready.";
})();
ready.catch((error) => { state.textContent = `The network could not be loaded (${error.message}). Reload the page.`; });

function inWords(classes) {
  return classes.map((name) => WORDS[name] ?? name).join(", ");
}

// The picture on a square of its own brightest colour, not distorted, SIDE pixels wide.
function square(image) {
  const canvas = document.createElement("canvas"), wide = Math.max(image.width, image.height);
  canvas.width = canvas.height = SIDE;
  const brush = canvas.getContext("2d", { willReadFrequently: true }), scale = SIDE / wide;
  brush.imageSmoothingQuality = "high";
  if (image.width !== image.height) {
    brush.drawImage(image, 0, 0, SIDE, SIDE);
    brush.fillStyle = `rgb(${glass(brush.getImageData(0, 0, SIDE, SIDE).data).join(",")})`;
    brush.fillRect(0, 0, SIDE, SIDE);
  }
  brush.drawImage(image, (wide - image.width) / 2 * scale, (wide - image.height) / 2 * scale, image.width * scale, image.height * scale);
  return canvas;
}

// Red, green and blue of clear glass: the median of the brightest tenth, by green.
function glass(data) {
  const pixels = [];
  for (let place = 0; place < data.length; place += 4) pixels.push([data[place], data[place + 1], data[place + 2]]);
  const bright = pixels.sort((one, other) => other[1] - one[1]).slice(0, Math.ceil(pixels.length / 10));
  return [0, 1, 2].map((channel) => bright.map((pixel) => pixel[channel]).sort((one, other) => one - other)[bright.length >> 1]);
}

function pixelsOf(canvas) {
  const data = canvas.getContext("2d").getImageData(0, 0, SIDE, SIDE).data, pixels = new Float32Array(SIDE * SIDE * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) for (let channel = 0; channel < 3; channel++) pixels[to++] = data[from + channel];
  return pixels;
}

// The eight orientations that need no resampling, one picture after the other.
function turned(pixels) {
  const all = new Float32Array(8 * pixels.length);
  for (let turn = 0, to = 0; turn < 8; turn++) for (let row = 0; row < SIDE; row++) for (let column = 0; column < SIDE; column++) {
    const [down, across] = turn & 4 ? [column, row] : [row, column];
    const from = ((turn & 1 ? SIDE - 1 - down : down) * SIDE + (turn & 2 ? SIDE - 1 - across : across)) * 3;
    for (let channel = 0; channel < 3; channel++) all[to++] = pixels[from + channel];
  }
  return all;
}

// What the network says of one picture, or on average of several.
async function look(pixels) {
  const count = pixels.length / (SIDE * SIDE * 3);
  const found = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", pixels, [count, SIDE, SIDE, 3]) });
  const mean = (data, width) => Array.from({ length: width }, (_, place) => data.reduce((sum, value, at) => sum + (at % width === place ? value : 0), 0) / count);
  return { probabilities: mean(found.probabilities.data, facts.classes.length), strangeness: mean(found.strangeness.data, 1)[0] };
}

function named(answer) {
  const order = answer.probabilities.map((_, place) => place).sort((one, other) => answer.probabilities[other] - answer.probabilities[one]);
  const held = order.filter((place, rank) => rank === 0 || answer.probabilities[place] >= facts.set_threshold);
  return { name: facts.classes[order[0]], probability: answer.probabilities[order[0]], set: held.map((place) => facts.classes[place]), known: answer.strangeness <= facts.strangest };
}

// How much probability of the class named each place costs, in a single look, when it is covered with glass.
async function hangsOn(canvas, pixels, answer) {
  const before = (await look(pixels)).probabilities, colour = glass(canvas.getContext("2d").getImageData(0, 0, SIDE, SIDE).data), best = answer.probabilities.indexOf(Math.max(...answer.probabilities));
  const total = new Float32Array(SIDE * SIDE), count = new Float32Array(SIDE * SIDE);
  for (let top = 0; top + PATCH <= SIDE; top += STEP) for (let left = 0; left + PATCH <= SIDE; left += STEP) {
    const covered = pixels.slice();
    for (let row = top; row < top + PATCH; row++) for (let column = left; column < left + PATCH; column++)
      for (let channel = 0; channel < 3; channel++) covered[(row * SIDE + column) * 3 + channel] = colour[channel];
    const lost = before[best] - (await look(covered)).probabilities[best];
    for (let row = top; row < top + PATCH; row++) for (let column = left; column < left + PATCH; column++) { total[row * SIDE + column] += lost; count[row * SIDE + column]++; }
    await new Promise(requestAnimationFrame);
  }
  return total.map((value, place) => value / Math.max(count[place], 1));
}

function paint(canvas, map) {
  const brush = canvas.getContext("2d"), picture = brush.getImageData(0, 0, SIDE, SIDE), most = Math.max(0.01, ...map);
  for (let place = 0; place < map.length; place++) {
    const share = 0.65 * Math.max(map[place], 0) / most;
    [213, 60, 0].forEach((value, channel) => { picture.data[4 * place + channel] = picture.data[4 * place + channel] * (1 - share) + value * share; });
  }
  brush.putImageData(picture, 0, 0);
}

function element(kind, text, name) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function show(file, canvas, pixels, answer) {
  const said = named(answer), row = element("article", "", "cell"), words = element("div"), meter = element("meter"), why = element("button", "What does it depend on?");
  meter.value = said.probability;
  meter.setAttribute("aria-label", "probability");
  why.onclick = async () => { why.disabled = true; why.textContent = "Covering one place after the other …"; paint(canvas, await hangsOn(canvas, pixels, answer)); why.textContent = "Orange: covering it costs probability"; };
  words.append(element("h2", `${inWords([said.name])}, ${(100 * said.probability).toFixed(1)} %`), meter, element("p", `One of: ${inWords(said.set)}`), element("p", said.known ? "" : "Not a cell I know: unlike those I was trained on.", "strange"), why, element("p", file, "file"));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `the picture ${file}`);
  row.append(canvas, words);
  row.dataset.answer = JSON.stringify({ file, ...said, ...answer });
  answers.prepend(row);
}

async function take(files) {
  await ready;
  for (const file of files) {
    state.textContent = `Looking at ${file.name} …`;
    try {
      const image = await createImageBitmap(file, { colorSpaceConversion: "none" });
      if (Math.min(image.width, image.height) < 64) throw new Error("a cell needs 64 pixels at least");
      const canvas = square(image), pixels = pixelsOf(canvas);
      show(file.name, canvas, pixels, await look(turned(pixels)));
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
