// Small comforts; every page works without them.
(function () {
  "use strict";
  var summary = document.querySelector(".summary");
  if (summary) summary.focus();
  var here = document.querySelector(".menu [aria-current]");
  if (here) here.parentNode.scrollLeft = here.offsetLeft - (here.parentNode.clientWidth - here.offsetWidth) / 2;
  document.querySelectorAll("[data-copy]").forEach(function (button) {
    var field = document.getElementById(button.dataset.copy);
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(field.textContent).then(function () {
        button.textContent = button.dataset.done;
      }, function () {
        getSelection().selectAllChildren(field);
      });
    });
  });
  var ipad = document.querySelector("[data-ipad]");
  if (ipad && navigator.maxTouchPoints > 0) location.replace(ipad.dataset.ipad);
  var report = document.querySelector("[data-report]");
  if (report) setTimeout(function () {
    if (document.hidden) return;
    fetch(report.dataset.report, { method: "POST", headers: { "X-CSRFToken": report.dataset.token } }).catch(function () {});
  }, 3000);
  document.querySelectorAll("[data-print]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", function () { print(); });
  });
  var again = document.querySelector("[data-again]");
  if (again) setTimeout(function () { location.replace(again.dataset.again); }, 5000);
})();
