import assert from "node:assert/strict";
import { test } from "node:test";
import { describeFailure, describeText, maskSecrets } from "./cause.ts";
import { WaybillError } from "./errors.ts";

const canary = "s3cr3tCanary";

void test("an error is its class, its message and its code", () => {
  class CardRefused extends Error {
    override name = "CardRefused";
  }
  assert.deepEqual(describeFailure(new CardRefused("limit reached")), { code: "HANDLER", text: "CardRefused: limit reached" });
  assert.deepEqual(describeFailure(new Error("no")), { code: "HANDLER", text: "no" });
  assert.deepEqual(describeFailure(new TypeError("x is not a function")), {
    code: "HANDLER",
    text: "TypeError: x is not a function",
  });
  assert.deepEqual(describeFailure(new WaybillError("VALIDATION", "total: expected a number")), {
    code: "VALIDATION",
    text: "total: expected a number",
  });
  assert.equal(describeFailure(Object.assign(new Error("connect failed"), { code: "ECONNREFUSED" })).text, "connect failed (ECONNREFUSED)");
  assert.equal(describeFailure(new Error("")).text, "Error");
  assert.equal(describeFailure("just text").text, "just text");
});

void test("only our own class gives its code", () => {
  assert.equal(describeFailure(Object.assign(new Error("x"), { code: "DEAD_LETTER" })).code, "HANDLER");
  assert.equal(describeFailure(Object.assign(new WaybillError("DECODE", "x"), { code: "__proto__" })).code, "HANDLER");
});

void test("causes are told, a few of them, and a circle ends", () => {
  const inner = Object.assign(new Error("connect refused"), { code: "ECONNREFUSED" });
  assert.equal(
    describeFailure(new TypeError("fetch failed", { cause: inner })).text,
    "TypeError: fetch failed; cause: connect refused (ECONNREFUSED)",
  );
  const circle = new Error("round");
  circle.cause = circle;
  assert.equal(describeFailure(circle).text, "round; cause: round; cause: round; cause: round");
});

void test("a SyntaxError quotes the body it could not read, so it is not quoted", () => {
  let thrown: unknown;
  try {
    JSON.parse(`{"a": ${canary}`);
  } catch (error) {
    thrown = error;
  }
  assert.ok((thrown as Error).message.includes("s3cr3t"), "the premise");
  assert.equal(describeFailure(thrown).text, "SyntaxError");
  assert.equal(describeFailure(new Error("bad answer", { cause: thrown })).text, "bad answer; cause: SyntaxError");
});

void test("anything can be thrown", () => {
  const angry = new Proxy(new Error("x"), {
    get() {
      throw new Error("get");
    },
    getPrototypeOf() {
      throw new Error("proto");
    },
    has() {
      throw new Error("has");
    },
    ownKeys() {
      throw new Error("keys");
    },
  });
  const { proxy: revoked, revoke } = Proxy.revocable({}, {});
  revoke();
  const getters = Object.freeze(
    Object.defineProperties(
      {},
      {
        message: {
          get() {
            throw new Error("message");
          },
        },
      },
    ),
  );
  const odd = { name: { toString: () => assert.fail("not called") }, message: { toString: () => assert.fail("not called") } };
  const cases: [unknown, string][] = [
    [undefined, "undefined was thrown"],
    [null, "null was thrown"],
    [0, "0 was thrown"],
    [5n, "5 was thrown"],
    [true, "true was thrown"],
    [Symbol("why"), "Symbol(why)"],
    [() => {}, "a function was thrown"],
    [{ orderId: canary }, "an object that is no error was thrown"],
    [Object.freeze({}), "an object that is no error was thrown"],
    [Object.create(null), "an object that is no error was thrown"],
    [angry, "an object that is no error was thrown"],
    [revoked, "an object that is no error was thrown"],
    [getters, "an object that is no error was thrown"],
    [odd, "an object that is no error was thrown"],
    [Object.freeze(new Error("frozen")), "frozen"],
    [{ message: "like an error" }, "like an error"],
  ];
  for (const [thrown, text] of cases) assert.deepEqual(describeFailure(thrown), { code: "HANDLER", text });
});

void test("a message cannot break its line and has a cap", () => {
  const { text } = describeFailure(new Error("a\r\nb\u001b[31m\u2028c\u202e\ud800"));
  assert.equal(text, "a\\r\\nb\\x1b[31m\\u2028c\\u202e\\ud800");
  const long = describeFailure(new Error("\u0000".repeat(50_000_000))).text;
  assert.ok(long.length <= 512 && long.endsWith("…"));
});

void test("no stack, neither its own nor one inside the message", () => {
  const error = new Error("outer");
  error.message = `remote failed\n    at handle (/srv/app/index.js:10:3)\n    at next (/srv/app/x.js:1:1)`;
  assert.equal(describeFailure(error).text, "remote failed");
  assert.doesNotMatch(describeFailure(new Error("boom")).text, /cause\.test|at /);
});

void test("credentials are masked in every form they come in", () => {
  const forms = [
    `amqp://user:${canary}@host:5672/vhost`,
    `cannot reach "amqps://user:${canary}@host/x" now`,
    `amqp://user:${canary}@h:bad`,
    `amqp://user:p@ss/${canary}?x@host`,
    `redis://:${canary}@localhost`,
    `nats://${canary}@host:4222`,
    `amqp://user:${canary}`,
    `amqp://user:my ${canary}@host`,
    `url=amqp%3A%2F%2Fuser%3A${canary}%40host`,
    `amqp%3a%2f%2fuser%3a${canary}`,
    `password=${canary}`,
    `PASSWORD: ${canary}`,
    `{"password":"${canary} ${canary}"}`,
    `{'sasl.password': '${canary}'}`,
    `db_password_old = "${canary}`,
    `passwd=${canary};host=x`,
    `?token=${canary}&x=1`,
    `access_token: ${canary}`,
    `api-key=${canary}`,
    `apiKey: "${canary}"`,
    `x-api-key: ${canary}`,
    `client_secret=${canary}`,
    `Authorization: Bearer ${canary}`,
    `authorization: Basic ${canary}==`,
    `sent Bearer ${canary}`,
    `AWS_SECRET_ACCESS_KEY=${canary}`,
    `eyJhbGciOiJIUzI1NiJ9.${canary}.${canary}`,
    `-----BEGIN RSA PRIVATE KEY-----\n${canary}\n-----END RSA PRIVATE KEY-----`,
    `-----BEGIN PRIVATE KEY-----\n${canary}`,
  ];
  for (const form of forms) {
    for (const text of [describeFailure(new Error(form)).text, describeText(form), describeFailure(new Error("x", { cause: form })).text]) {
      assert.ok(!text.includes(canary), text);
      assert.ok(text.includes("***"), text);
    }
  }
  const seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
  assert.equal(maskSecrets(`seed file ${seed} read`), "seed file *** read");
});

void test("a credential is masked though the text is cut inside it", () => {
  for (const form of [`amqp://user:${canary.repeat(400)}@host`, `password="${canary.repeat(400)}"`, `Bearer ${canary.repeat(400)}`]) {
    for (const padding of [0, 1, 100, 480, 500]) {
      const { text } = describeFailure(new Error("x".repeat(padding) + " " + form));
      assert.ok(!text.includes("s3cr"), text);
    }
  }
});

void test("what is no credential stays", () => {
  const plain = [
    "connect ECONNREFUSED 127.0.0.1:5672",
    "GET http://localhost:8080/orders?id=5 answered 503",
    "http://[::1]:8080/x is down",
    "nats://host:4222, nats://other:4222",
    "https://example.org/a:b/c",
    "the passenger is late",
    "mail to a@b.example failed",
  ];
  for (const text of plain) assert.equal(maskSecrets(text), text);
});

void test("masking is linear: hostile texts take no longer than plain ones", { timeout: 10_000 }, () => {
  const hostile = [
    "://",
    "://a:",
    "password",
    "password=",
    "-----BEGIN A-----",
    "eyJaaaaaaaa.",
    "Bearer ",
    "SA",
    "x@",
    "%3a%2f%2f",
    ": ",
    "\n    at",
  ];
  const started = performance.now();
  for (const part of hostile) for (let n = 0; n < 20; n++) describeFailure(new Error(part.repeat(Math.ceil(4_096 / part.length))));
  assert.ok(performance.now() - started < 5_000);
});
