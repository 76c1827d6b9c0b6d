import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { pbkdf2Sync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { alterUserScramCredentialsV0, Connection } from "@platformatic/kafka";
import { startBroker, type RunningBroker } from "@waybill/brokers";
import { createBus, isWaybillError, type ErrorCode, type Message } from "@waybill/core";
import { kafka } from "../kafka.ts";
import type { KafkaOptions, SaslOptions } from "../options.ts";

const user = "alice";
const password = "wonderland";
const storePassword = "only-for-tests";
const folder = mkdtempSync(join(tmpdir(), "waybill-kafka-"));
let broker: RunningBroker;
let certificate = "";

/** By the tool that comes with the Java that Kafka runs on. */
function keytool(...args: readonly string[]): string {
  const store = ["-alias", "broker", "-keystore", join(folder, "broker.p12"), "-storetype", "PKCS12", "-storepass", storePassword];
  return execFileSync("keytool", [...args, ...store], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

before(async () => {
  keytool("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=broker", "-ext", "SAN=ip:127.0.0.1", "-validity", "3");
  certificate = keytool("-exportcert", "-rfc");
  const login = (listener: string): Record<string, string> => ({
    [`listener.name.${listener}.sasl.enabled.mechanisms`]: "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    [`listener.name.${listener}.plain.sasl.jaas.config`]: `org.apache.kafka.common.security.plain.PlainLoginModule required user_${user}="${password}";`,
    [`listener.name.${listener}.scram-sha-256.sasl.jaas.config`]: "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    [`listener.name.${listener}.scram-sha-512.sasl.jaas.config`]: "org.apache.kafka.common.security.scram.ScramLoginModule required;",
  });
  broker = await startBroker("kafka", {
    listeners: 4,
    settings: {
      "listener.security.protocol.map":
        "CLIENT:PLAINTEXT,CLIENT1:SASL_PLAINTEXT,CLIENT2:SSL,CLIENT3:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
      ...login("client1"),
      ...login("client3"),
      "ssl.keystore.type": "PKCS12",
      "ssl.keystore.location": join(folder, "broker.p12"),
      "ssl.keystore.password": storePassword,
    },
  });
  const connection = new Connection("admin");
  await connection.connect(broker.host, broker.port);
  for (const [digest, mechanism, bytes] of [
    ["sha256", 1, 32],
    ["sha512", 2, 64],
  ] as const) {
    const salt = randomBytes(16);
    const saltedPassword = pbkdf2Sync(password, salt, 4_096, bytes, digest);
    await alterUserScramCredentialsV0.api.async(connection, [], [{ name: user, mechanism, iterations: 4_096, salt, saltedPassword }]);
  }
  await connection.close();
});
after(async () => {
  await broker[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

function at(listener: "client" | "client1" | "client2" | "client3"): string {
  return `${broker.host}:${broker.nodes[0]?.ports[listener] ?? broker.port}`;
}

async function works(options: KafkaOptions): Promise<void> {
  const transport = kafka(options);
  await transport.connect({ signal: AbortSignal.timeout(20_000), onStatus: () => undefined });
  const fields = { deliverAt: undefined, expiresAt: undefined, priority: undefined, replyTo: undefined, correlationId: undefined };
  const message: Message = {
    id: "1",
    topic: "secure",
    group: undefined,
    key: "k",
    body: Buffer.from("b"),
    headers: {},
    time: Date.now(),
    mandatory: false,
    native: undefined,
    ...fields,
  };
  const [outcome] = await transport.publish([message], { signal: AbortSignal.timeout(20_000) });
  await transport.close();
  assert(outcome?.ok === true, String(outcome?.ok === false && outcome.error));
}

/** The start ends by itself, at once, and what it says holds no secret. */
async function ends(options: KafkaOptions, code: ErrorCode): Promise<void> {
  const bus = createBus({ name: "secure", transport: kafka(options) });
  const begun = performance.now();
  await assert.rejects(bus.start(), (error) => {
    assert(isWaybillError(error, code), String(error));
    assert.doesNotMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)), /looking-glass/);
    return true;
  });
  assert(performance.now() - begun < 10_000, "not at once");
  await bus.close();
}

for (const mechanism of ["plain", "scram-sha-256", "scram-sha-512"] as const) {
  test(`${mechanism}: the right password is let in, a wrong one ends the start`, async () => {
    const sasl: SaslOptions = { mechanism, username: user, password };
    await works({ brokers: at("client1"), sasl });
    await ends({ brokers: at("client1"), sasl: { ...sasl, password: "looking-glass" } }, "AUTH");
  });
}

test("a mechanism that the broker does not have ends the start", async () => {
  await ends({ brokers: at("client1"), sasl: { mechanism: "oauthbearer", token: "looking-glass" } }, "AUTH");
});

test("TLS: a certificate of a trusted authority is taken, with a login on top; another one, or another name, ends the start", async () => {
  await works({ brokers: at("client2"), tls: { ca: certificate } });
  await works({ brokers: at("client3"), tls: { ca: [certificate] }, sasl: { mechanism: "scram-sha-512", username: user, password } });
  await ends({ brokers: at("client2"), tls: true }, "TLS");
  await ends({ brokers: at("client2"), tls: { ca: certificate, servername: "elsewhere.example" } }, "TLS");
  await ends(
    { brokers: at("client3"), tls: { ca: certificate }, sasl: { mechanism: "plain", username: user, password: "looking-glass" } },
    "AUTH",
  );
});

test("plain text to a listener that speaks TLS ends the start", async () => {
  await ends({ brokers: at("client2") }, "TLS");
});
