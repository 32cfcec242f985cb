// Every Flux text, with hostile values as its parameters, through Flux's own parser and language server.
//     python -m tests.flux.texts | node tests/flux/check.js
// Ends with 1 where anything is found.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const flux = await load();
let found = 0;
const complain = (name, what) => {
  found += 1;
  console.error(`${name}: ${what}`);
};

const diagnosticsOf = await languageServer();
await mustNotice("a syntax error", 'from(bucket: "b") |> range(start: -1h');
await mustNotice("an unknown function", 'from(bucket: "b") |> rnage(start: -1h)');
await mustNotice("a missing argument", 'from(bucket: "b") |> range()');
await mustNotice("an unknown name", 'from(bucket: nowhere) |> range(start: -1h)');

const texts = JSON.parse(readFileSync(0, "utf8"));
for (const { name, flux: text, extern, value } of texts) {
  // The formatter forgets this escape. The server is given the tree, and never text made of it.
  const options = extern === null ? "" : flux.format_from_js_file(complete(extern)).replaceAll("${", "\\${");
  const whole = `${options}\n\n${text}`;
  for (const diagnostic of await diagnosticsOf(whole)) {
    // A task is known by this very name.
    if (extern === null && diagnostic.message.startsWith("Avoid using `task` as an identifier")) continue;
    complain(name, `${JSON.stringify(diagnostic)}\n${whole}`);
  }
  if (value !== null) {
    // A value that had become anything but a literal would be missing here, or there would be other calls.
    const literals = [...nodes(flux.parse(whole))].filter((node) => node.type === "StringLiteral");
    if (literals.filter((node) => node.value === value).length !== 3) complain(name, `${value} is no literal\n${whole}`);
    const calls = (tree) => [...nodes(tree)].filter((node) => node.type === "CallExpression").length;
    if (calls(flux.parse(whole)) !== calls(flux.parse(text))) complain(name, `${value} calls something\n${whole}`);
  }
}
console.log(`${texts.length} Flux texts checked, ${found} complaints`);
process.exit(found > 0 ? 1 : 0);

// What Flux's formatter takes for granted in a tree: where each node stands.
function complete(tree) {
  if (Array.isArray(tree)) return tree.map(complete);
  if (tree === null || typeof tree !== "object") return tree;
  const entries = Object.entries(tree).map(([key, value]) => [key, complete(value)]);
  const place = { start: { line: 1, column: 1 }, end: { line: 1, column: 1 } };
  return tree.type ? { location: place, ...Object.fromEntries(entries) } : Object.fromEntries(entries);
}

function* nodes(tree) {
  if (tree === null || typeof tree !== "object") return;
  if (tree.type) yield tree;
  for (const value of Object.values(tree)) yield* nodes(value);
}

async function mustNotice(what, text) {
  if ((await diagnosticsOf(text)).length === 0) complain("the check itself", `${what} goes unnoticed`);
}

// The diagnostics the server has of a text.
async function languageServer() {
  const server = new flux.Lsp();
  const waiting = new Map();
  server.onMessage((text) => {
    const message = JSON.parse(text);
    if (message.method === "textDocument/publishDiagnostics") {
      waiting.get(message.params.uri)?.(message.params.diagnostics);
    }
  });
  server.run();
  const send = (message) => server.send(JSON.stringify({ jsonrpc: "2.0", ...message }));
  await send({ id: 1, method: "initialize", params: { capabilities: {} } });
  await send({ method: "initialized", params: {} });
  let number = 0;
  return (text) =>
    new Promise((resolve) => {
      const uri = `file:///${(number += 1)}/main.flux`; // a package of its own
      waiting.set(uri, resolve);
      const textDocument = { uri, languageId: "flux", version: 1, text };
      send({ method: "textDocument/didOpen", params: { textDocument } });
    });
}

// The package is made for bundlers: its module imports the WebAssembly file, which Node does not do by itself.
async function load() {
  const require = createRequire(import.meta.url);
  const path = (ending) => require.resolve(`@influxdata/flux-lsp-browser/flux-lsp-browser_bg.${ending}`);
  const [first, ...rest] = readFileSync(path("js"), "utf8").split("\n");
  if (!first.startsWith("import * as wasm from")) throw new Error(`unknown package: ${first}`);
  const compiled = new WebAssembly.Module(readFileSync(path("wasm")));
  // Each needs the other: what WebAssembly calls is looked up when it is called.
  let module;
  const names = WebAssembly.Module.imports(compiled).map((each) => each.name);
  const calls = Object.fromEntries(names.map((name) => [name, (...given) => module[name](...given)]));
  const instance = new WebAssembly.Instance(compiled, { "./flux-lsp-browser_bg.js": calls });
  globalThis.fluxWasm = instance.exports;
  const source = ["const wasm = globalThis.fluxWasm;", ...rest].join("\n");
  module = await import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
  instance.exports.__wbindgen_start?.();
  return module;
}
