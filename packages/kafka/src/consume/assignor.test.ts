import assert from "node:assert/strict";
import { test } from "node:test";
import { assign, nameOf, type AssignorMember, type Assignments } from "./assignor.ts";

const member = (memberId: string, topics: readonly string[], owned: readonly string[] = [], generation = 1): AssignorMember => ({
  memberId,
  topics: new Set(topics),
  owned: owned.map((name) => ({ topic: name.split("/")[0] ?? "", partition: Number(name.split("/")[1]) })),
  generation,
});
const plain = (assignments: Assignments): Record<string, string[]> =>
  Object.fromEntries([...assignments].map(([id, parts]) => [id, parts.map(nameOf).toSorted()]));

test("all is dealt out evenly", () => {
  const dealt = plain(assign([member("a", ["t"]), member("b", ["t"])], new Map([["t", 5]]), true));
  assert.deepEqual(Object.values(dealt).flat().toSorted(), ["t/0", "t/1", "t/2", "t/3", "t/4"]);
  assert.deepEqual(
    Object.values(dealt)
      .map((parts) => parts.length)
      .toSorted((a, b) => a - b),
    [2, 3],
  );
});

test("a newcomer gets what is above the others' share, once they have let go of it", () => {
  const partitions = new Map([["t", 4]]);
  const first = plain(assign([member("a", ["t"], ["t/0", "t/1", "t/2", "t/3"]), member("b", ["t"])], partitions, true));
  assert.deepEqual(first, { a: ["t/0", "t/1"], b: [] });
  const second = plain(assign([member("a", ["t"], ["t/0", "t/1"]), member("b", ["t"])], partitions, true));
  assert.deepEqual(second, { a: ["t/0", "t/1"], b: ["t/2", "t/3"] });
});

test("eager: nobody has anything, and all is given at once", () => {
  const dealt = plain(assign([member("a", ["t"]), member("b", ["t"])], new Map([["t", 2]]), false));
  assert.deepEqual(dealt, { a: ["t/0"], b: ["t/1"] });
});

test("what a member had, it keeps when another one goes", () => {
  const dealt = plain(assign([member("a", ["t"], ["t/0"]), member("c", ["t"], ["t/2"])], new Map([["t", 3]]), true));
  assert(dealt["a"]?.includes("t/0"));
  assert(dealt["c"]?.includes("t/2"));
  assert.equal(Object.values(dealt).flat().length, 3);
});

test("nobody gets a topic that it does not read, and one that does not exist goes to nobody", () => {
  const dealt = plain(
    assign(
      [member("a", ["t", "u", "none"]), member("b", ["t"])],
      new Map([
        ["t", 1],
        ["u", 3],
      ]),
      true,
    ),
  );
  assert(dealt["b"]?.every((name) => name.startsWith("t/")));
  assert.equal(dealt["a"]?.filter((name) => name.startsWith("u/")).length, 3);
});

test("topics of one partition are spread", () => {
  const partitions = new Map(Array.from({ length: 6 }, (_, index) => [`t${index}`, 1] as const));
  const topics = [...partitions.keys()];
  const dealt = plain(assign([member("a", topics), member("b", topics), member("c", topics)], partitions, true));
  assert.deepEqual(
    Object.values(dealt).map((parts) => parts.length),
    [2, 2, 2],
  );
});

test("of two claims the later generation counts", () => {
  const members = [member("a", ["t"], ["t/0"], 4), member("b", ["t"], ["t/0"], 5)];
  assert.deepEqual(plain(assign(members, new Map([["t", 1]]), true)), { a: [], b: ["t/0"] });
});
