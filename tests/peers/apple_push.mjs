// What Apple's push service shows of itself: HTTP/2 over TLS, a client certificate, one POST for each device.
// Answers 200 until told otherwise: a line of JSON {status, reason, hang_up} on standard input counts from then on.
import fs from "node:fs";
import http2 from "node:http2";
import readline from "node:readline";

const { port, certificate, key, clients } = JSON.parse(process.env.APPLE_PUSH);
let told = { status: 200 };
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  told = JSON.parse(line);
  console.log(JSON.stringify({ told }));
});

const server = http2.createSecureServer({
  cert: fs.readFileSync(certificate),
  key: fs.readFileSync(key),
  ca: clients.map((each) => fs.readFileSync(each)),
  requestCert: true,
  rejectUnauthorized: true,
  allowHTTP1: false,
});
server.on("session", () => console.log(JSON.stringify({ connected: true })));
server.on("stream", (stream, headers) => {
  let body = "";
  stream.setEncoding("utf8");
  stream.on("data", (part) => { body += part; });
  stream.on("error", () => {});
  stream.on("end", () => {
    const { subject } = stream.session.socket.getPeerCertificate();
    console.log(JSON.stringify({ push: { headers, body, uid: subject.UID } }));
    if (told.hang_up) {
      told = { status: 200 };
      stream.session.goaway();
      stream.session.destroy();
      return;
    }
    stream.respond({ ":status": told.status, "apns-id": "00000000-0000-0000-0000-000000000000" });
    stream.end(told.reason ? JSON.stringify({ reason: told.reason }) : "");
  });
});
server.listen(port, "127.0.0.1", () => console.log(JSON.stringify({ ready: true })));
