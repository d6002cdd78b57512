"use strict";
// Keeps the page's own files, so that it opens without a network. Nothing else is requested, and nothing is sent.
const STORE = "bloodcell-2", FILES = ["./", "index.html", "style.css", "app.js", "model.json", "model.onnx", "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];
addEventListener("install", (event) => event.waitUntil(caches.open(STORE).then((store) => store.addAll(FILES))));
addEventListener("activate", (event) => event.waitUntil(caches.keys().then((names) => Promise.all(names.filter((name) => name !== STORE).map((name) => caches.delete(name))))));
addEventListener("fetch", (event) => event.respondWith(fetch(event.request).catch(() => caches.match(event.request))));
