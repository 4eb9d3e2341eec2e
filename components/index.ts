export * from "./errors";
export * from "./handle";
export * from "./program";
export * from "./release";
export * from "./settings";
