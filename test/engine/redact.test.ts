import assert from "node:assert/strict";
import fc from "fast-check";
import { createRedactor } from "../../automation/engine/redact";

const secretText = fc.string({ minLength: 4, maxLength: 40 });
const wild = fc.string({ unit: "binary", minLength: 4, maxLength: 40 });

describe("The redactor", () => {
  it("leaves no secret in a text, wherever it stands and whatever is around it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(secretText, wild), { minLength: 1, maxLength: 5 }),
        fc.array(fc.string()),
        (secrets, around) => {
          const text = secrets
            .flatMap((secret, i) => [around[i] ?? "", secret, secret.slice(1), secret])
            .join("");
          const masked = createRedactor(secrets)(text);
          for (const secret of secrets) assert.ok(!masked.includes(secret), `${secret} in ${masked}`);
        },
      ),
    );
  });

  it("leaves no secret in base64, hexadecimal or a URL, alone or inside a longer text", () => {
    fc.assert(
      fc.property(
        secretText,
        fc.string({ maxLength: 9 }),
        fc.string({ maxLength: 9 }),
        (secret, before, after) => {
          const redact = createRedactor([secret]);
          const encoded = Buffer.from(secret);
          for (const form of [
            encoded.toString("base64"),
            encoded.toString("base64url"),
            encoded.toString("hex"),
            encodeURIComponent(secret),
            new URLSearchParams({ q: secret }).toString().slice(2),
            JSON.stringify(secret).slice(1, -1),
          ])
            if (form.length >= 4) assert.ok(!redact(`${before}${form}${after}`).includes(form), form);
        },
      ),
    );
  });

  it("leaves no run of characters that only the secret inside a longer base64 text gives", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 8, maxLength: 40, unit: "grapheme-ascii" }),
        fc.string({ maxLength: 9 }),
        fc.string({ maxLength: 9 }),
        (secret, user, after) => {
          const whole = Buffer.from(`${user}:${secret}${after}`).toString("base64");
          const from = Math.ceil((Buffer.byteLength(`${user}:`) * 8) / 6);
          const to = Math.floor((Buffer.byteLength(`${user}:${secret}`) * 8) / 6);
          const masked = createRedactor([secret])(`Basic ${whole}`);
          assert.ok(!masked.includes(whole.slice(from, to)), `${masked} still has it`);
        },
      ),
    );
  });

  it("masks what was masked no further, and leaves texts without a secret as they are", () => {
    fc.assert(
      fc.property(fc.array(secretText, { maxLength: 4 }), fc.string(), (secrets, text) => {
        const redact = createRedactor(secrets);
        assert.equal(redact(redact(text)), redact(text));
      }),
    );
    const text = "canary 5.2 % of 1,204 requests failed, see http://127.0.0.1:80/a?b=c#d and ada@example.org";
    assert.equal(createRedactor(["hunter22"])(text), text);
  });

  it("masks userinfo in URLs, whether or not it knows it", () => {
    const redact = createRedactor([]);
    assert.equal(
      redact("postgres://ada:p%40ss@db:5432/x, https://token@h/"),
      "postgres://***@db:5432/x, https://***@h/",
    );
    assert.equal(redact("http://a:b@c@host/x"), "http://***@host/x");
    assert.equal(redact("http://host/x@y http://host?u=a@b"), "http://host/x@y http://host?u=a@b");
  });

  it("masks userinfo that a secret in it would have hidden", () => {
    const redact = createRedactor(["se/cret"]);
    assert.equal(redact("http://ada:se/cret@host/"), "http://***@host/");
  });

  it("masks each line of a secret that has several", () => {
    const key = "-----BEGIN KEY-----\nMIIabcdef\nMIIghijkl\n-----END KEY-----\n";
    assert.equal(createRedactor([key])("read MIIghijkl from the file"), "read *** from the file");
  });

  it("leaves words of fewer than four characters, which are everywhere", () => {
    assert.equal(createRedactor(["abc", "a", ""])("abc a b"), "abc a b");
  });

  it("leaves nothing of two secrets that overlap", () => {
    assert.equal(createRedactor(["abcdef", "defghi"])("xabcdefghiy"), "x***y");
  });

  it("masks deep in JSON, keys too, and leaves the value it was given", () => {
    fc.assert(
      fc.property(fc.jsonValue(), secretText, (value, secret) => {
        const planted = { list: [value, { [secret]: `a${secret}b` }], n: 1, no: null, yes: true };
        const copy = structuredClone(planted);
        const masked = createRedactor([secret]).json(planted);
        assert.deepEqual(planted, copy);
        const strings: string[] = [];
        JSON.stringify(masked, (key, inner) => {
          strings.push(key, ...(typeof inner === "string" ? [inner] : []));
          return inner;
        });
        for (const text of strings) assert.ok(!text.includes(secret) || /^(list|yes)$/.test(text), text);
        assert.equal(masked.n, 1);
        assert.equal(masked.no, null);
      }),
    );
  });

  it("knows a secret from the moment it is resolved", () => {
    const secrets: string[] = [];
    const redact = createRedactor(() => secrets);
    assert.equal(redact("hunter22"), "hunter22");
    secrets.push("hunter22");
    assert.equal(redact("hunter22"), "***");
  });

  it("takes a megabyte of anything in a moment", () => {
    const redact = createRedactor(["hunter22", "aaaa"]);
    for (const piece of ["a", "://", "http://a", "*", "://a@"]) {
      const began = performance.now();
      redact(piece.repeat(1_000_000 / piece.length));
      assert.ok(performance.now() - began < 3000, piece);
    }
  });
});
