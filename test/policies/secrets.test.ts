import assert from "node:assert/strict";
import fc from "fast-check";
import type { Filled, Handle } from "../../components/handle";
import { noPlainSecret, type RuleConfig } from "../../policies/rules";
import { isReference, masked, secretForm, secretName } from "../../policies/secrets";

const HEX = "0123456789abcdef".repeat(4);

function check(
  settings: Partial<Filled["settings"]>,
  config?: RuleConfig,
  over: Partial<Handle> = {},
): string[] {
  const blue: Filled = {
    pin: { artifact: `dir:web@sha256:${HEX}` },
    settings: {
      variables: {},
      secrets: {},
      arguments: [],
      files: {},
      resources: { replicas: 1 },
      probes: { health: "/", startSeconds: 30 },
      ...settings,
    },
    hash: HEX,
  };
  return noPlainSecret.check(
    {
      version: 1,
      platform: "local",
      service: "web",
      live: "blue",
      slots: { blue },
      split: { blue: 100, green: 0 },
      generation: 1,
      ...over,
    },
    config,
  );
}

/** A shell's reference to a variable. */
function braced(name: string): string {
  return `\${${name}}`;
}

/** Put together from parts, so that no scanner takes this file for a leak. */
const TOKENS = [
  ["AKIA", "IOSFODNN7EXAMPLE"],
  ["gh", `p_${"aB3".repeat(12)}`],
  ["github", `_pat_${"aB3_".repeat(15)}`],
  ["gl", "pat-aB3aB3aB3aB3aB3aB3aB"],
  ["xo", "xb-123456789012-abcdefABCDEF"],
  ["https://hooks.slack", ".com/services/T00000000/B00000000/abcdefghijkl"],
  ["sk", `_live_${"aB3".repeat(8)}`],
  ["AI", `za${"aB3_-".repeat(7)}`],
  ["np", `m_${"aB3".repeat(12)}`],
  ["pul", `-${"ab12".repeat(10)}`],
  ["hv", `s.${"aB3".repeat(10)}`],
  ["sk", `-proj-${"aB3".repeat(14)}`],
  ["eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"],
  ["-----BEGIN ", "RSA PRIVATE KEY-----\nMIIEow"],
  ["-----BEGIN ", "PRIVATE KEY-----\\nMIIEow"],
  ["-----BEGIN ", "OPENSSH PRIVATE KEY-----\nb3Bl"],
  ["-----BEGIN ", "PGP PRIVATE KEY BLOCK-----"],
  ["Bearer ", "abcdef0123456789abcdef"],
  ["postgres://app", ":hunter22@db.internal/app"],
  ["redis://", ":hunter22@cache:6379/0"],
  ["https://x", "oauth2:hunter22@git.example/r.git"],
  ["https://0123456789", "abcdef0123@git.example/r.git"],
  ["Server=db;Pass", "word=hunter22;Database=app"],
  ["host=db user=app pass", "word='hunter22'"],
  ["AccountName=a;Account", "Key=aGVsbG8gd29ybGQ=;EndpointSuffix=x"],
  ["https://blob.example/f?sv=1&s", `ig=${"aB3%2F".repeat(6)}`],
].map((parts) => parts.join(""));

const NAMES = [
  ..."DB_PASSWORD PGPASSWORD API_TOKEN GITHUB_TOKEN TOKEN SECRET JWT_SECRET AWS_SECRET_ACCESS_KEY STRIPE_API_KEY".split(
    " ",
  ),
  ..."apiKey clientSecret githubToken REDIS_PASS DB_PWD SIGNING_KEY SECRET_KEY_BASE64 JWT_SECRET_OLD API_KEY_2".split(
    " ",
  ),
  ..."SSH_PRIVATE_KEY KEY_PASSPHRASE DATABASE_PASSWORD_PROD spring.datasource.password db-password PASSWORD1".split(
    " ",
  ),
];

const ORDINARY_NAMES = [
  ..."PORT HOST NODE_ENV LOG_LEVEL PATH PWD OLDPWD HOME LANG TZ DATABASE_URL PUBLIC_KEY PARTITION_KEY SORT_KEY".split(
    " ",
  ),
  ..."CACHE_KEY_PREFIX PRIMARY_KEY TOKEN_TTL TOKEN_URL MAX_TOKENS MAX_TOKEN TOKENIZER SECRET_NAME SECRET_ARN".split(
    " ",
  ),
  ..."PASSWORD_FILE DB_PASSWORD_FILE PASSWORD_MIN_LENGTH API_KEY_HEADER API_KEY_ID NEXT_PUBLIC_API_KEY BYPASS".split(
    " ",
  ),
  ..."STRIPE_PUBLISHABLE_KEY IMAGE_PULL_SECRET MONKEY KEYBOARD COMPASS ACCESS_TOKEN_ISSUER AUTHOR PASSENGERS".split(
    " ",
  ),
  ..."SECRETARY PROXY_PASS AWS_ACCESS_KEY_ID KEY ALLOW_EMPTY_PASSWORD SECRETS_DIR PASSWORDLESS_LOGIN".split(
    " ",
  ),
];

const ordinaryValue = fc.oneof(
  fc.constantFrom(
    "production",
    "debug",
    "true",
    "en_US.UTF-8",
    "0.0.0.0:8080",
    "http://localhost:3000",
    "https://example.org/a/@scope/b?x=1&page_token=2#f@g",
    "postgres://db.internal:5432/app?sslmode=require",
    "postgres://app@db.internal/app",
    "postgres://app:$DB_PASSWORD@db/app",
    "ssh://git@github.com/acme/web.git",
    "git@github.com:acme/web.git",
    "https://0123456789abcdef0123456789abcdef@o1.ingest.example/42",
    "mailto:team@example.org",
    "Server=db;Trusted_Connection=yes;Password=$DB_PASSWORD",
    "--max-old-space-size=512 --enable-source-maps",
    '{"retry":{"count":3},"sort":["a","b"]}',
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB",
    "registry.example/web:1.2.3@sha256:abc",
    "arn:aws:iam::123456789012:role/web",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf",
    "a-task-with-sk-in-the-middle-of-a-rather-long-name",
    "desk-2024abcdefghijklmnopqrstuvwxyz",
    "sk-learn-is-a-long-name-without-any-digits",
    "risk-assessment-service-production-eu-west-1",
    "basic authentication",
    "2026-01-31T12:00:00.000Z",
    "*/5 * * * *",
    "us-east-1a,us-east-1b",
  ),
  fc.uuid(),
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.emailAddress(),
  fc.ipV4(),
  fc.ipV6(),
  fc.domain(),
  fc.integer().map(String),
  fc.double().map(String),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.stringMatching(/^[0-9a-f]{40}$/),
  fc.stringMatching(/^[0-9a-f]{64}$/),
  fc.stringMatching(/^v[0-9]\.[0-9]{1,2}\.[0-9]{1,2}$/),
  fc.stringMatching(/^\/[a-z]{1,8}(\/[a-z0-9._-]{1,12}){0,4}$/),
  fc.json(),
  fc.lorem(),
);

describe("no-plain-secret", () => {
  it("passes ordinary names with ordinary values", () => {
    fc.assert(
      fc.property(fc.constantFrom(...ORDINARY_NAMES), ordinaryValue, (name, value) => {
        assert.deepEqual(
          check({ variables: { [name]: value }, arguments: ["node", value, `--${name}=${value}`] }),
          [],
        );
      }),
      { numRuns: 3000 },
    );
  });

  it("passes an ordinary command and its flags", () => {
    for (const line of [
      ["node", "--require", "./token.js", "server.js", "--port=80", "--no-password", "x"],
      ["java", "-Xmx512m", "-Dapp.token.ttl=60", "-jar", "app.jar"],
      ["sh", "-c", "exec server --password $DB_PASSWORD --token=$(cat /run/secrets/token)"],
      [
        "server",
        "--password-file",
        "/run/secrets/db",
        "--api-key",
        "--verbose",
        `--token=${braced("TOKEN")}`,
      ],
      ["secret", "token", "password"],
    ])
      assert.deepEqual(check({ arguments: line }), [], line.join(" "));
  });

  it("finds every well-known form of secret, wherever it stands, and never shows it", () => {
    for (const secret of TOKENS) {
      const bare = secret.replace(/^.*?:\/\//, "");
      for (const found of [
        check({ variables: { NOTE: secret } }),
        check({ variables: { NOTE: `see ${secret}` } }).concat(/^Bearer/.test(secret) ? ["."] : []),
        check({ arguments: ["run", `--note=${secret}`] }).concat(/^Bearer/.test(secret) ? ["."] : []),
        check({ secrets: { NOTE: secret } }),
        check({ files: { "/etc/a": secret } }),
        check({ probes: { health: `/${secret}`, startSeconds: 1 } }).concat(
          /^Bearer/.test(secret) ? ["."] : [],
        ),
        check({}, {}, { local: { directory: "/d", name: "web", url: secret } }),
      ]) {
        assert.ok(found.length >= 1, `not found: ${secret}`);
        assert.ok(!found.join().includes(bare), `shown: ${found.join()}`);
      }
    }
  });

  it("finds a literal under the name of a secret, whatever its value, and never shows it", () => {
    const value = fc
      .stringMatching(/^[A-Za-z0-9!#%^&+-]{6,40}$/)
      .filter((text) => !/^(?:disabled|enabled|required|optional)$/i.test(text) && !text.startsWith("-"));
    fc.assert(
      fc.property(fc.constantFrom(...NAMES), value, (name, secret) => {
        for (const settings of [
          { variables: { [name]: secret } },
          { arguments: [`--${name}=${secret}`] },
          { arguments: [`--${name}`, secret] },
          { arguments: ["sh", "-c", `exec server --${name} ${secret}`] },
          { arguments: [`${name}=${secret}`] },
        ]) {
          const found = check(settings);
          assert.equal(found.length, 1, JSON.stringify(settings));
          assert.ok(!found.join().includes(secret) || /^[a-z]+$/.test(secret), found.join());
        }
      }),
      { numRuns: 500 },
    );
  });

  it("takes switches and stand-ins for what they are", () => {
    for (const value of [
      "",
      "true",
      "no",
      "$DB_PASSWORD",
      braced("DB_PASSWORD"),
      "{{ password }}",
      "***",
      "<password>",
    ])
      for (const name of NAMES)
        assert.deepEqual(check({ variables: { [name]: value } }), [], `${name}=${value}`);
    assert.equal(
      check({ variables: { DB_PASSWORD: braced("DB_PASSWORD:-hunter22") } }).length,
      1,
      "a default is a literal",
    );
  });

  it("takes only versioned references as secrets", () => {
    for (const good of [
      "env:API_TOKEN@1",
      "vault:kv/web/db@7",
      "aws-sm:arn:aws:x:1:secret:db-Ab@b1c2",
      "file:/run/s@v1",
    ]) {
      assert.ok(isReference(good), good);
      assert.deepEqual(check({ secrets: { A: good } }), []);
    }
    for (const bad of [
      "hunter22",
      "env:TOKEN",
      "env:TOKEN@",
      "env:TOKEN@latest",
      "https://u:p@host",
      "env:a b@1",
      "",
    ]) {
      assert.ok(!isReference(bad), bad);
      assert.equal(check({ secrets: { A: bad } }).length, 1);
    }
  });

  it("takes no reference with a secret in it", () => {
    assert.ok(!isReference(`env:${TOKENS[0]}@1`));
  });

  it("looks at what a restore would bring back, too", () => {
    const bad: Filled = {
      pin: { artifact: `dir:web@sha256:${HEX}`, repository: "https://u:hunter22@git.example/r" },
      settings: {
        variables: { DB_PASSWORD: "hunter22" },
        secrets: {},
        arguments: [],
        files: {},
        resources: { replicas: 1 },
        probes: { health: "/", startSeconds: 1 },
      },
      hash: HEX,
    };
    assert.equal(check({}, {}, { previous: bad }).length, 2);
  });

  it("leaves configured names alone, and only those", () => {
    const settings = {
      variables: { CSRF_TOKEN: "literal", DB_PASSWORD: "hunter22" },
      arguments: ["--csrf_token=literal"],
    };
    assert.equal(check(settings).length, 3);
    assert.match(
      check(settings, { allowed: ["csrf_token"] }).join("|"),
      /^Slot blue: variable DB_PASSWORD[^|]*$/,
    );
  });

  it("judges the largest handle there can be in well under a second", () => {
    for (const part of [
      "a",
      "eyJ",
      "eyJ-",
      "://",
      "a:",
      "sk-",
      "--password ",
      "=",
      "-----BEGIN ",
      "$(",
      " ",
    ]) {
      const text = part.repeat(Math.ceil(65536 / part.length));
      const began = performance.now();
      check({ variables: { NOTE: text } });
      check({ arguments: [text] });
      const took = performance.now() - began;
      assert.ok(took < 2000, `${JSON.stringify(part)} took ${Math.round(took)} ms`);
    }
  });

  it("tells names that hold a secret from names that are about one", () => {
    for (const name of NAMES) assert.ok(secretName(name), name);
    for (const name of ORDINARY_NAMES) assert.ok(!secretName(name), name);
  });

  it("shows no secret in a masked text", () => {
    for (const secret of TOKENS) assert.equal(secretForm(masked(secret)), undefined);
    assert.equal(masked("git:https://u:hunter22@example.org/r@main"), "git:https://***@example.org/r@main");
  });
});
