// Pages that follow: find as you type, and parts that change by themselves. Without it the form's button does the same.
(function () {
  "use strict";
  if (!document.querySelector("[data-live]")) return;
  var form = document.querySelector("[data-live-search]");
  var said = document.querySelector("[data-live-said]");
  var at = document.querySelector("[data-live-at]");
  var here = at ? at.dataset.liveAt : location.pathname; // after a form the address may be the form's
  var every = 5000, typing = 180, timer = 0, asked = 0;

  function address() {
    var query = new URLSearchParams(new FormData(form));
    Array.from(query.keys()).forEach(function (key) { if (!query.get(key)) query.delete(key); });
    return query;
  }

  function replace(part, fresh, byItself) {
    if (fresh.innerHTML === part.innerHTML) return;
    var before = {};
    part.querySelectorAll("tr[id]").forEach(function (row) { before[row.id] = row.innerHTML; });
    var focused = part.contains(document.activeElement) ? document.activeElement.closest("tr[id]") : null;
    fresh.querySelectorAll("tr[id]").forEach(function (row) {
      if (byItself && before[row.id] !== row.innerHTML) row.classList.add("changed");
    });
    part.replaceChildren.apply(part, Array.from(fresh.childNodes));
    var again = focused && document.getElementById(focused.id);
    if (again && again.querySelector("a")) again.querySelector("a").focus();
  }

  function show(html, byItself) {
    var fresh = new DOMParser().parseFromString(html, "text/html"); // our own page, from our own address
    document.querySelectorAll("[data-live]").forEach(function (part) {
      var its = fresh.querySelector("[data-live=" + part.dataset.live + "]");
      if (its) replace(part, its, byItself);
    });
    if (!byItself && said) {
      var count = document.querySelectorAll("[data-live] tbody tr").length;
      said.textContent = count === 1 ? said.dataset.one : said.dataset.many.replace("#", count);
    }
  }

  function look(query, byItself) {
    var mine = ++asked;
    var wanted = new URLSearchParams(query);
    wanted.set("part", "live");
    if (byItself) wanted.set("by_itself", "1"); // keeps nobody signed in
    return fetch(here + "?" + wanted, { headers: { Accept: "text/html" }, cache: "no-store", redirect: "manual" })
      .then(function (answer) {
        if (answer.type === "opaqueredirect") location.reload(); // signed out: nothing of it stays on the screen
        if (!answer.ok) throw new Error();
        return answer.text();
      })
      .then(function (html) { if (mine === asked) show(html, byItself); })
      .catch(function () { /* the next look may work; the button always does */ });
  }

  function find() {
    var query = address();
    history.replaceState(null, "", query.size === 0 ? location.pathname : "?" + query);
    look(query, false);
  }

  if (form) {
    form.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(find, typing); });
    form.addEventListener("submit", function (event) { event.preventDefault(); clearTimeout(timer); find(); });
    var typed = Array.from(form.elements).some(function (field) { return "defaultValue" in field && field.value !== field.defaultValue; });
    if (typed) find(); // before this script was there
  }
  setInterval(function () {
    if (!document.hidden) look(new URLSearchParams(location.search), true);
  }, every);
})();
