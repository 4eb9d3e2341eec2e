// Plain JavaScript on node: modules alone, like all that client.js requires.
const http = require("node:http");

/**
 * @typedef {object} Call
 * @property {"GET" | "PUT" | "POST" | "DELETE"} method
 * @property {string} path
 * @property {unknown} [body]
 * @property {number} timeoutMs
 * @property {AbortSignal | undefined} [signal]
 */

/**
 * An error with the fields of a SluiceError, which plain JavaScript can't import.
 * @param {string} code
 * @param {string} message
 * @param {string} hint
 * @param {unknown} [cause]
 */
function failure(code, message, hint, cause) {
  const made = new Error(message, cause === undefined ? undefined : { cause });
  made.name = "SluiceError";
  return Object.assign(made, { code, hint });
}

/** @param {unknown} thrown @returns {string} */
function codeOf(thrown) {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
}

/**
 * One request over the socket.
 * @param {string} socket
 * @param {http.Agent} agent
 * @param {Call} call
 * @returns {Promise<unknown>}
 */
function request(socket, agent, call) {
  return new Promise((resolve, reject) => {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const headers =
      body === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const { method, signal } = call;
    const req = http.request({
      socketPath: socket,
      agent,
      method,
      path: call.path,
      headers,
      ...(signal ? { signal } : {}),
    });
    const timer = setTimeout(() => {
      req.destroy(
        failure(
          "supervisor-slow",
          `The supervisor did not answer ${method} ${call.path} within ${call.timeoutMs / 1000} s.`,
          "Run `npm run local -- status`; its log is supervisor.log in the state directory.",
        ),
      );
    }, call.timeoutMs);
    req.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    req.on("response", (response) => {
      /** @type {Buffer[]} */
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("close", () => {
        clearTimeout(timer);
        if (!response.complete)
          reject(Object.assign(new Error("the answer was cut off"), { code: "ECONNRESET" }));
      });
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        try {
          const answer = text === "" ? undefined : JSON.parse(text);
          if ((response.statusCode ?? 500) < 400) resolve(answer);
          else reject(failure(answer.error.code, answer.error.message, answer.error.hint));
        } catch (error) {
          reject(error);
        }
      });
    });
    req.end(body);
  });
}

/** The connection failed before the supervisor can have answered. @param {unknown} thrown */
function isGone(thrown) {
  return ["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOTSOCK"].includes(codeOf(thrown));
}

/** @param {number} ms @returns {Promise<void>} */
function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

module.exports = { failure, codeOf, request, isGone, pause };
