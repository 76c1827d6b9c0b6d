// The tables that are written by hand name what the code has, and nothing else.
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { causeHeaders, createBus, event, isWaybillError, memory, versionHeader, type Message } from "@waybill/core";

const root = fileURLToPath(new URL("..", import.meta.url));

function page(name: string): string {
  return readFileSync(new URL(`../docs/${name}`, import.meta.url), "utf8");
}

/** The names in the first column of the tables below a heading, up to the next one. */
function namesBelow(text: string, heading: string): string[] {
  const start = text.indexOf(`\n## ${heading}\n`);
  assert.ok(start >= 0, `the heading ${heading}`);
  const end = text.indexOf("\n## ", start + 4);
  const section = text.slice(start, end < 0 ? undefined : end);
  return [...section.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap((row) =>
    [...(row[1] ?? "").matchAll(/`([^`]+)`/g)].map((name) => name[1] ?? ""),
  );
}

/** The keys that are allowed, as the refusal of a wrong one lists them. */
function allowed(attempt: () => unknown, at: string): string[] {
  let told = "";
  try {
    attempt();
  } catch (error) {
    assert.ok(isWaybillError(error, "CONFIG"), String(error));
    told = error.message;
  }
  const line = told.split("\n").find((part) => part.includes(at)) ?? "";
  const keys = /expected one of the keys ([\w, ]+), found/.exec(line)?.[1];
  assert.ok(keys !== undefined, `the keys at ${at}: ${told}`);
  return keys.split(", ").toSorted();
}

const wrong: object = { zzzzzzzzzzzz: 1 };

test("docs/configuration.md has every option of a bus, and no other", () => {
  const transport = memory();
  const documented = namesBelow(page("configuration.md"), "Of a bus");
  const bus = allowed(() => createBus({ name: "a", transport, ...wrong }), "zzzz");
  const publish = allowed(() => createBus({ name: "a", transport, publish: wrong }), "publish.zzzz");
  assert.deepEqual(documented.toSorted(), [...bus, ...publish].toSorted());
});

test("docs/configuration.md has every option of a subscription, and no other", async () => {
  await using bus = createBus({ name: "a", transport: memory() });
  const options = { group: "g", size: 1, within: 1, ...wrong };
  const batch = allowed(() => bus.subscribeBatch(event("a"), options, () => {}), "zzzz");
  assert.deepEqual(namesBelow(page("configuration.md"), "Of a subscription").toSorted(), batch);
});

test("docs/wire.md has every field of a message and every header of ours", () => {
  const fields: Readonly<Record<keyof Message, true>> = {
    id: true,
    topic: true,
    group: true,
    key: true,
    body: true,
    headers: true,
    time: true,
    deliverAt: true,
    expiresAt: true,
    priority: true,
    replyTo: true,
    correlationId: true,
    mandatory: true,
    native: true,
  };
  const text = page("wire.md");
  assert.deepEqual(namesBelow(text, "Fields"), Object.keys(fields));
  const documented = namesBelow(text, "Headers").filter((name) => name.startsWith("waybill-"));
  const used = globSync("packages/core/src/**/*.ts", { cwd: root })
    .filter((path) => !/\.(test|target|fixture)\.ts$/.test(path))
    .flatMap((path) => [...readFileSync(join(root, path), "utf8").matchAll(/"(waybill-[a-z-]+[a-z])"/g)])
    .map((match) => match[1] ?? "");
  for (const name of [versionHeader, ...Object.values(causeHeaders)]) assert.ok(used.includes(name), name);
  assert.deepEqual(documented.toSorted(), [...new Set(used)].toSorted());
});

test("links between the pages lead somewhere", () => {
  let found = 0;
  for (const path of globSync(["*.md", "docs/*.md", "packages/*/README.md", "examples/*/README.md", "bench/README.md"], {
    cwd: root,
  })) {
    const text = readFileSync(join(root, path), "utf8").replaceAll(/^```[^]*?^```/gm, "");
    for (const [, link = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      found += 1;
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? join(root, path) : join(root, dirname(path), file);
      assert.ok(existsSync(target), `${path}: ${link}`);
      if (anchor !== undefined) assert.ok(anchors(readFileSync(target, "utf8")).includes(anchor), `${path}: ${link}`);
    }
  }
  assert.ok(found > 0);
});

function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, "")
      .replaceAll(/\s+/g, "-"),
  );
}
