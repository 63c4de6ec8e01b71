// A server in front of another one: it passes requests and answers on as they are, streams while they flow, and adds
// headers that the client has no way to send.

import { createServer, request } from "node:http";
import { pipeline } from "node:stream";

/** Listens on a free port. `target` is the server behind, and may be known later; `added` are further request headers. */
export async function listen({ target = "", added = {} } = {}) {
  const proxy = { target, url: "", close: () => server.close() };
  const server = createServer((asked, answer) => {
    // A connection for each request: the keep-alive of one end does not apply to the other.
    const onward = { method: asked.method, headers: [...asked.rawHeaders, ...Object.entries(added).flat()], agent: false };
    const behind = request(new URL(asked.url, proxy.target), onward, (response) => {
      answer.writeHead(response.statusCode, response.rawHeaders);
      // A stream begins with silence, and its client waits for the head.
      answer.flushHeaders();
      pipeline(response, answer, () => {});
    });
    behind.on("error", () => answer.destroy());
    answer.on("close", () => behind.destroy());
    asked.pipe(behind);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  return proxy;
}
