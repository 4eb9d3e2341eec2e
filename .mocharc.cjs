module.exports = {
  "node-option": ["import=tsx"],
  reporter: "test/support/reporter.cjs",
  timeout: 20000,
  "forbid-only": true,
  // In CI what a test needs can be had: one that is skipped has not been run.
  "forbid-pending": Boolean(process.env.CI),
};
