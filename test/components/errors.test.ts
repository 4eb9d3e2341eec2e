import assert from "node:assert/strict";
import {
  NothingToDeclare,
  RunElsewhere,
  RunOpen,
  type SluiceError,
  WorldMoved,
} from "../../components/errors";
import { fresh, mayRemove } from "../../components/local/rules";

const RUN = "20261124T055217-1a2b3c";

/** The environments that a hint gives to commands of ours. */
function environments({ hint }: SluiceError): string[] {
  return [...hint.matchAll(/npm run (?:promote -- <source>|abort --) ([^\s`]+)/g)].map(
    ([, name]) => name as string,
  );
}

describe("A hint", () => {
  it("gives commands the environment, where the stack or the service has a longer name", () => {
    for (const name of ["prod", "web.prod"])
      for (const made of [RunOpen(name, RUN), RunElsewhere(name, RUN, RUN), NothingToDeclare(name)])
        assert.deepEqual(environments(made), ["prod"], `${made.code} of ${name}`);
  });

  it("gives the Pulumi CLI the whole name of the stack", () => {
    assert.match(NothingToDeclare("web.prod").hint, /npm run pulumi -- config set .* -s web\.prod`/);
  });

  it("of the supervisor names the environment too", () => {
    assert.throws(
      () => mayRemove({ ...fresh("web.prod"), run: RUN }, {}),
      (e: SluiceError) => {
        assert.deepEqual([e.code, ...environments(e)], ["run-open", "prod"]);
        return true;
      },
    );
  });

  it("of a moved world is a new plan, or what ends the drift", () => {
    assert.match(WorldMoved("prod", "it moved").hint, /give the command again/);
    assert.equal(WorldMoved("prod", "it moved", "mend it").hint, "mend it");
  });
});
