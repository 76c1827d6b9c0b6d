import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cases } from "./cases/index.ts";
import { mustCover } from "./fields.ts";
import { mutants } from "./mutants.ts";

/** The properties that the suite is to have a case of. M03 is proved by a full disk. */
const properties =
  "P01 P03 P04 P05 P06 P07 P08 P09 P10 P16 P17 P18 D01 D02 D03 D04 D05 D06 D07 D08 D09 D10 D11 D12 D13 D14 D15 D16 D17 D18 D19 D20 D21 D22 " +
  "O01 O02 O03 O05 O07 E01 E02 E03 E04 E05 E08 E09 C01 C02 C03 C04 C05 C06 C09 C11 C12 C13 C14 M01 M02 M03 M04 M05 M06 T03 CP1 CP2 CP3 CP4 CP5 CP6 CP7 CP8 CP9 CP10";

describe("the suite", () => {
  it("names every member of the contract in at least one case", () => {
    const covered = new Set(cases.flatMap((each) => each.covers ?? []));
    assert.deepEqual(
      mustCover.filter((member) => !covered.has(member)),
      [],
    );
  });
  it("has a mutant for every member of the contract", () => {
    assert.deepEqual(mutants.map((mutant) => mutant.name).toSorted(), [...mustCover].toSorted());
  });
  it("has a case of every property", () => {
    const names = cases.map((each) => ` ${each.name.replaceAll(":", " ")} `).join("\n");
    assert.deepEqual(
      properties.split(" ").filter((property) => !names.includes(` ${property} `)),
      [],
    );
  });
  it("names no two cases alike", () => {
    assert.equal(new Set(cases.map((each) => each.name)).size, cases.length);
  });
});
