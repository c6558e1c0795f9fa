// Making and using passkeys: bytes to and from base64url between the server's JSON and the browser.
(function () {
  "use strict";
  var root = document.querySelector("[data-passkey]");
  if (!root) return;
  var button = root.querySelector("button"), problem = root.querySelector("[role=alert]");
  if (!window.PublicKeyCredential) { root.hidden = true; return; }

  function bytes(text) {
    var plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, function (c) { return c.charCodeAt(0); });
  }
  function text(buffer) {
    var plain = String.fromCharCode.apply(null, new Uint8Array(buffer));
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }
  function send(address, body) {
    var headers = { "Content-Type": "application/json", "X-CSRFToken": root.dataset.token };
    return fetch(address, { method: "POST", headers: headers, body: JSON.stringify(body) }).then(function (answer) {
      return answer.json().then(function (told) {
        if (told.error === "proof") location.assign(told.next); // prove the second factor first, then come back
        if (!answer.ok) throw new Error(String(answer.status));
        return told;
      });
    });
  }
  function ids(list) {
    return (list || []).map(function (each) { return { type: each.type, id: bytes(each.id) }; });
  }
  function make(options) {
    options.challenge = bytes(options.challenge);
    options.user.id = bytes(options.user.id);
    options.excludeCredentials = ids(options.excludeCredentials);
    return navigator.credentials.create({ publicKey: options });
  }
  function prove(options) {
    options.challenge = bytes(options.challenge);
    options.allowCredentials = ids(options.allowCredentials);
    return navigator.credentials.get({ publicKey: options });
  }
  function told(credential) {
    var response = { clientDataJSON: text(credential.response.clientDataJSON) };
    ["attestationObject", "authenticatorData", "signature", "userHandle"].forEach(function (name) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    });
    return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response: response };
  }

  button.addEventListener("click", function () {
    var name = document.getElementById("passkey-name");
    problem.hidden = true;
    send(root.dataset.options, {})
      .then(root.dataset.passkey === "add" ? make : prove)
      .then(function (credential) {
        return send(root.dataset.finish, { credential: told(credential), name: name ? name.value : "" });
      })
      .then(function (done) {
        if (root.dataset.then) document.getElementById(root.dataset.then).submit(); // what was held goes on
        else location.assign(done.next);
      })
      .catch(function () { problem.hidden = false; });
  });
})();
