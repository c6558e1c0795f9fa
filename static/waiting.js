// The profile and finish pages: count down, and go on by themselves when the device reports.
(function () {
  "use strict";
  var root = document.querySelector("[data-waiting]");
  if (!root) return;
  var shown = root.dataset.waiting;
  var clock = root.querySelector("[data-seconds]");
  var fast = 2000, slow = 10000, wait = fast;

  if (clock) {
    var until = Date.now() + Number(clock.dataset.seconds) * 1000;
    var tick = function () {
      var left = Math.max(0, Math.round((until - Date.now()) / 1000));
      clock.textContent = Math.floor(left / 60) + ":" + String(left % 60).padStart(2, "0");
      if (left > 0) setTimeout(tick, 1000);
    };
    tick();
  }

  function look() {
    fetch("/enroll/state?by_itself=1", { headers: { Accept: "application/json" }, cache: "no-store" })
      .then(function (answer) { return answer.json(); })
      .then(function (state) {
        wait = fast;
        if (state.waiting !== shown) location.replace(state.next);
      })
      .catch(function () { wait = slow; })
      .finally(function () { setTimeout(look, wait); });
  }
  setTimeout(look, wait);
})();
